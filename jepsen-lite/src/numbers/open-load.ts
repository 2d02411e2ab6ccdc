/**
 * A workload offered in the open: every operation begins when it is due, however long those before
 * it take, on a few clients that each have many under way. So the time between two
 * acknowledgements is the cluster's and not that of a client that waits for its turn.
 *
 * Invariants: a process id has one operation under way at a time and is retired after `info`; at
 * most `OPEN_COUNT_MAX` operations are under way, what is due beyond that begins late.
 */
import { HoldfastError, must } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import type { Verdict } from '../checker/verdict.ts';
import type { FaultEvent, HistoryEvent, Operation } from '../history.ts';
import { History } from '../history.ts';
import { DirectReader } from '../net/direct-reader.ts';
import { isWrite } from '../operation.ts';
import { pause, REAL_TIME, waitFor } from '../wait.ts';
import type { Workload } from '../workload/workload.ts';

export interface OpenLoadOptions {
  readonly addresses: readonly string[];
  readonly workload: Workload;
  /** Clients, each with a session of its own. Default 8. */
  readonly clientCount?: number;
}

/** The clock of the harness was late by so much: a gap of that size may be its own. */
export interface Lateness {
  readonly timeMs: number;
  readonly lateMs: number;
}

const CLIENT_COUNT = 8;
/** Shorter than an outage of everybody may last, so that `info` occurs. */
const OPERATION_TIMEOUT_MS = 5_000;
const PREPARE_TIMEOUT_MS = 60_000;
/** Of one load: twenty seconds without any answer at the rates that are used here. */
const OPEN_COUNT_MAX = 4_000;
const FULL_PAUSE_MS = 10;
/** Timers are late by a millisecond or two as a rule. */
const LATENESS_MS_MIN = 10;
const FLOW_TIMEOUT_MS = 60_000;
/** Writes flow when the last acknowledgement is not older. */
const FLOW_AGE_MS_MAX = 500;
const FINAL_ATTEMPT_COUNT_MAX = 40;
const FINAL_PAUSE_MS = 250;

export class OpenLoad {
  readonly workload: Workload;
  readonly #history = new History();
  readonly #clients: readonly HoldfastClient[];
  /** One per node, for all. */
  readonly #readers: readonly DirectReader[];
  readonly #startMs = performance.now();
  readonly #open = new Set<Promise<void>>();
  readonly #freeIds: number[] = [];
  readonly #lateness: Lateness[] = [];
  #nextId = 0;
  #finalId = -1;
  #lastAcknowledgedMs = -Infinity;
  #acknowledgedCount = 0;
  #isOver = false;
  #offering: Promise<void> = Promise.resolve();
  /** What broke in the harness; thrown by whoever waits for the load. */
  #broken: unknown = null;

  private constructor(
    workload: Workload,
    clients: readonly HoldfastClient[],
    readers: readonly DirectReader[],
  ) {
    this.workload = workload;
    this.#clients = clients;
    this.#readers = readers;
  }

  static async start({ addresses, clientCount, workload }: OpenLoadOptions): Promise<OpenLoad> {
    const nodes = [...addresses];
    const timeoutMs = OPERATION_TIMEOUT_MS;
    const clients = await Promise.all(
      Array.from({ length: clientCount ?? CLIENT_COUNT }, () =>
        HoldfastClient.connect({ nodes, timeoutMs }),
      ),
    );
    await prepare(workload, nodes);
    const readers = nodes.map((address) => new DirectReader(address, timeoutMs));
    const load = new OpenLoad(workload, clients, readers);
    load.#offering = load.#offer();
    return load;
  }

  get events(): readonly HistoryEvent[] {
    return this.#history.events;
  }

  /** Since the load began, as in its events. */
  get nowMs(): number {
    return performance.now() - this.#startMs;
  }

  /** Writes so far. */
  get acknowledgedCount(): number {
    return this.#acknowledgedCount;
  }

  fault(event: Omit<FaultEvent, 'kind'>): void {
    this.#history.fault(event);
  }

