/**
 * One simulated run: a cluster, clients and faults from a plan, the global invariants after every
 * step, then everything is healed and the cluster must elect, serve, agree and have kept every
 * promise. Never throws: whatever goes wrong is a problem of the result.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import type { SimNode } from '@holdfast/node/testing';
import { ClusterWatch, describeMessage, SimCluster } from '@holdfast/node/testing';
import { judgeLinearizable } from '../checker/linearizable.ts';
import { describeError } from './describe-error.ts';
import { FaultDriver } from './fault-driver.ts';
import { FinalCare } from './final-care.ts';
import { Operator } from './operator.ts';
import type { FaultKind, SimPlan } from './plan.ts';
import type { RareState } from './rare-state-table.ts';
import { RareStates } from './rare-states.ts';
import { COLLECTION, readAt, SimClient, seenOf } from './sim-client.ts';
import { SimHistory } from './sim-history.ts';
import { Trace } from './trace.ts';

/** From all healed to a leader that serves, at most. */
const ELECTION_LIMIT_MS = 30_000;
/** How long clients go on in the healed cluster, at least. */
const CALM_MS = 2_000;
/** A client may wait for a machine without power until it has heard nothing for long enough. */
const CALM_LIMIT_MS = 20_000;
const CALM_OPERATION_COUNT_MIN = 3;
const LEASE_DELAY_MS = 200;
const CONVERGENCE_LIMIT_MS = 30_000;
const FINAL_READ_TIMEOUT_MS = 2_000;
const FINAL_READ_COUNT_MAX = 20;
/** As in production. */
const WRITE_RETRY = { retryAttempts: 5, circuitBreakerThreshold: 3 } as const;
const DEEP_CHECK_INTERVAL_MS = 500;
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
  readonly #cluster: SimCluster;
  readonly #watch: ClusterWatch;
  readonly #trace: Trace;
  readonly #history: SimHistory;
  readonly #operator: Operator;
  readonly #faults: FaultDriver;
  readonly #rare: RareStates;
  readonly #care: FinalCare;
  readonly #clients: readonly SimClient[];
  readonly #problems: string[] = [];
  #clientsLeft = 0;
  #nextValue = 1;
  #searchesGivenUp = 0;

  constructor(plan: SimPlan) {
    this.#plan = plan;
    const cluster = makeCluster(plan);
    this.#cluster = cluster;
    const nowMs = (): number => cluster.scheduler.clock.monotonicMs();
    const onProblem = (problem: string): void => this.#fail(problem);
    this.#watch = new ClusterWatch(cluster.nodes);
    this.#trace = new Trace(nowMs);
    this.#history = new SimHistory(nowMs);
    this.#rare = new RareStates(cluster, this.#watch);
    const { operatorIntervalMs: intervalMs } = plan;
    this.#operator = new Operator({ cluster, trace: this.#trace, intervalMs, onProblem });
    const parts = { cluster, plan, trace: this.#trace, operator: this.#operator, onProblem };
    this.#faults = new FaultDriver(parts);
    this.#care = new FinalCare({ cluster, onProblem, count: (state) => this.#rare.count(state) });
    this.#clients = Array.from({ length: plan.clientCount }, (_, i) => this.#makeClient(i));
    this.#observe();
  }

  async execute(): Promise<void> {
    try {
      await this.#execute();
    } catch (error) {
      if (!(error instanceof RunStopped)) this.#fail(describeError(error));
    }
    for (const problem of this.#history.problems()) this.#fail(problem);
    this.#search();
  }

  result(): RunResult {
    const { acknowledgedCount, refusedCount, unknownCount } = this.#history;
    return {
      seed: this.#plan.seed,
      problems: this.#problems.slice(0, PROBLEM_COUNT_MAX),
      traceHash: this.#trace.hash,
      lastEvents: this.#trace.lastEvents(),
      simulatedMs: this.#cluster.scheduler.clock.monotonicMs(),
      counts: {
        acknowledged: acknowledgedCount,
        refused: refusedCount,
        unknown: unknownCount,
        reads: this.#history.readCount,
        conflicts: this.#history.conflictCount,
        steps: this.#watch.checkCount,
        events: this.#trace.eventCount,
        termsLed: this.#watch.termsLed,
        committed: this.#watch.ledger.committedIndex,
        digestMeetings: this.#watch.digestMeetingCount,
        searchesGivenUp: this.#searchesGivenUp,
      },
      faults: Object.fromEntries(this.#faults.struck),
      rareStates: this.#rareStates(),
    };
  }

  #rareStates(): RunResult['rareStates'] {
    const { unknownCount, conflictCount } = this.#history;
    return {
      ...this.#rare.counts(),
      ...(unknownCount > 0 ? { outcomeUnknown: unknownCount } : {}),
      ...(conflictCount > 0 ? { conditionRefused: conflictCount } : {}),
    };
  }

  async #execute(): Promise<void> {
    const { scheduler, nodes } = this.#cluster;
    for (const node of nodes) await node.start();
    this.#lookDeep();
    for (const client of this.#clients) this.#start(client);
    this.#operator.begin();
    if (this.#plan.startsWithLeases) this.#leaseLater();
    this.#faults.begin();
    await this.#pass(this.#plan.durationMs);
    this.#faults.heal();
    await this.#untilServing();
    for (const client of this.#clients) client.countFromNow();
    await this.#pass(CALM_MS);
    const isServed = (client: SimClient): boolean =>
      client.writesDone + client.readsDone >= CALM_OPERATION_COUNT_MIN;
    await this.#until(() => this.#clients.every(isServed), CALM_LIMIT_MS, 'every client is served');
    for (const client of this.#clients) client.stop();
    await this.#until(() => this.#clientsLeft === 0, CONVERGENCE_LIMIT_MS, 'clients end');
    await this.#checkAgreement('after the faults');
    await this.#care.check('after the faults');
    this.#stopOnProblem();
    this.#faults.restartAll();
    await this.#untilServing();
    await this.#checkAgreement('after a power cut of all');
    await scheduler.settle();
  }

  async #untilServing(): Promise<void> {
    const { nodes } = this.#cluster;
    const isServing = (): boolean => {
      if (!nodes.every(isHealthy)) return false;
      const { leader, isEveryoneVoter } = this.#operator;
      return leader !== null && isEveryoneVoter && nodes.every((node) => isFollowing(node, leader));
    };
    await this.#until(isServing, ELECTION_LIMIT_MS, 'everybody is a voter behind one leader');
  }

  /** Every node answers a linearizable read of everything, and all have one state at one index. */
  async #checkAgreement(when: string): Promise<void> {
    const { nodes, scheduler } = this.#cluster;
    const keys = Array.from({ length: this.#plan.keyCount }, (_, key) => key);
    for (const node of nodes) {
      for (let left = FINAL_READ_COUNT_MAX; left > 0; left--) {
        const refusal = await this.#readAll(node, keys);
        if (refusal === null) break;
        if (left === 1) this.#fail(`${when}: ${node.id} does not answer a read: ${refusal}`);
        await this.#pass(100);
      }
    }
    for (;;) {
      await this.#until(
        () => new Set(nodes.map(appliedIndexOf)).size === 1,
        CONVERGENCE_LIMIT_MS,
        'everybody at one applied index',
      );
      const indexes = new Set<number>();
      for (const node of nodes) {
        const { digest, appliedIndex } = await scheduler.resolve(node.node.service.stateDigest());
        this.#watch.digestSeen(node.id, digest, appliedIndex);
        indexes.add(appliedIndex);
      }
      // Somebody's first entry may come between two of them.
      if (indexes.size === 1) return;
    }
  }

  /** Null, or why it did not answer. */
  async #readAll(node: SimNode, keys: readonly number[]): Promise<string | null> {
    const read = this.#history.startRead(keys, true);
    try {
      const consistency = 'linearizable';
      const question = { keys, consistency, timeoutMs: FINAL_READ_TIMEOUT_MS } as const;
      const answer = readAt(this.#cluster, node, question);
      const { points, appliedIndex } = await this.#cluster.scheduler.resolve(answer);
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
      cluster: this.#cluster,
      history: this.#history,
      trace: this.#trace,
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
        this.#fail(`a client died: ${describeError(error)}`);
      },
    );
  }

  #observe(): void {
    const { network } = this.#cluster;
    this.#cluster.observer = {
      onRunning: (node) => {
        this.#trace.note(`${node.id} runs, boot ${node.boot}`);
        this.#rare.onRunning(node);
        this.#watch.onRunning(node);
      },
      onStep: (node) => {
        if (!this.#watch.check(node)) return;
        this.#rare.onStep(node);
        this.#faults.look(node);
      },
      onLog: (node, fields, message) => {
        this.#rare.onLog(node, fields, message);
        const mended = this.#faults.stateOf(node, fields, message);
        if (mended !== null) this.#rare.count(mended);
        this.#trace.note(`${node.id} ${message}`, () => {
          return `${node.id} ${message} ${JSON.stringify(fields.event ?? fields)}`;
        });
      },
      onHalt: (node, isPowerCut) => this.#rare.onHalt(node, isPowerCut),
      onResume: (node) => this.#rare.onResume(node),
    };
    network.observer = {
      onChunk: (from, to) => this.#faults.chunkSent(from, to),
      onSend: (from, message) => {
        this.#judge(() => this.#watch.onSend(from, message));
        this.#rare.onSend(from, message);
      },
      onFate: (from, to, bytes, fate) => {
        const words = (): string => `${describeMessage(from, bytes)}: ${fate}`;
        this.#trace.noteBytes(`${from}>${to} ${fate}`, bytes, words);
      },
    };
  }

  /** What a look finds in the middle of a node would pass for a failure of the node itself. */
  #judge(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#fail(describeError(error));
    }
  }

  /** As soon as somebody leads. */
  #leaseLater(): void {
    this.#cluster.scheduler.clock.after(LEASE_DELAY_MS, () => {
      if (this.#operator.leader === null) this.#leaseLater();
      else this.#operator.order({ kind: 'setLeases', isEnabled: true });
    });
  }

  #lookDeep(): void {
    for (const node of this.#cluster.nodes) if (!node.isPaused) this.#watch.checkDeep(node);
    this.#cluster.scheduler.clock.after(DEEP_CHECK_INTERVAL_MS, () => this.#lookDeep());
  }

  /** Moves time on, and ends early when something has gone wrong. */
  async #pass(durationMs: number): Promise<void> {
    const { clock } = this.#cluster.scheduler;
    const endMs = clock.monotonicMs() + durationMs;
    await this.#cluster.scheduler.until(
      () => clock.monotonicMs() >= endMs || this.#problems.length > 0,
      durationMs,
    );
    this.#stopOnProblem();
  }

  async #until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
    const { clock } = this.#cluster.scheduler;
    const endMs = clock.monotonicMs() + limitMs;
    const isOver = (): boolean => clock.monotonicMs() >= endMs || this.#problems.length > 0;
    await this.#cluster.scheduler.until(() => condition() || isOver(), limitMs);
    this.#stopOnProblem();
    if (!condition()) throw new Error(`within ${limitMs} ms this did not happen: ${what}`);
  }

  #stopOnProblem(): void {
    if (this.#problems.length > 0) throw new RunStopped();
  }

  #search(): void {
    const verdict = judgeLinearizable(this.#history.events, SEARCH_STEP_COUNT_MAX);
    if (verdict.kind === 'invalid')
      this.#fail(`not linearizable: ${verdict.reason} ${JSON.stringify(verdict.examples)}`);
    if (verdict.kind === 'unknown') this.#searchesGivenUp += 1;
  }

  #fail(problem: string): void {
    this.#problems.push(problem);
  }
}

