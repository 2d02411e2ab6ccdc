/**
 * Says in the node's log, and to whoever owns recoveries, what lanes report about saved graphs,
 * each event once. A damaged graph costs nothing but time, but a disk that damages one thing
 * damages others: it is an alarm.
 */
import type { Logger } from '@holdfast/base';
import type { GraphEvent } from '@holdfast/shard-worker';
import type { LaneGraphFacts } from '../heal/self-causes.ts';

const ALARMS: ReadonlySet<GraphEvent['kind']> = new Set(['quarantined', 'saveFailed']);

type LaneGraphs = LaneGraphFacts & { readonly events: readonly GraphEvent[] };

export interface GraphListener {
  onGraph(event: GraphEvent): void;
  onGraphAge(lane: number, facts: LaneGraphFacts): void;
}

export class GraphAlarms {
  readonly #logger: Logger;
  #listener: GraphListener | null = null;
  /** By lane: the last sequence that was said. */
  readonly #said: number[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Set once. */
  listen(listener: GraphListener): void {
    this.#listener = listener;
  }

  /** `lanes` in the order of lanes. A lower sequence than before: the lane was opened anew. */
  report(lanes: readonly { readonly graphs: LaneGraphs }[]): void {
    lanes.forEach(({ graphs }, lane) => {
      const last = graphs.events.at(-1)?.sequence ?? 0;
      const said = this.#said[lane] ?? 0;
      const from = last < said ? 0 : said;
      this.#said[lane] = last;
      for (const event of graphs.events) if (event.sequence > from) this.#say(lane, event);
      this.#listener?.onGraphAge(lane, graphs);
    });
  }

  #say(lane: number, event: GraphEvent): void {
    const { kind, uid, shard, generation, path, reason } = event;
    this.#listener?.onGraph(event);
    const fields = { lane, uid, shard, generation, path, reason };
    if (ALARMS.has(kind)) this.#logger.warn(fields, `saved graph ${kind}: ${reason}`);
    else this.#logger.info(fields, `saved graph ${kind}: ${reason}`);
  }
}
