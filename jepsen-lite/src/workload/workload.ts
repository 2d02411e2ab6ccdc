/** A workload: what to do, how to do it through the public client, and how to judge it. */
import type { HoldfastClient } from '@holdfast/client';
import type { Verdict } from '../checker/verdict.ts';
import type { Generator } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { DirectReader } from '../net/direct-reader.ts';

export interface PerformedOperation {
  /** `fail`: it certainly had no effect, and not because of an error (a compare that differed). */
  readonly outcome: 'ok' | 'fail';
  /** With its result. */
  readonly operation: Operation;
}

/** What one worker has to work with. */
export interface WorkerTools {
  readonly client: HoldfastClient;
  /** One per node. */
  readonly readers: readonly DirectReader[];
}

export interface Workload {
  readonly name: string;
  readonly generator: Generator;
  /** Creates what the operations need. */
  prepare(client: HoldfastClient): Promise<void>;
  /** @throws HoldfastError whose `definite` decides between `fail` and `info` */
  perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation>;
  /** Run one after the other when the cluster is healed and all workers have stopped. */
  finalOperations(events: readonly HistoryEvent[]): readonly Operation[];
  judge(events: readonly HistoryEvent[]): Verdict;
}
