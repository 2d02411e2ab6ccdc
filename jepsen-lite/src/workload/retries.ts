/**
 * One request, one session, one sequence: sent to several nodes at once and again until one of them
 * answers, as a client would that trusts no connection. It must count once, whoever executes it and
 * whoever leads by then. The sessions are the workload's own: the client library would never send a
 * request twice at the same time.
 */
import { HoldfastError, type Random } from '@holdfast/base';
import { judgeRetries } from '../checker/retries.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent } from '../history.ts';
import type { OperationOf } from '../operation.ts';
import { numberIn } from './register.ts';
import {
  chosenNode,
  everyNode,
  type NodeAsker,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-retries';
const RATE_PER_SECOND = 160;
const CONDITIONAL_SHARE = 0.5;
const READ_BATCH_COUNT = 500;
/** Of one request on one node. Long enough for an election. */
const GIVE_UP_MS = 4_000;
const RETRY_PAUSE_MS = 25;
/** Answers that are asked for again on purpose, from the node that already gave one. */
const ECHO_COUNT = 1;
const VECTOR: Float32Array = new Float32Array(4);
/** Said by the table of sessions: they tell nothing about what became of the request. */
const SESSION_REFUSALS: ReadonlySet<string> = new Set([
  ...['SESSION_EXPIRED', 'SESSION_WINDOW_FULL', 'SEQUENCE_REUSED'],
]);

export function retriesWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  const sessions = new WeakMap<WorkerTools, WorkerSession>();
  return {
    name: 'retries',
    generator: steadyLoad({ seed, ratePerSecond }, (position, random) =>
      retriesOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: VECTOR.length, metric: 'l2', ifNotExists: true },
      });
    },
    perform: async (tools, operation) => {
      if (operation.kind === 'readRepeated') return readAll(tools, operation);
      if (operation.kind !== 'insertRepeated') throw unexpectedOperation('retries', operation);
      const session = sessions.get(tools) ?? new WorkerSession(tools);
      sessions.set(tools, session);
      return session.insert(operation);
    },
    finalOperations: finalReads,
    judge: judgeRetries,
  };
}

/** Pure. Every node is asked, in an order of its own. */
export function retriesOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): OperationOf<'insertRepeated'> {
  const first = random.nextBelow(nodeCount);
  return {
    ...{ kind: 'insertRepeated', element: position + 1 },
    isConditional: random.nextFloat() < CONDITIONAL_SHARE,
    nodePicks: everyNode(nodeCount).map((node) => (first + node) % nodeCount),
    ...{ indexes: null, refusals: null },
  };
}

