/**
 * A workload in the simulator: the same generators, operations and checkers as on real processes,
 * on virtual time. The client library runs unchanged over the simulated network; nodes are also
 * asked directly, as on real sockets. A seed gives the same history, byte for byte.
 *
 * It ends as a run of the simulator ends: everything is healed, the load goes on for a while in the
 * whole cluster, disks and replicas are compared, all lose power, and only then every node is asked
 * the final operations.
 */
import { assert, deriveSeed, SeededRandom } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { judgeAgreement } from '../checker/replica-agreement.ts';
import { invalid, unknown, type Verdict, valid } from '../checker/verdict.ts';
import type { HistoryEvent } from '../history.ts';
import { Load } from '../load.ts';
import { DirectReader } from '../net/direct-reader.ts';
import type { HarnessTime } from '../wait.ts';
import type { NodeAsker, WorkerTools, Workload } from '../workload/workload.ts';
import { FaultStory } from './fault-story.ts';
import type { SimPlan } from './plan.ts';
import { type SimDigest, SimWorld } from './sim-world.ts';
import { SIM_WORKER_COUNT_MAX } from './workload-plan.ts';

export interface WorkloadRunOptions {
  readonly workload: Workload;
  readonly plan: SimPlan;
  /** Each with a client and so a session of its own. */
  readonly workerCount: number;
  /** Per operation; default 5,000, as on real processes. */
  readonly operationTimeoutMs?: number;
  /** Told all events so far, and at the end; it must not change them. */
  readonly follow?: (source: () => readonly HistoryEvent[]) => () => Promise<void>;
  /** What stands between a worker and a node; for tests that want to be lied to. */
  readonly throughAsker?: (asker: NodeAsker) => NodeAsker;
}

export interface WorkloadReport {
  readonly events: readonly HistoryEvent[];
  /** By name of the checker. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly traceHash: string;
  /** For people: what happened last. */
  readonly lastEvents: readonly string[];
  readonly simulatedMs: number;
}

const OPERATION_TIMEOUT_MS = 5_000;
const CONNECT_LIMIT_MS = 30_000;
const PREPARE_LIMIT_MS = 60_000;
/** How long the load goes on in the healed cluster. */
const CALM_MS = 2_000;
/** An operation of several calls, each as long as it may take. */
const WORKERS_END_LIMIT_MS = 60_000;
/** Hundreds of reads, one after the other, and their repetitions. */
const FINAL_LIMIT_MS = 600_000;
const PROBLEM_COUNT_MAX = 5;

/** @throws Error when the harness broke: that is no verdict */
export async function runWorkload(options: WorkloadRunOptions): Promise<WorkloadReport> {
  const run = new WorkloadRun(options);
  return run.run();
}

class WorkloadRun {
  readonly #options: WorkloadRunOptions;
  readonly #world: SimWorld;
  readonly #load: Load;
  readonly #story: FaultStory;
  readonly #time: HarnessTime;
  #digests: readonly SimDigest[] = [];
  #broken: { readonly error: unknown } | null = null;

