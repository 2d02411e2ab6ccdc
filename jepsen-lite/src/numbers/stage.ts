/**
 * A cluster with open loads on it, for as long as a row plays its faults; then everything is
 * healed, every node is read to the end, and all checkers judge. What is not valid is kept in the
 * store with logs and data directories.
 */
import { readFileSync } from 'node:fs';
import { deriveSeed, must } from '@holdfast/base';
import { writeGapsOf } from '../checker/availability.ts';
import { judgeLogs } from '../checker/node-logs.ts';
import { judgeAgreement } from '../checker/replica-agreement.ts';
import { invalid, type Verdict, worstOf } from '../checker/verdict.ts';
import { digestsAtOneIndex } from '../cluster/agreement.ts';
import type { NodeName } from '../cluster/cluster.ts';
import { ProcessCluster, type ProcessClusterOptions } from '../cluster/process-cluster.ts';
import type { HistoryEvent } from '../history.ts';
import { startIfDown } from '../nemesis/restart.ts';
import { WaitExpired } from '../wait.ts';
import { batchWorkload } from '../workload/batch.ts';
import { setWorkload } from '../workload/set.ts';
import { keepEvidence } from './evidence.ts';
import { OpenLoad } from './open-load.ts';
import type { RowContext } from './row.ts';

export interface StageOptions {
  readonly row: string;
  /** Counts the stages of one row, for seeds. */
  readonly stageNumber?: number;
  readonly launch?: ProcessClusterOptions;
  /** Also batches over several shards, read as a whole by get, scroll and search. */
  readonly hasBatches?: boolean;
}

/** What a fault of a row says of itself. */
export interface StrikeFacts {
  readonly action: string;
  readonly isHealing: boolean;
  readonly targets: readonly NodeName[];
  /** For people, asked when it is done; default: the targets. */
  readonly detail?: () => string;
}

export interface Gap {
  readonly action: string;
  readonly isHealing: boolean;
  readonly gapMs: number;
  /** Of the harness itself within the gap. */
  readonly lateMs: number;
}

export interface StageReport {
  readonly verdicts: Readonly<Record<string, Verdict>>;
  /** Of the load of the set. */
  readonly events: readonly HistoryEvent[];
  readonly acknowledgedCount: number;
  /** The longest silence that each fault can explain, in order. */
  readonly gaps: readonly Gap[];
}

/** A write every 5.5 ms: one of twelve operations is a read. */
export const SET_RATE_PER_SECOND = 200;
const BATCH_RATE_PER_SECOND = 60;
export const SET_LOAD = `${SET_RATE_PER_SECOND} operations/s, 8 clients, 11 of 12 writes`;
export const BATCH_LOAD = `${SET_LOAD}; ${BATCH_RATE_PER_SECOND} batches and reads of them/s`;
const NODE_COUNT = 5;
/** Load before the first fault and after the last one. */
export const STEADY_MS = 1_000;
const AGREEMENT_TIMEOUT_MS = 60_000;

export class Stage {
  readonly cluster: ProcessCluster;
  /** Of the set; gaps are its own. */
  readonly load: OpenLoad;
  readonly #loads: readonly OpenLoad[];
  readonly #row: string;

  private constructor(cluster: ProcessCluster, loads: readonly OpenLoad[], row: string) {
    this.cluster = cluster;
    this.load = must(loads[0], 'a stage needs a load');
    this.#loads = loads;
    this.#row = row;
  }

