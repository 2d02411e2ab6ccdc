/**
 * One simulated run: a cluster, clients and faults from a plan, the global invariants after every
 * step, then everything is healed and the cluster must elect, serve, agree and have kept every
 * promise. Never throws: whatever goes wrong is a problem of the result.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import type { SimNode } from '@holdfast/node/testing';
import { judgeLinearizable } from '../checker/linearizable.ts';
import { describeError } from './describe-error.ts';
import type { FaultKind, SimPlan } from './plan.ts';
import type { RareState } from './rare-state-table.ts';
import { COLLECTION, readAt, SimClient, seenOf } from './sim-client.ts';
import { SimHistory } from './sim-history.ts';
import { SimWorld } from './sim-world.ts';

/** How long clients go on in the healed cluster, at least. */
const CALM_MS = 2_000;
/** A client may wait for a machine without power until it has heard nothing for long enough. */
const CALM_LIMIT_MS = 20_000;
const CALM_OPERATION_COUNT_MIN = 3;
const CLIENTS_END_LIMIT_MS = 30_000;
const FINAL_READ_TIMEOUT_MS = 2_000;
const FINAL_READ_COUNT_MAX = 20;
const PROBLEM_COUNT_MAX = 5;
/** Steps per key of the linearizability search; over it the exact check stands alone. */
const SEARCH_STEP_COUNT_MAX = 200_000;

export interface RunCounts {
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly reads: number;
  readonly conflicts: number;
  readonly steps: number;
  readonly events: number;
  readonly termsLed: number;
  readonly committed: number;
  readonly digestMeetings: number;
  /** Keys on which the linearizability search gave up. */
  readonly searchesGivenUp: number;
}

export interface RunResult {
  readonly seed: number;
  /** Empty: nothing went wrong. */
  readonly problems: readonly string[];
  readonly traceHash: string;
  readonly lastEvents: readonly string[];
  readonly simulatedMs: number;
  readonly counts: RunCounts;
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  readonly rareStates: Readonly<Partial<Record<RareState, number>>>;
}

export async function runPlan(plan: SimPlan): Promise<RunResult> {
  const run = new SimRun(plan);
  await run.execute();
  return run.result();
}

class SimRun {
  readonly #plan: SimPlan;
  readonly #world: SimWorld;
  readonly #history: SimHistory;
  readonly #clients: readonly SimClient[];
  #clientsLeft = 0;
  #nextValue = 1;
  #searchesGivenUp = 0;

  constructor(plan: SimPlan) {
    this.#plan = plan;
    const world = new SimWorld(plan);
    this.#world = world;
    this.#history = new SimHistory(() => world.nowMs());
    this.#clients = Array.from({ length: plan.clientCount }, (_, i) => this.#makeClient(i));
  }

  async execute(): Promise<void> {
    await this.#world.attempt(() => this.#execute());
    for (const problem of this.#history.problems()) this.#world.fail(problem);
    this.#search();
  }

  result(): RunResult {
    const { acknowledgedCount, refusedCount, unknownCount } = this.#history;
    const { faults, problems, trace, watch } = this.#world;
    return {
      seed: this.#plan.seed,
      problems: problems.slice(0, PROBLEM_COUNT_MAX),
      traceHash: trace.hash,
      lastEvents: trace.lastEvents(),
      simulatedMs: this.#world.nowMs(),
      counts: {
        acknowledged: acknowledgedCount,
        refused: refusedCount,
        unknown: unknownCount,
        reads: this.#history.readCount,
        conflicts: this.#history.conflictCount,
        steps: watch.checkCount,
        events: trace.eventCount,
        termsLed: watch.termsLed,
        committed: watch.ledger.committedIndex,
        digestMeetings: watch.digestMeetingCount,
        searchesGivenUp: this.#searchesGivenUp,
      },
      faults: Object.fromEntries(faults.struck),
      rareStates: this.#rareStates(),
    };
  }

  #rareStates(): RunResult['rareStates'] {
    const { unknownCount, conflictCount } = this.#history;
    return {
      ...this.#world.rare.counts(),
      ...(unknownCount > 0 ? { outcomeUnknown: unknownCount } : {}),
      ...(conflictCount > 0 ? { conditionRefused: conflictCount } : {}),
    };
  }

