/**
 * What every simulated run stands on, whatever its clients do: a cluster built from a plan, the
 * invariants looked at after every step, the faults, and the way back to a whole cluster.
 *
 * A problem is anything that a run must not see; the first one stops the run. Time moves only
 * inside of the methods that return promises.
 */
import type { SimClusterOptions, SimNode } from '@holdfast/node/testing';
import { ClusterWatch, describeMessage, SimCluster } from '@holdfast/node/testing';
import { BackupStation } from './backup-station.ts';
import { describeError } from './describe-error.ts';
import type { StrikeReport } from './fault-driver.ts';
import { FaultDriver } from './fault-driver.ts';
import { FinalCare } from './final-care.ts';
import { Operator } from './operator.ts';
import type { SimPlan } from './plan.ts';
import type { RareState } from './rare-state-table.ts';
import { RareStates } from './rare-states.ts';
import { Trace } from './trace.ts';

/** From all healed to a leader that serves, at most. */
const ELECTION_LIMIT_MS = 30_000;
const LEASE_DELAY_MS = 200;
const CONVERGENCE_LIMIT_MS = 30_000;
/** As in production. */
const WRITE_RETRY = { retryAttempts: 5, circuitBreakerThreshold: 3 } as const;
const DEEP_CHECK_INTERVAL_MS = 500;

/** The state of a node at a log index. */
export interface SimDigest {
  readonly nodeName: string;
  readonly appliedIndex: number;
  readonly digest: string;
}

export class SimWorld {
  readonly plan: SimPlan;
  readonly cluster: SimCluster;
  readonly watch: ClusterWatch;
  readonly trace: Trace;
  readonly operator: Operator;
  readonly faults: FaultDriver;
  readonly rare: RareStates;
  readonly care: FinalCare;
  /** Null: the plan has no store. */
  readonly backups: BackupStation | null;
  readonly #problems: string[] = [];

  /** `onStrike` is told of every fault of the plan as it strikes. */
  constructor(plan: SimPlan, onStrike?: (report: StrikeReport) => void) {
    this.plan = plan;
    const cluster = makeCluster(plan);
    this.cluster = cluster;
    const onProblem = (problem: string): void => this.fail(problem);
    this.watch = new ClusterWatch(cluster.nodes);
    this.trace = new Trace(() => this.nowMs());
    this.rare = new RareStates(cluster, this.watch);
    const { operatorIntervalMs: intervalMs } = plan;
    this.operator = new Operator({ cluster, trace: this.trace, intervalMs, onProblem });
    this.faults = new FaultDriver({
      ...{ cluster, plan, trace: this.trace, operator: this.operator, onProblem },
      ...(onStrike === undefined ? {} : { onStrike }),
    });
    const count = (state: RareState): void => this.rare.count(state);
    this.care = new FinalCare({ cluster, onProblem, count });
    const { trace, watch } = this;
    const { store } = cluster;
    const station = { cluster, count, onProblem, trace, watch };
    this.backups =
      plan.backup === null || store === null
        ? null
        : new BackupStation({ ...station, store, plan: plan.backup });
    this.#observe();
  }

  /** Empty: nothing went wrong. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Virtual, since the world began. */
  nowMs(): number {
    return this.cluster.scheduler.clock.monotonicMs();
  }

  fail(problem: string): void {
    this.#problems.push(problem);
  }

