/** A workload: what to do, how to do it through the public client, and how to judge it. */
import type { HoldfastClient } from '@holdfast/client';
import type { OutgoingRequestOf, RequestKind, ResultOf } from '@holdfast/protocol';
import type { Verdict } from '../checker/verdict.ts';
import type { Generator } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { HarnessTime } from '../wait.ts';

export interface WorkloadOptions {
  readonly seed: number;
  /** Nodes of the cluster: each is asked directly now and then. */
  readonly nodeCount: number;
  /** Operations offered, over all workers; each workload has a default of its own. */
  readonly ratePerSecond?: number;
}

export interface PerformedOperation {
  /** `fail`: it certainly had no effect, and not because of an error (a compare that differed). */
  readonly outcome: 'ok' | 'fail' | 'info';
  /** With its result, or what is known of it. */
  readonly operation: Operation;
  readonly errorCode?: string;
}

export type RequestFields<Kind extends RequestKind> = Omit<
  OutgoingRequestOf<Kind>,
  'id' | 'kind' | 'timeoutMs'
>;

/** A connection to one node that stays with it, whether it leads, follows or is cut off. */
export interface NodeAsker {
  /**
   * Asks this node once; nothing is repeated or redirected.
   * @throws HoldfastError what it refused with; NO_NODE_REACHABLE (definite) when it was not sent;
   * CONNECTION_LOST (indefinite) when the answer did not come in time
   */
  ask<Kind extends RequestKind>(kind: Kind, fields: RequestFields<Kind>): Promise<ResultOf<Kind>>;
  close(): Promise<void>;
}

/** What one worker has to work with. */
export interface WorkerTools {
  readonly client: HoldfastClient;
  /** One per node. */
  readonly readers: readonly NodeAsker[];
  /** No workload looks at another clock: in the simulator there is none. */
  readonly time: HarnessTime;
}

export interface Workload {
  readonly name: string;
  readonly generator: Generator;
  /** Creates what the operations need. */
  prepare(client: HoldfastClient): Promise<void>;
  /** @throws HoldfastError whose `definite` decides between `fail` and `info` */
  perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation>;
  /** Run one after the other when the cluster is healed and all workers have stopped. */
  finalOperations(events: readonly HistoryEvent[], nodeCount: number): readonly Operation[];
  judge(events: readonly HistoryEvent[]): Verdict;
}

/** The node that an operation chose; null when it leaves the choice to the client library. */
export function chosenNode(
  { readers }: WorkerTools,
  nodePick: number | null | undefined,
): NodeAsker | null {
  if (nodePick === null || nodePick === undefined) return null;
  return readers[nodePick % readers.length] ?? null;
}

export const everyNode = (nodeCount: number): readonly number[] =>
  Array.from({ length: nodeCount }, (_unused, node) => node);

/** An operation that the workload never generates is a bug of the harness. */
export function unexpectedOperation(workload: string, operation: Operation): Error {
  return new Error(`the ${workload} workload has no operation ${operation.kind}`);
}