function finalReads(
  events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'readRepeated'>[] {
  let elementMax = 0;
  for (const event of events) {
    if (event.kind !== 'operation' || event.operation.kind !== 'insertRepeated') continue;
    elementMax = Math.max(elementMax, event.operation.element);
  }
  const reads: OperationOf<'readRepeated'>[] = [];
  for (let elementMin = 1; elementMin <= elementMax; elementMin += READ_BATCH_COUNT) {
    const last = Math.min(elementMax, elementMin + READ_BATCH_COUNT - 1);
    for (const nodePick of everyNode(nodeCount)) {
      reads.push({ kind: 'readRepeated', elementMin, elementMax: last, nodePick, seen: null });
    }
  }
  return reads;
}

async function readAll(
  tools: WorkerTools,
  operation: OperationOf<'readRepeated'>,
): Promise<PerformedOperation> {
  const { elementMin, elementMax, nodePick } = operation;
  const length = elementMax - elementMin + 1;
  const ids = Array.from({ length }, (_unused, i) => elementMin + i);
  const node = chosenNode(tools, nodePick);
  const { points } =
    node === null
      ? await tools.client.collection(COLLECTION).getMany(ids)
      : await node.ask('get', { collection: COLLECTION, ids });
  const seen = points.map((point) => ({
    ...{ point: Number(point.id), value: numberIn(point), version: point.version },
  }));
  return { outcome: 'ok', operation: { ...operation, seen } };
}

/** The session of one worker: one request at a time. */
class WorkerSession {
  readonly #tools: WorkerTools;
  #id: number | null = null;
  #sequence = 0;

  constructor(tools: WorkerTools) {
    this.#tools = tools;
  }

  async insert(asked: OperationOf<'insertRepeated'>): Promise<PerformedOperation> {
    const id = await this.#open();
    this.#sequence += 1;
    const sequence = this.#sequence;
    const { element, isConditional, nodePicks } = asked;
    const point = { id: element, vector: VECTOR, payload: { value: element } };
    const request = {
      collection: COLLECTION,
      // What came before is over: nothing of it is sent again.
      session: { id, sequence, ackedThrough: sequence - 1 },
      points: [isConditional ? { ...point, ifAbsent: true } : point],
    };
    const answers = new Answers();
    await Promise.all(
      nodePicks.map(async (nodePick) => {
        const node = chosenNode(this.#tools, nodePick);
        if (node !== null) await askUntilAnswered(this.#tools, node, request, answers);
      }),
    );
    if (answers.isSessionGone) this.#id = null;
    const { indexes, refusals } = answers;
    const operation = { ...asked, indexes, refusals };
    if (indexes.length > 0 || refusals.length > 0) return { outcome: 'ok', operation };
    const outcome = answers.isMaybeSent ? 'info' : 'fail';
    const errorCode = answers.lastCode;
    return { outcome, operation: asked, ...(errorCode === null ? {} : { errorCode }) };
  }

  /** @throws HoldfastError definite: no insert was sent yet */
  async #open(): Promise<number> {
    if (this.#id !== null) return this.#id;
    for (const node of this.#tools.readers) {
      try {
        const { sessionId } = await node.ask('openSession', {});
        this.#id = sessionId;
        this.#sequence = 0;
        return sessionId;
      } catch (thrown) {
        // The next node may lead; a session that was opened unseen expires by itself.
        if (!(thrown instanceof HoldfastError)) throw thrown;
      }
    }
    throw new HoldfastError('NO_NODE_REACHABLE', 'no node opened a session');
  }
}

/** What the nodes said to one request. */
class Answers {
  readonly indexes: number[] = [];
  /** Codes of refusals that the log decided. */
  readonly refusals: string[] = [];
  isSessionGone = false;
  /** True once an attempt ended without anybody knowing whether it happened. */
  isMaybeSent = false;
  lastCode: string | null = null;

  get isOver(): boolean {
    return this.indexes.length > 0 || this.refusals.length > 0 || this.isSessionGone;
  }

  note(error: HoldfastError): void {
    this.lastCode = error.code;
    if (!error.definite) this.isMaybeSent = true;
    if (error.code === 'SESSION_EXPIRED') this.isSessionGone = true;
    else if (isOfLog(error)) this.refusals.push(error.code);
  }
}

/** The log decided it, and not because of the session: then it is the answer to the request. */
function isOfLog({ code, details }: HoldfastError): boolean {
  return Number.isSafeInteger(details.index) && !SESSION_REFUSALS.has(code);
}

async function askUntilAnswered(
  { time }: WorkerTools,
  node: NodeAsker,
  request: Parameters<NodeAsker['ask']>[1],
  answers: Answers,
): Promise<void> {
  const endMs = time.nowMs() + GIVE_UP_MS;
  let echoesLeft = ECHO_COUNT;
  do {
    try {
      const { index } = await node.ask('upsert', request as never);
      answers.indexes.push(index);
      if (echoesLeft === 0) return;
      echoesLeft -= 1;
      continue;
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      answers.note(thrown);
    }
    if (answers.isOver) return;
    await time.pause(RETRY_PAUSE_MS);
  } while (time.nowMs() < endMs);
}