  /** The worst lateness of the harness itself in this time; 0: none worth telling. */
  latenessMsMax(fromMs: number, toMs: number): number {
    const within = this.#lateness.filter(
      ({ lateMs, timeMs }) => timeMs >= fromMs && timeMs - lateMs <= toMs,
    );
    return within.reduce((max, { lateMs }) => Math.max(max, lateMs), 0);
  }

  /**
   * Resolves when `holdMs` have passed and writes flow.
   * @throws WaitExpired when they do not flow again in time; what broke the harness
   */
  async untilFlowing(holdMs: number): Promise<void> {
    await pause(holdMs);
    await waitFor({ what: 'writes to be acknowledged', timeoutMs: FLOW_TIMEOUT_MS }, () => {
      const isFlowing = this.nowMs - this.#lastAcknowledgedMs <= FLOW_AGE_MS_MAX;
      return isFlowing || this.#broken !== null ? true : null;
    });
    this.#throwBroken();
  }

  /** Nothing begins any more, and what is under way has ended. @throws what broke the harness */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#offering;
    await Promise.all(this.#open);
    this.#throwBroken();
  }

  /** The final operations, each repeated until it is answered; then the workload judges. */
  async judge(): Promise<Verdict> {
    const nodeCount = this.#readers.length;
    for (const operation of this.workload.finalOperations(this.events, nodeCount)) {
      for (let attempt = 0; attempt < FINAL_ATTEMPT_COUNT_MAX; attempt++) {
        const outcome = await this.#perform(this.#finalId, operation, this.nowMs);
        if (outcome === 'ok') break;
        if (outcome === 'info') this.#finalId -= 1;
        await pause(FINAL_PAUSE_MS);
      }
    }
    this.#throwBroken();
    return this.workload.judge(this.events);
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#clients, ...this.#readers].map((one) => one.close()));
  }

  async #offer(): Promise<void> {
    let { generator } = this.workload;
    while (!this.#isOver && !this.#history.isFull) {
      const step = generator.next();
      if (step === null) return;
      generator = step.rest;
      if (step.atMs > this.nowMs) {
        await pause(step.atMs - this.nowMs);
        const lateMs = this.nowMs - step.atMs;
        if (lateMs >= LATENESS_MS_MIN) this.#lateness.push({ timeMs: this.nowMs, lateMs });
      }
      while (this.#open.size >= OPEN_COUNT_MAX && !this.#isOver) await pause(FULL_PAUSE_MS);
      if (this.#isOver) return;
      this.#begin(step.operation, step.atMs);
    }
  }

  #begin(operation: Operation, dueMs: number): void {
    const processId = this.#freeIds.pop() ?? this.#nextId++;
    const running = this.#perform(processId, operation, dueMs).then((outcome) => {
      this.#open.delete(running);
      if (outcome !== 'info') this.#freeIds.push(processId);
    });
    this.#open.add(running);
  }

  async #perform(
    processId: number,
    operation: Operation,
    dueMs: number,
  ): Promise<'ok' | 'fail' | 'info'> {
    const client = must(this.#clients[Math.abs(processId) % this.#clients.length]);
    this.#history.invoke(processId, operation, this.nowMs, dueMs);
    try {
      const done = await this.workload.perform(
        { client, readers: this.#readers, time: REAL_TIME },
        operation,
      );
      this.#finish(processId, done.outcome, done.operation, done.errorCode);
      return done.outcome;
    } catch (thrown) {
      const isAnswer = thrown instanceof HoldfastError;
      // Anything else is a bug of the harness: nobody knows what became of the operation.
      if (!isAnswer) {
        this.#broken ??= thrown;
        this.#isOver = true;
      }
      const outcome = isAnswer && thrown.definite ? 'fail' : 'info';
      this.#finish(processId, outcome, operation, isAnswer ? thrown.code : undefined);
      return outcome;
    }
  }

  #finish(
    processId: number,
    outcome: 'ok' | 'fail' | 'info',
    operation: Operation,
    errorCode: string | undefined,
  ): void {
    const nowMs = this.nowMs;
    this.#history.finish(processId, outcome, operation, nowMs, errorCode);
    if (outcome !== 'ok' || !isWrite(operation)) return;
    this.#acknowledgedCount += 1;
    this.#lastAcknowledgedMs = nowMs;
  }

  #throwBroken(): void {
    if (this.#broken !== null) throw this.#broken;
  }
}

/** Before any load; on a client that waits longer. */
async function prepare(workload: Workload, nodes: readonly string[]): Promise<void> {
  const client = await HoldfastClient.connect({ nodes, timeoutMs: PREPARE_TIMEOUT_MS });
  try {
    await workload.prepare(client);
  } finally {
    await client.close();
  }
}