  /** Runs `action` until its end or the first problem; whatever it throws is one. */
  async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof RunStopped)) this.fail(describeError(error));
    }
  }

  /** Boots every node. */
  async start(): Promise<void> {
    for (const node of this.cluster.nodes) await node.start();
    this.#lookDeep();
  }

  /** From now on the operator looks after the members, and the faults of the plan strike. */
  beginFaults(): void {
    this.operator.begin();
    if (this.plan.startsWithLeases) this.#leaseLater();
    this.faults.begin();
    this.backups?.begin();
  }

  /** What the plan broke is whole again, or on its way there. */
  heal(): void {
    this.faults.heal();
    this.backups?.heal();
  }

  /** Everybody follows one leader, and nobody writes. */
  async checkBackups(): Promise<void> {
    const { leader } = this.operator;
    if (this.backups !== null && leader !== null) await this.backups.check(this, leader);
    this.stopOnProblem();
  }

  /** Every node is up and votes, behind one leader. */
  async untilServing(): Promise<void> {
    const { nodes } = this.cluster;
    const isServing = (): boolean => {
      if (!nodes.every(isHealthy)) return false;
      const { leader, isEveryoneVoter } = this.operator;
      return leader !== null && isEveryoneVoter && nodes.every((node) => isFollowing(node, leader));
    };
    await this.until(isServing, ELECTION_LIMIT_MS, 'everybody is a voter behind one leader');
  }

  /** All have one state at one index, which is a problem when they have not. Nobody may write. */
  async agree(): Promise<readonly SimDigest[]> {
    const { nodes, scheduler } = this.cluster;
    for (;;) {
      await this.until(
        () => new Set(nodes.map(appliedIndexOf)).size === 1,
        CONVERGENCE_LIMIT_MS,
        'everybody at one applied index',
      );
      const digests: SimDigest[] = [];
      for (const node of nodes) {
        const { digest, appliedIndex } = await scheduler.resolve(node.node.service.stateDigest());
        this.watch.digestSeen(node.id, digest, appliedIndex);
        digests.push({ nodeName: node.id, digest, appliedIndex });
      }
      // Somebody's first entry may come between two of them.
      if (new Set(digests.map(({ appliedIndex }) => appliedIndex)).size === 1) return digests;
    }
  }

  /** Moves time on, and ends early when something has gone wrong. */
  async pass(durationMs: number): Promise<void> {
    const { scheduler } = this.cluster;
    const endMs = this.nowMs() + durationMs;
    await scheduler.until(() => this.nowMs() >= endMs || this.#problems.length > 0, durationMs);
    this.stopOnProblem();
  }

  async until(condition: () => boolean, limitMs: number, what: string): Promise<void> {
    const endMs = this.nowMs() + limitMs;
    const isOver = (): boolean => this.nowMs() >= endMs || this.#problems.length > 0;
    await this.cluster.scheduler.until(() => condition() || isOver(), limitMs);
    this.stopOnProblem();
    if (!condition()) throw new Error(`within ${limitMs} ms this did not happen: ${what}`);
  }

  /** Resolves like `work`, moving time; throws at the first problem. */
  async finish<Value>(work: Promise<Value>, limitMs: number, what: string): Promise<Value> {
    let isSettled = false;
    const settled = work.finally(() => {
      isSettled = true;
    });
    // Observed below; this only keeps an early rejection from being "unhandled".
    settled.catch(() => undefined);
    await this.until(() => isSettled, limitMs, what);
    return settled;
  }

  stopOnProblem(): void {
    if (this.#problems.length > 0) throw new RunStopped();
  }

  #observe(): void {
    const { network } = this.cluster;
    this.cluster.observer = {
      onRunning: (node) => {
        this.trace.note(`${node.id} runs, boot ${node.boot}`);
        this.rare.onRunning(node);
        this.watch.onRunning(node);
      },
      onStep: (node) => {
        if (!this.watch.check(node)) return;
        this.rare.onStep(node);
        this.faults.look(node);
      },
      onLog: (node, fields, message) => {
        this.rare.onLog(node, fields, message);
        const mended = this.faults.stateOf(node, fields, message);
        if (mended !== null) this.rare.count(mended);
        this.trace.note(`${node.id} ${message}`, () => {
          return `${node.id} ${message} ${JSON.stringify(fields.event ?? fields)}`;
        });
      },
      onHalt: (node, isPowerCut) => this.rare.onHalt(node, isPowerCut),
      onResume: (node) => this.rare.onResume(node),
    };
    network.observer = {
      onChunk: (from, to) => this.faults.chunkSent(from, to),
      onSend: (from, message) => {
        this.#judge(() => this.watch.onSend(from, message));
        this.rare.onSend(from, message);
      },
      onFate: (from, to, bytes, fate) => {
        const words = (): string => `${describeMessage(from, bytes)}: ${fate}`;
        this.trace.noteBytes(`${from}>${to} ${fate}`, bytes, words);
      },
    };
  }

  /** What a look finds in the middle of a node would pass for a failure of the node itself. */
  #judge(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.fail(describeError(error));
    }
  }

  /** As soon as somebody leads. */
  #leaseLater(): void {
    this.cluster.scheduler.clock.after(LEASE_DELAY_MS, () => {
      if (this.operator.leader === null) this.#leaseLater();
      else this.operator.order({ kind: 'setLeases', isEnabled: true });
    });
  }

  #lookDeep(): void {
    for (const node of this.cluster.nodes) if (!node.isPaused) this.watch.checkDeep(node);
    this.cluster.scheduler.clock.after(DEEP_CHECK_INTERVAL_MS, () => this.#lookDeep());
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
    ...backupOf(plan),
    latency: { diskMsMax: plan.diskMsMax, laneMsMax: plan.laneMsMax },
    settings: {
      checkpointIntervalMs: plan.checkpointIntervalMs,
      retainedEntryCount: plan.retainedEntryCount,
      sessionIdleTimeoutMs: plan.sessionIdleTimeoutMs,
      dropRetentionMs: plan.dropRetentionMs,
      checkpointGenerationCount: plan.checkpointGenerationCount,
      limits:
        plan.backup === null
          ? plan.limits
          : { ...plan.limits, archiveHoldSizeBytesMax: plan.backup.holdSizeBytesMax },
      digestVerifyIntervalMs: plan.care.digestVerifyIntervalMs,
      heal: { scrubIntervalMs: plan.care.scrubIntervalMs },
    },
  });
  cluster.network.chunkSizeBytes = plan.snapshotChunkSizeBytes;
  cluster.network.weather = plan.weather;
  cluster.clientNetwork.delayMsMax = plan.clientMsMax;
  return cluster;
}

/** Schedules begin when a leader has settled: what happens before is by hand. */
const every = (intervalMs: number) => ({
  text: `every ${intervalMs} ms`,
  next: (timeMs: number): number => (Math.floor(timeMs / intervalMs) + 1) * intervalMs,
});

function backupOf({ backup }: SimPlan): Pick<SimClusterOptions, 'backup'> {
  if (backup === null) return {};
  const { chunkAgeMsMax, chunkSizeBytesMax, delayMsMax, keepLast, logRetentionMs } = backup;
  return {
    backup: {
      delayMsMax,
      archive: { chunkAgeMsMax, chunkSizeBytesMax },
      schedules: { full: null, incremental: every(7_000), verification: every(11_000) },
      retention: {
        ...{ keepLast, logRetentionMs, keepWithinMs: null },
        ...{ keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0 },
      },
    },
  };
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
