/**
 * One replica with the host loop that every host must have (README), driven by hand: writing and
 * syncing are separate, applying is separate, and what leaves goes to `sent`. No second code path:
 * a real host differs only in where bytes go and when completions come.
 */
import type { Entry, Incarnation, LogIndex, NodeId, SnapshotMeta } from '@holdfast/base';
import { assert, EMPTY_LOG_SUM, sumsEqual } from '@holdfast/base';
import { RaftCore } from '../core.ts';
import type { ConfAtIndex } from '../membership/conf-history.ts';
import type { RaftMessage } from '../messages.ts';
import type { RaftOptions } from '../options.ts';
import type { AppendRequest, ApplyRequest, RaftEvent, ReadState, Ready } from '../ready.ts';
import type { InMemoryLog } from './memory-log.ts';

/** Sees everything a replica does; checkers implement it. */
export interface ReplicaObserver {
  appendWritten?(replica: SimReplica, append: AppendRequest): void;
  messageLeaving?(replica: SimReplica, message: RaftMessage): void;
  entriesApplied?(replica: SimReplica, entries: readonly Entry[]): void;
  snapshotInstalled?(replica: SimReplica, meta: SnapshotMeta): void;
  readAnswered?(replica: SimReplica, read: ReadState): void;
  eventSeen?(replica: SimReplica, event: RaftEvent): void;
}

export class SimReplica {
  readonly id: NodeId;
  readonly incarnation: Incarnation;
  readonly boot: number;
  readonly core: RaftCore;
  readonly log: InMemoryLog;
  readonly #observer: ReplicaObserver;
  readonly #send: (message: RaftMessage) => void;
  #gated: { readonly seq: number; readonly messages: readonly RaftMessage[] }[] = [];
  #toApply: ApplyRequest[] = [];
  /** The state machine: the chain sum of the last entry applied stands for all of its content. */
  appliedIndex: LogIndex;
  appliedSum: Uint8Array;
  /** What a crash leaves of the state machine; its index is the log's `applied`. */
  checkpointSum: Uint8Array;
  /** The configuration the host goes by: what it was told last. */
  conf: ConfAtIndex;
  /** Nothing is known of configurations before this one. */
  readonly firstConfIndex: LogIndex;
  reads: ReadState[] = [];
  events: RaftEvent[] = [];

  constructor(
    options: RaftOptions,
    log: InMemoryLog,
    wiring: {
      readonly boot: number;
      readonly observer: ReplicaObserver;
      readonly send: (message: RaftMessage) => void;
      readonly appliedSum?: Uint8Array;
    },
  ) {
    this.id = options.id;
    this.incarnation = options.incarnation;
    this.boot = wiring.boot;
    this.log = log;
    this.#observer = wiring.observer;
    this.#send = wiring.send;
    this.core = new RaftCore(options, log);
    const { conf, confIndex } = log.initialState();
    this.conf = { conf, confIndex };
    this.firstConfIndex = confIndex;
    this.appliedIndex = log.initialState().applied;
    this.appliedSum = wiring.appliedSum ?? EMPTY_LOG_SUM;
    this.checkpointSum = this.appliedSum;
  }

  get pendingApplyCount(): number {
    return this.#toApply.length;
  }

  /** Takes every Ready: writes appends without syncing them, queues what must wait. */
  pump(): void {
    while (this.core.hasReady()) this.take(this.core.ready());
  }

  /** What a host does with one Ready. */
  take(ready: Ready): void {
    for (const event of ready.events) {
      this.events.push(event);
      this.#observer.eventSeen?.(this, event);
    }
    if (ready.append !== null) {
      this.log.write(ready.append);
      this.#observer.appendWritten?.(this, ready.append);
    }
    for (const message of ready.send) this.#leave(message);
    this.#gated.push(...ready.sendAfter);
    if (ready.apply !== null) this.#toApply.push(ready.apply);
    if (ready.conf !== null) this.conf = ready.conf;
    for (const read of ready.reads) {
      this.reads.push(read);
      this.#observer.readAnswered?.(this, read);
    }
  }

  /** The disk has synced every append up to `seq`. */
  sync(seq: number): void {
    this.log.sync(seq);
    this.core.appended(seq);
    while (this.#gated.length > 0 && this.#gated[0]!.seq <= seq)
      for (const message of this.#gated.shift()!.messages) this.#leave(message);
  }

  syncAll(): void {
    const newest = this.log.unsyncedSeqs().at(-1);
    if (newest !== undefined) this.sync(newest);
  }

  /** The state machine works off its oldest batch. */
  applyNext(): void {
    const request = this.#toApply.shift();
    if (request === undefined) return;
    if (request.kind === 'snapshot') {
      this.appliedIndex = request.meta.index;
      this.appliedSum = request.meta.sum;
      this.#observer.snapshotInstalled?.(this, request.meta);
    } else {
      this.#observer.entriesApplied?.(this, request.entries);
      for (const entry of request.entries) {
        assert(entry.index === this.appliedIndex + 1, 'applied with a gap', {
          index: entry.index,
          applied: this.appliedIndex,
        });
        this.appliedIndex = entry.index;
        this.appliedSum = entry.sum;
      }
    }
    this.core.applied(this.appliedIndex);
  }

  /** Checkpoints the state machine and compacts the log behind it, keeping `keepCount` entries. */
  checkpoint(keepCount: number): void {
    const index = this.appliedIndex;
    if (!this.log.isSynced || index === 0 || index < this.log.firstIndex()) return;
    const term = this.log.term(index);
    const sum = this.log.sum(index);
    if (typeof term !== 'number' || typeof sum === 'string') return;
    assert(sumsEqual(sum, this.appliedSum), 'state and log differ', { index });
    const { conf, confIndex } = this.core.confAt(index);
    const id = `${this.id}.${this.boot}.${index}`;
    this.log.setApplied(index);
    this.checkpointSum = sum;
    this.log.setSnapshot({ index, term, sum, conf, confIndex, id });
    this.log.compact(Math.max(0, index - keepCount) as LogIndex);
  }

  #leave(message: RaftMessage): void {
    this.#observer.messageLeaving?.(this, message);
    this.#send(message);
  }
}