  constructor(options: WorkloadRunOptions) {
    const { plan, workerCount, workload } = options;
    assert(workerCount >= 1 && workerCount <= SIM_WORKER_COUNT_MAX, 'a node has no room for more', {
      workerCount,
    });
    this.#options = options;
    const world = new SimWorld(plan, (report) => this.#story.struck(report));
    const { clock } = world.cluster.scheduler;
    this.#world = world;
    this.#time = {
      nowMs: () => clock.monotonicMs(),
      // Whole microseconds: a rest of a rounding error would be waited for without end.
      pause: (delayMs) =>
        new Promise((resolve) => void clock.after(Math.ceil(delayMs * 1_000) / 1_000, resolve)),
    };
    const { nodeCount } = plan;
    this.#load = new Load({ workload, workerCount, nodeCount, time: this.#time });
    this.#story = new FaultStory({
      history: this.#load.history,
      nowMs: () => this.#load.nowMs(),
      after: (delayMs, action) => void clock.after(delayMs, action),
    });
  }

  async run(): Promise<WorkloadReport> {
    const stopFollowing = this.#options.follow?.(() => this.#load.history.events);
    try {
      await this.#world.attempt(() => this.#execute());
    } finally {
      await stopFollowing?.();
    }
    if (this.#broken !== null) throw this.#broken.error;
    const { trace } = this.#world;
    return {
      events: this.#load.history.events,
      verdicts: this.#verdicts(),
      traceHash: trace.hash,
      lastEvents: trace.lastEvents(),
      simulatedMs: this.#world.nowMs(),
    };
  }

  async #execute(): Promise<void> {
    const { plan, workload } = this.#options;
    const world = this.#world;
    await world.start();
    await world.untilServing();
    const teams = await this.#own(this.#connectAll(), CONNECT_LIMIT_MS, 'clients connect');
    const [first] = teams;
    assert(first !== undefined, 'a run needs at least one worker');
    await this.#own(workload.prepare(first.client), PREPARE_LIMIT_MS, 'the workload is prepared');
    this.#load.begin();
    const working = Promise.all(teams.map((tools, worker) => this.#load.work(tools, worker)));
    working.catch((error: unknown) => this.#break(error));
    world.beginFaults();
    await world.pass(plan.durationMs);
    world.faults.heal();
    this.#story.healed();
    await world.untilServing();
    await world.pass(CALM_MS);
    this.#load.end();
    await this.#own(working, WORKERS_END_LIMIT_MS, 'workers end');
    await world.agree();
    await world.care.check('after the faults');
    world.stopOnProblem();
    if (plan.faults.length > 0) await this.#cutAllPower();
    await this.#own(this.#load.finish(first), FINAL_LIMIT_MS, 'final operations are answered');
    this.#digests = await world.agree();
    const ends = teams.flatMap(({ client, readers }) => [client, ...readers]);
    const closing = Promise.all(ends.map((one) => one.close()));
    await this.#own(closing, CONNECT_LIMIT_MS, 'clients close');
    await world.cluster.scheduler.settle();
  }

  /** What was acknowledged must be on the disks. */
  async #cutAllPower(): Promise<void> {
    this.#world.faults.restartAll();
    await this.#world.untilServing();
  }

  #verdicts(): Readonly<Record<string, Verdict>> {
    const { plan, workload } = this.#options;
    const { events } = this.#load.history;
    const harms = events.filter(
      (event) => event.kind === 'fault' && !event.isHealing && event.outcome === 'installed',
    );
    const isIdle = plan.faults.length > 0 && harms.length === 0;
    return {
      [workload.name]: workload.judge(events),
      'replica-agreement': judgeAgreement(this.#digests),
      simulator: this.#judgeSimulator(),
      ...(isIdle ? { faults: unknown('no fault could be installed') } : {}),
    };
  }

  /** The invariants that were looked at after every step, and that the cluster became whole. */
  #judgeSimulator(): Verdict {
    const { problems, watch } = this.#world;
    const [problem] = problems;
    if (problem !== undefined) {
      const [reason = problem] = problem.split('\n');
      const timeMs = this.#load.nowMs();
      const examples = problems.slice(0, PROBLEM_COUNT_MAX).map((text) => ({ text, timeMs }));
      return invalid(reason, examples);
    }
    return valid({
      stepCount: watch.checkCount,
      termsLed: watch.termsLed,
      committedIndex: watch.ledger.committedIndex,
      digestMeetingCount: watch.digestMeetingCount,
    });
  }

  #connectAll(): Promise<readonly WorkerTools[]> {
    const { workerCount } = this.#options;
    return Promise.all(Array.from({ length: workerCount }, (_unused, i) => this.#connect(i)));
  }

  async #connect(worker: number): Promise<WorkerTools> {
    const { operationTimeoutMs: timeoutMs = OPERATION_TIMEOUT_MS, plan } = this.#options;
    const { throughAsker = (asker: NodeAsker) => asker } = this.#options;
    const { clientNetwork: transport, nodes, scheduler } = this.#world.cluster;
    const { clock } = scheduler;
    const client = await HoldfastClient.connect({
      nodes: nodes.map((node) => node.clientAddress),
      ...{ timeoutMs, transport, clock, timers: clock, clientName: `worker-${worker}` },
      random: new SeededRandom(deriveSeed(plan.seed, `worker ${worker}`)),
    });
    const readers = nodes.map(({ clientAddress }) =>
      throughAsker(new DirectReader(clientAddress, { timeoutMs, transport, timers: clock })),
    );
    return { client, readers, time: this.#time };
  }

  /** Moves time until the harness has done this; what it throws is no problem of the cluster. */
  async #own<Value>(work: Promise<Value>, limitMs: number, what: string): Promise<Value> {
    work.catch((error: unknown) => this.#break(error));
    return this.#world.finish(work, limitMs, what);
  }

  #break(error: unknown): void {
    // What the simulator saw before is about the cluster, and may well be why.
    if (this.#world.problems.length > 0) return;
    this.#broken = { error };
    // Stops the run; nobody sees this: the error itself is thrown.
    this.#world.fail('the harness broke');
  }
}
