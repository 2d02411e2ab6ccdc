/**
 * What happened to saved graphs: counted for ever, and the last of them kept for whoever asks. A
 * lane has nobody to call, so the node reads them with the lane's statistics.
 */
export type GraphEventKind =
  /** Written after a checkpoint. */
  | 'saved'
  /** Not written: no room, or the disk refused. Searches and data are not concerned. */
  | 'saveFailed'
  /** In use again after a start. */
  | 'loaded'
  /** Of another engine, version or parameters: removed. */
  | 'outdated'
  /** Damaged, or suspected of a crash: taken out of use and kept. An alarm. */
  | 'quarantined'
  /** No saved graph could be used: built from the rows while searches scan. */
  | 'rebuilding'
  /** And now it covers again what it did. */
  | 'rebuilt';

export interface GraphEvent {
  /** 1, 2, ... within one engine. */
  readonly sequence: number;
  readonly kind: GraphEventKind;
  readonly uid: number;
  readonly shard: number;
  /** Null when it is about no one generation. */
  readonly generation: number | null;
  /** Relative to the data directory; null when there is no file. */
  readonly path: string | null;
  readonly reason: string;
}

/** More than a start with ten damaged generations of a few shards makes. */
const EVENT_COUNT_MAX = 64;

export class GraphEventLog {
  readonly #events: GraphEvent[] = [];
  readonly #counts = new Map<GraphEventKind, number>();
  #sequence = 0;

  add(event: Omit<GraphEvent, 'sequence'>): void {
    this.#sequence += 1;
    this.#events.push({ sequence: this.#sequence, ...event });
    if (this.#events.length > EVENT_COUNT_MAX) this.#events.shift();
    this.#counts.set(event.kind, this.count(event.kind) + 1);
  }

  count(kind: GraphEventKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** The last ones, oldest first. */
  recent(): readonly GraphEvent[] {
    return [...this.#events];
  }
}