  /** Plays `body` on a cluster of its own. @throws Error when the harness broke */
  static async play(
    context: RowContext,
    options: StageOptions,
    body: (stage: Stage) => Promise<void>,
  ): Promise<StageReport> {
    const { launch, row, stageNumber = 0 } = options;
    const seed = deriveSeed(context.seed, `${row} ${stageNumber}`);
    const cluster = await ProcessCluster.launch({
      ...{ name: `numbers-${row}`, nodeCount: NODE_COUNT, seed, ...launch },
    });
    const loads: OpenLoad[] = [];
    try {
      const workload = { seed, nodeCount: cluster.nodeNames.length };
      const { addresses } = cluster;
      const set = setWorkload({ ...workload, ratePerSecond: SET_RATE_PER_SECOND });
      loads.push(await OpenLoad.start({ addresses, workload: set }));
      if (options.hasBatches === true) {
        const batches = batchWorkload({ ...workload, ratePerSecond: BATCH_RATE_PER_SECOND });
        loads.push(await OpenLoad.start({ addresses, workload: batches }));
      }
      const stage = new Stage(cluster, loads, row);
      return await stage.#playAndJudge(context, body);
    } catch (thrown) {
      context.log(cluster.describeLogs());
      throw thrown;
    } finally {
      await Promise.all(loads.map((load) => load.close()));
      await cluster.stop();
    }
  }

  /** Does something to the cluster, and notes when. */
  async strike(facts: StrikeFacts, run: () => Promise<void>): Promise<void> {
    const begun = this.#loads.map((load) => load.nowMs);
    await run();
    this.#loads.forEach((load, i) => {
      const { action, detail, isHealing, targets } = facts;
      const timeMs = begun[i] ?? load.nowMs;
      load.fault({
        ...{ nemesis: this.#row, action, isHealing, outcome: 'installed', targets },
        ...{ detail: detail?.() ?? targets.join(','), timeMs, doneMs: load.nowMs },
      });
    });
  }

  /** All nodes serve, writes have flowed for a while, and this one leads. */
  async steady(): Promise<{ readonly nodeName: NodeName; readonly term: number }> {
    await this.cluster.waitUntilReady();
    await this.load.untilFlowing(STEADY_MS);
    return this.cluster.waitUntilReady();
  }

  async #playAndJudge(
    context: RowContext,
    body: (stage: Stage) => Promise<void>,
  ): Promise<StageReport> {
    const verdicts: Record<string, Verdict> = {};
    try {
      await this.steady();
      await body(this);
      await this.#heal();
      for (const load of this.#loads) await load.stop();
      for (const load of this.#loads) verdicts[load.workload.name] = await load.judge();
      const digests = await digestsAtOneIndex(this.cluster, AGREEMENT_TIMEOUT_MS);
      verdicts['replica-agreement'] = judgeAgreement(digests);
    } catch (thrown) {
      if (!(thrown instanceof WaitExpired)) throw thrown;
      // The cluster did not do in time what it had to: that is about the cluster.
      verdicts.progress = invalid(thrown.message, []);
    }
    await this.cluster.stopNodes();
    verdicts['node-logs'] = this.#judgeLogs();
    const { events } = this.load;
    if (worstOf(Object.values(verdicts)).kind !== 'valid') {
      const { seed } = context;
      const kept = { row: this.#row, seed, cluster: this.cluster, events, verdicts };
      context.log(`not valid: ${await keepEvidence(kept)}`);
    }
    const { acknowledgedCount } = this.load;
    return { verdicts, events, acknowledgedCount, gaps: this.#gaps() };
  }

  async #heal(): Promise<void> {
    this.cluster.heal();
    for (const name of this.cluster.nodeNames) {
      await this.cluster.signal(name, 'SIGCONT');
      await startIfDown(this.cluster, name);
    }
    await this.steady();
  }

  #judgeLogs(): Verdict {
    return judgeLogs(
      this.cluster.nodeNames.map((nodeName) => ({
        nodeName,
        lines: readFileSync(this.cluster.logPathOf(nodeName), 'utf8').trimEnd().split('\n'),
      })),
    );
  }

  #gaps(): readonly Gap[] {
    return writeGapsOf(this.load.events).map(({ action, fromMs, gapMs, isHealing, toMs }) => ({
      ...{ action, isHealing, gapMs },
      lateMs: this.load.latenessMsMax(fromMs, toMs),
    }));
  }
}
