/**
 * The only impure loop: workers ask the generator and perform, each nemesis follows its schedule,
 * then everything is healed, the final operations run and the checkers judge the history.
 *
 * Outcome of an operation: answered is `ok`; an error that says `definite` is `fail`; any other is
 * `info`, and the worker goes on under a new process id. An error that is not a HoldfastError is a
 * failure of the harness: the run ends with an exception, not with a verdict.
 */
import { deriveSeed, HoldfastError } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { judgeAgreement } from './checker/replica-agreement.ts';
import { unknown, type Verdict } from './checker/verdict.ts';
import { digestsAtOneIndex } from './cluster/agreement.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { Generator } from './generator/generator.ts';
import { History, type HistoryEvent, type Operation } from './history.ts';
import { inHealingOrder } from './nemesis/catalogue.ts';
import { type Nemesis, type ScheduledFault, scheduleFaults } from './nemesis/nemesis.ts';
import { DirectReader } from './net/direct-reader.ts';
import { Sampler, type Samples } from './sampler.ts';
import { pause, waitFor } from './wait.ts';
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
/** A worker that waits for its turn notices this soon that the run is over. */
const LOAD_PAUSE_MS_MAX = 50;
/** A final operation that is not answered in so many attempts stays unanswered. */
const FINAL_ATTEMPT_COUNT_MAX = 20;
const FINAL_PAUSE_MS = 250;

export async function run(options: RunOptions): Promise<RunReport> {
  const session = new Run(options);
  return session.run();
}

class Run {
  readonly #options: RunOptions;
  readonly #history = new History();
  readonly #workerCount: number;
  /** The history's zero: when the load begins. */
  #startMs = performance.now();
  #generator: Generator;
  #isOver = false;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#workerCount = options.workerCount ?? 8;
    this.#generator = options.workload.generator;
  }

  async run(): Promise<RunReport> {
    const { cluster, workload, durationMs, nemeses } = this.#options;
    const stopFollowing = this.#options.follow?.(() => this.#history.events);
    const teams = await Promise.all(
      Array.from({ length: this.#workerCount }, () => this.#connect()),
    );
    const sampler = new Sampler(cluster, () => this.#nowMs());
    try {
      await workload.prepare(first(teams).client);
      this.#startMs = performance.now();
      sampler.start();
      const workers = teams.map((tools, worker) => this.#work(tools, worker));
      const faults = nemeses.map((nemesis) => this.#disturb(nemesis));
      await Promise.all([this.#endAfter(durationMs), ...faults, ...workers]);
      await this.#heal();
      await this.#finish(first(teams));
    } finally {
      this.#isOver = true;
      await Promise.all(
        teams.flatMap(({ client, readers }) => [client, ...readers]).map((one) => one.close()),
      );
      await stopFollowing?.();
    }
    const samples = await sampler.stop();
    const { events } = this.#history;
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
    return { client, readers: nodes.map((address) => new DirectReader(address, timeoutMs)) };
  }

  /** One worker, until the run is over or the generator is empty. Who is late begins at once. */
  async #work(tools: WorkerTools, worker: number): Promise<void> {
    let processId = worker;
    while (!this.#isOver && !this.#history.isFull) {
      const step = this.#generator.next();
      if (step === null) return;
      this.#generator = step.rest;
      const dueMs = step.atMs;
      for (let leftMs = dueMs - this.#nowMs(); leftMs > 0; leftMs = dueMs - this.#nowMs()) {
        await pause(Math.min(leftMs, LOAD_PAUSE_MS_MAX));
        if (this.#isOver) return;
      }
      const outcome = await this.#perform(tools, processId, step.operation, dueMs);
      if (outcome === 'info') processId += this.#workerCount;
    }
  }

  /** The final operations, each repeated until it is answered: every node is ready by now. */
  async #finish(tools: WorkerTools): Promise<void> {
    const { cluster, workload } = this.#options;
    const nodeCount = cluster.nodeNames.length;
    let processId = -1;
    for (const operation of workload.finalOperations(this.#history.events, nodeCount)) {
      for (let attempt = 0; attempt < FINAL_ATTEMPT_COUNT_MAX; attempt++) {
        const outcome = await this.#perform(tools, processId, operation, this.#nowMs());
        if (outcome === 'ok') break;
        if (outcome === 'info') processId -= this.#workerCount;
        await pause(FINAL_PAUSE_MS);
      }
    }
  }

  async #perform(
    tools: WorkerTools,
    processId: number,
    operation: Operation,
    intendedMs: number,
  ): Promise<'ok' | 'fail' | 'info'> {
    this.#history.invoke(processId, operation, this.#nowMs(), intendedMs);
    try {
      const done = await this.#options.workload.perform(tools, operation);
      const { outcome, errorCode } = done;
      this.#history.finish(processId, outcome, done.operation, this.#nowMs(), errorCode);
      return outcome;
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) {
        this.#isOver = true;
        throw thrown;
      }
      const outcome = thrown.definite ? 'fail' : 'info';
      this.#history.finish(processId, outcome, operation, this.#nowMs(), thrown.code);
      return outcome;
    }
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
      while (!this.#isOver && this.#nowMs() < fault.atMs) await pause(FAULT_RETRY_PAUSE_MS);
      const isLate = this.#nowMs() > durationMs - faultIntervalMs / 2;
      if (this.#isOver || (isLate && fault.action !== nemesis.healingAction)) return;
      await this.#install(nemesis, fault);
    }
  }

  async #install(nemesis: Nemesis, fault: ScheduledFault): Promise<void> {
    const timeMs = this.#nowMs();
    const outcome = await nemesis.perform(fault.action, fault.pick, this.#options.cluster);
    const { kind, detail } = outcome;
    const targets = outcome.kind === 'skipped' ? [] : (outcome.targets ?? []);
    const isHealing = fault.action === nemesis.healingAction;
    const doneMs = this.#nowMs();
    const { name } = nemesis;
    const { action } = fault;
    this.#history.fault({
      ...{ nemesis: name, action, isHealing, outcome: kind, detail, targets, timeMs, doneMs },
    });
    this.#options.log?.(`${Math.round(timeMs)} ms  ${fault.action}  ${kind}  ${detail}`);
  }

  async #endAfter(durationMs: number): Promise<void> {
    while (!this.#isOver && this.#nowMs() < durationMs) await pause(FAULT_RETRY_PAUSE_MS);
    this.#isOver = true;
  }

  async #heal(): Promise<void> {
    const { nemeses, cluster } = this.#options;
    for (const nemesis of inHealingOrder(nemeses)) {
      const { healingAction } = nemesis;
      await this.#install(nemesis, { atMs: this.#nowMs(), action: healingAction, pick: 0 });
    }
    await waitFor(
      { what: 'the healed cluster to be ready', timeoutMs: HEALED_TIMEOUT_MS },
      async () => {
        const healths = await Promise.all(cluster.nodeNames.map((name) => cluster.health(name)));
        return healths.every((health) => health?.isReady === true) ? true : null;
      },
    );
  }

  #nowMs(): number {
    return performance.now() - this.#startMs;
  }
}

function first<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error('a run needs at least one worker');
  return item;
}