/** The run has failed already; nothing after it is worth looking at. */
class RunStopped extends Error {}

function makeCluster(plan: SimPlan): SimCluster {
  const cluster = new SimCluster({
    nodeCount: plan.nodeCount,
    seed: plan.seed,
    laneCount: plan.laneCounts,
    driftPpm: plan.driftPpm,
    hasClientPorts: true,
    wal: {
      fileSizeBytes: plan.walFileSizeBytes,
      cacheSizeBytesMax: plan.logCacheSizeBytes,
      writeRetry: { ...WRITE_RETRY, circuitBreakerTimeoutMs: plan.care.writeBreakerTimeoutMs },
    },
    latency: { diskMsMax: plan.diskMsMax, laneMsMax: plan.laneMsMax },
    settings: {
      checkpointIntervalMs: plan.checkpointIntervalMs,
      retainedEntryCount: plan.retainedEntryCount,
      sessionIdleTimeoutMs: plan.sessionIdleTimeoutMs,
      checkpointGenerationCount: plan.checkpointGenerationCount,
      limits: plan.limits,
      digestVerifyIntervalMs: plan.care.digestVerifyIntervalMs,
      heal: { scrubIntervalMs: plan.care.scrubIntervalMs },
    },
  });
  cluster.network.chunkSizeBytes = plan.snapshotChunkSizeBytes;
  cluster.network.weather = plan.weather;
  cluster.clientNetwork.delayMsMax = plan.clientMsMax;
  return cluster;
}

/** It runs with all its lanes, and tells what it holds. */
const isHealthy = (node: SimNode): boolean =>
  node.isRunning &&
  !node.isPaused &&
  !node.isLying &&
  node.host.health().every(({ state }) => state === 'up');

function isFollowing(node: SimNode, leader: SimNode): boolean {
  const { soft } = node.node.replica;
  return soft.leader === leader.id && soft.term === leader.node.replica.soft.term;
}

const appliedIndexOf = (node: SimNode): number => node.node.replica.applier.appliedIndex;
