/**
 * The only impure loop on real clusters: workers perform the load (`load.ts`), each nemesis follows
 * its schedule, then everything is healed, the final operations run and the checkers judge the
 * history.
 */
import { deriveSeed } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { judgeAgreement } from './checker/replica-agreement.ts';
import { unknown, type Verdict } from './checker/verdict.ts';
import { digestsAtOneIndex } from './cluster/agreement.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { HistoryEvent } from './history.ts';
import { Load } from './load.ts';
import { inHealingOrder } from './nemesis/catalogue.ts';
import { type Nemesis, type ScheduledFault, scheduleFaults } from './nemesis/nemesis.ts';
import { DirectReader } from './net/direct-reader.ts';
import { Sampler, type Samples } from './sampler.ts';
import { pause, REAL_TIME, waitFor } from './wait.ts';
import type { WorkerTools, Workload } from './workload/workload.ts';

export interface RunOptions {
  readonly cluster: Cluster;
  readonly workload: Workload;
  /** Empty: a run without faults. Several are active at one time, each at its own pace. */
  readonly nemeses: readonly Nemesis[];
  readonly seed: number;
  readonly durationMs: number;
  readonly faultIntervalMs: number;
  /** Default 8, each with a client and so a session of its own. */
  readonly workerCount?: number;
  /** Per operation; default 5,000: shorter than an outage may last, so that `info` occurs. */
  readonly operationTimeoutMs?: number;
  readonly log?: (line: string) => void;
  /** Told all events so far, several times a second and at the end; it must not change them. */
  readonly follow?: (source: () => readonly HistoryEvent[]) => () => Promise<void>;
}

export interface RunReport {
  readonly events: readonly HistoryEvent[];
  /** By name of the checker. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly installedFaultCount: number;
  /** What the nodes said and cost, from the begin of the load until the last answer. */
  readonly samples: Samples;
}

const HEALED_TIMEOUT_MS = 60_000;
const FAULT_RETRY_PAUSE_MS = 50;

export async function run(options: RunOptions): Promise<RunReport> {
  const session = new Run(options);
  return session.run();
}

class Run {
  readonly #options: RunOptions;
  readonly #workerCount: number;
  readonly #load: Load;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#workerCount = options.workerCount ?? 8;
    this.#load = new Load({
      ...{ workload: options.workload, workerCount: this.#workerCount, time: REAL_TIME },
      nodeCount: options.cluster.nodeNames.length,
    });
  }

  async run(): Promise<RunReport> {
    const { cluster, workload, durationMs, nemeses } = this.#options;
    const stopFollowing = this.#options.follow?.(() => this.#load.history.events);
    const teams = await Promise.all(
      Array.from({ length: this.#workerCount }, () => this.#connect()),
    );
    const sampler = new Sampler(cluster, () => this.#load.nowMs());
    try {
      await workload.prepare(first(teams).client);
      this.#load.begin();
      sampler.start();
      const workers = teams.map((tools, worker) => this.#load.work(tools, worker));
      const faults = nemeses.map((nemesis) => this.#disturb(nemesis));
      await Promise.all([this.#endAfter(durationMs), ...faults, ...workers]);
      await this.#heal();
      await this.#load.finish(first(teams));
    } finally {
      this.#load.end();
      await Promise.all(
        teams.flatMap(({ client, readers }) => [client, ...readers]).map((one) => one.close()),
      );
      await stopFollowing?.();
    }
    const samples = await sampler.stop();
    const { events } = this.#load.history;
    const agreement = judgeAgreement(await digestsAtOneIndex(cluster, HEALED_TIMEOUT_MS));
    const installedFaultCount = events.filter(
      (event) => event.kind === 'fault' && event.outcome === 'installed' && !event.isHealing,
    ).length;
    const verdicts: Record<string, Verdict> = {
      [workload.name]: workload.judge(events),
      'replica-agreement': agreement,
    };
    if (nemeses.length > 0 && installedFaultCount === 0) {
      verdicts.faults = unknown('no fault could be installed');
    }
    return { events, verdicts, installedFaultCount, samples };
  }

  async #connect(): Promise<WorkerTools> {
    const nodes = [...this.#options.cluster.addresses];
    const timeoutMs = this.#options.operationTimeoutMs ?? 5_000;
    const client = await HoldfastClient.connect({ nodes, timeoutMs });
    const readers = nodes.map((address) => new DirectReader(address, timeoutMs));
    return { client, readers, time: REAL_TIME };
  }

  /**
   * Follows the schedule; a late action is not skipped, the next one waits for it. But no harm is
   * done so late that hardly any of the load would see it: healing may have taken long.
   */
  async #disturb(nemesis: Nemesis): Promise<void> {
    const { durationMs, faultIntervalMs } = this.#options;
    const seed = deriveSeed(this.#options.seed, nemesis.name);
    const faults = scheduleFaults(nemesis, { seed, durationMs, intervalMs: faultIntervalMs });
    for (const fault of faults) {
      while (!this.#load.isOver && this.#load.nowMs() < fault.atMs)
        await pause(FAULT_RETRY_PAUSE_MS);
      const isLate = this.#load.nowMs() > durationMs - faultIntervalMs / 2;
      if (this.#load.isOver || (isLate && fault.action !== nemesis.healingAction)) return;
      await this.#install(nemesis, fault);
    }
  }

  async #install(nemesis: Nemesis, fault: ScheduledFault): Promise<void> {
    const timeMs = this.#load.nowMs();
    const outcome = await nemesis.perform(fault.action, fault.pick, this.#options.cluster);
    const { kind, detail } = outcome;
    const targets = outcome.kind === 'skipped' ? [] : (outcome.targets ?? []);
    const isHealing = fault.action === nemesis.healingAction;
    const doneMs = this.#load.nowMs();
    const { name } = nemesis;
    const { action } = fault;
    this.#load.history.fault({
      ...{ nemesis: name, action, isHealing, outcome: kind, detail, targets, timeMs, doneMs },
    });
    this.#options.log?.(`${Math.round(timeMs)} ms  ${fault.action}  ${kind}  ${detail}`);
  }

  async #endAfter(durationMs: number): Promise<void> {
    while (!this.#load.isOver && this.#load.nowMs() < durationMs) await pause(FAULT_RETRY_PAUSE_MS);
    this.#load.end();
  }

  async #heal(): Promise<void> {
    const { nemeses, cluster } = this.#options;
    for (const nemesis of inHealingOrder(nemeses)) {
      const { healingAction } = nemesis;
      await this.#install(nemesis, { atMs: this.#load.nowMs(), action: healingAction, pick: 0 });
    }
    await waitFor(
      { what: 'the healed cluster to be ready', timeoutMs: HEALED_TIMEOUT_MS },
      async () => {
        const healths = await Promise.all(cluster.nodeNames.map((name) => cluster.health(name)));
        return healths.every((health) => health?.isReady === true) ? true : null;
      },
    );
  }
}

function first<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error('a run needs at least one worker');
  return item;
}
