/**
 * Runs plans in worker processes: a run that brings its process down is a failed run of its seed,
 * and nothing else. One plan at a time per process; processes are used again.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SimPlan } from './plan.ts';
import type { RunResult } from './run-plan.ts';

const WORKER = fileURLToPath(new URL('sim-worker.js', import.meta.url));

/** A simulation makes many objects that die young: fewer, larger collections cost a tenth less. */
const EXEC_ARGUMENTS = [...process.execArgv, '--max-semi-space-size=64'];

interface Job {
  readonly plan: SimPlan;
  readonly resolve: (result: RunResult) => void;
}

export class WorkerPool {
  readonly #size: number;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #idle: ChildProcess[] = [];
  readonly #busy = new Map<ChildProcess, Job>();
  readonly #waiting: Job[] = [];

  constructor(size: number, environment: NodeJS.ProcessEnv = {}) {
    this.#size = size;
    this.#environment = { ...process.env, ...environment };
  }

  run(plan: SimPlan): Promise<RunResult> {
    return new Promise((resolve) => {
      this.#waiting.push({ plan, resolve });
      this.#next();
    });
  }

  /** Ends the processes in an orderly way: each writes what it has to write first. */
  async close(): Promise<void> {
    const ended = this.#idle.map(
      (worker) => new Promise<void>((resolve) => worker.once('exit', () => resolve())),
    );
    for (const worker of this.#idle) worker.disconnect();
    await Promise.all(ended);
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    const worker = this.#idle.pop() ?? this.#start();
    if (worker === null) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#busy.set(worker, job);
    worker.send(job.plan);
  }

  #start(): ChildProcess | null {
    if (this.#busy.size >= this.#size) return null;
    const worker = fork(WORKER, { env: this.#environment, execArgv: EXEC_ARGUMENTS });
    worker.on('message', (result) => this.#finish(worker, result as RunResult, true));
    worker.on('exit', (code, signal) => {
      const job = this.#busy.get(worker);
      if (job === undefined) return;
      this.#finish(worker, diedResult(job.plan.seed, code, signal), false);
    });
    return worker;
  }

  #finish(worker: ChildProcess, result: RunResult, isAlive: boolean): void {
    const job = this.#busy.get(worker);
    this.#busy.delete(worker);
    if (isAlive) this.#idle.push(worker);
    job?.resolve(result);
    this.#next();
  }
}

function diedResult(seed: number, code: number | null, signal: string | null): RunResult {
  return {
    seed,
    problems: [`the process of the run ended: ${signal ?? `code ${code}`}`],
    traceHash: '',
    lastEvents: [],
    simulatedMs: 0,
    counts: {} as RunResult['counts'],
    faults: {},
    rareStates: {},
  };
}