  async #execute(): Promise<void> {
    const world = this.#world;
    await world.start();
    for (const client of this.#clients) this.#start(client);
    world.beginFaults();
    await world.pass(this.#plan.durationMs);
    world.heal();
    await world.untilServing();
    for (const client of this.#clients) client.countFromNow();
    await world.pass(CALM_MS);
    const isServed = (client: SimClient): boolean =>
      client.writesDone + client.readsDone >= CALM_OPERATION_COUNT_MIN;
    await world.until(() => this.#clients.every(isServed), CALM_LIMIT_MS, 'every client is served');
    for (const client of this.#clients) client.stop();
    await world.until(() => this.#clientsLeft === 0, CLIENTS_END_LIMIT_MS, 'clients end');
    await this.#checkAgreement('after the faults');
    await world.care.check('after the faults');
    world.stopOnProblem();
    await world.checkBackups();
    world.faults.restartAll();
    await world.untilServing();
    await this.#checkAgreement('after a power cut of all');
    await world.cluster.scheduler.settle();
  }

  /** Every node answers a linearizable read of everything, and all have one state at one index. */
  async #checkAgreement(when: string): Promise<void> {
    const world = this.#world;
    const keys = Array.from({ length: this.#plan.keyCount }, (_, key) => key);
    for (const node of world.cluster.nodes) {
      for (let left = FINAL_READ_COUNT_MAX; left > 0; left--) {
        const refusal = await this.#readAll(node, keys);
        if (refusal === null) break;
        if (left === 1) world.fail(`${when}: ${node.id} does not answer a read: ${refusal}`);
        await world.pass(100);
      }
    }
    await world.agree();
  }

  /** Null, or why it did not answer. */
  async #readAll(node: SimNode, keys: readonly number[]): Promise<string | null> {
    const read = this.#history.startRead(keys, true);
    try {
      const consistency = 'linearizable';
      const question = { keys, consistency, timeoutMs: FINAL_READ_TIMEOUT_MS } as const;
      const answer = readAt(this.#world.cluster, node, question);
      const { points, appliedIndex } = await this.#world.cluster.scheduler.resolve(answer);
      this.#history.readAnswered(read, appliedIndex, seenOf(points));
      return null;
    } catch (error) {
      this.#history.readFailed(read);
      return describeError(error);
    }
  }

  #makeClient(position: number): SimClient {
    const { keyCount, thinkMsMax, seed } = this.#plan;
    return new SimClient({
      cluster: this.#world.cluster,
      history: this.#history,
      trace: this.#world.trace,
      random: new SeededRandom(deriveSeed(seed, `client ${position}`)),
      name: `c${position}`,
      ...{ keyCount, thinkMsMax },
      nextValue: () => this.#nextValue++,
      collectionSpec: { name: COLLECTION, dimension: 1, metric: 'l2', shardCount: 3 },
    });
  }

  #start(client: SimClient): void {
    this.#clientsLeft += 1;
    client.run().then(
      () => {
        this.#clientsLeft -= 1;
      },
      (error: unknown) => {
        this.#clientsLeft -= 1;
        this.#world.fail(`a client died: ${describeError(error)}`);
      },
    );
  }

  #search(): void {
    const verdict = judgeLinearizable(this.#history.events, SEARCH_STEP_COUNT_MAX);
    if (verdict.kind === 'invalid')
      this.#world.fail(`not linearizable: ${verdict.reason} ${JSON.stringify(verdict.examples)}`);
    if (verdict.kind === 'unknown') this.#searchesGivenUp += 1;
  }
}
