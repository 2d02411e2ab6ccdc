/**
 * The workers of a node and how each of them is: its process, the threads of its lanes, the thread
 * of its log. Looked at every few seconds and whenever somebody asks; what a worker did between two
 * looks is told as a share of that time.
 */
import type { LaneHealth, PulseSample } from '@holdfast/shard-worker';
import type { WalStats, WalWrites } from '@holdfast/storage';

/** Of the whole process, as the system counts it. */
export interface ProcessSample {
  /** User and system time of all its threads, since its start. */
  readonly cpuMs: number;
  readonly residentSizeBytes: number;
  readonly heapUsedSizeBytes: number;
  /** Longest delay of the main thread's event loop since the look before. */
  readonly eventLoopDelayMs: number;
}

export interface WorkerReport {
  readonly name: string;
  readonly kind: 'process' | 'lane' | 'log';
  /** `up`, `down`, `givenUp`; of the log the state of its breaker. */
  readonly state: string;
  /** What its thread does right now; null where that is not known. */
  readonly place: PulseSample['place'] | null;
  /** Of one processor, since the look before; null where the system does not say. */
  readonly cpuShare: number | null;
  readonly residentSizeBytes: number | null;
  readonly heapUsedSizeBytes: number | null;
  readonly eventLoopDelayMs: number | null;
  readonly restarts: number;
  /** A lane's thread has shown signs of life since the look before; a log has synced. */
  readonly hasMoved: boolean;
}

export interface WorkersParts {
  readonly nowMs: () => number;
  readonly lanes: () => readonly LaneHealth[];
  readonly log: () => { readonly stats: WalStats; readonly writes: WalWrites };
  /** Null where there is no process of its own, as in a simulation. */
  readonly process: (() => ProcessSample) | null;
}

/** Several metrics of one scrape are of one look. */
const REPORT_AGE_MS_MAX = 500;

export class Workers {
  readonly #parts: WorkersParts;
  #reports: readonly WorkerReport[] = [];
  #atMs: number;
  #cpuMs = 0;
  #syncs = 0;
  readonly #beats = new Map<number, number>();

  constructor(parts: WorkersParts) {
    this.#parts = parts;
    this.#atMs = parts.nowMs();
    this.#cpuMs = parts.process?.().cpuMs ?? 0;
    this.#lookAfter(1);
  }

  /** Looks again, unless that was done within the last half second. */
  look(): readonly WorkerReport[] {
    const nowMs = this.#parts.nowMs();
    const gapMs = nowMs - this.#atMs;
    if (gapMs < REPORT_AGE_MS_MAX) return this.#reports;
    this.#atMs = nowMs;
    return this.#lookAfter(gapMs);
  }

  /** Of the process; 0 where there is none of its own. */
  get residentSizeBytes(): number {
    return this.look().find(({ kind }) => kind === 'process')?.residentSizeBytes ?? 0;
  }

  #lookAfter(gapMs: number): readonly WorkerReport[] {
    const { lanes, log, process } = this.#parts;
    this.#reports = [
      ...(process === null ? [] : [this.#processReport(process(), gapMs)]),
      ...lanes().map((lane) => this.#laneReport(lane)),
      this.#logReport(log()),
    ];
    return this.#reports;
  }

  #processReport({ cpuMs, ...sample }: ProcessSample, gapMs: number): WorkerReport {
    const cpuShare = (cpuMs - this.#cpuMs) / gapMs;
    this.#cpuMs = cpuMs;
    return { ...UNKNOWN, ...sample, name: 'process', kind: 'process', state: 'up', cpuShare };
  }

  #laneReport({ lane, pulse, restarts, state }: LaneHealth): WorkerReport {
    const { beat, heapUsedSizeBytes, place } = pulse;
    const hasMoved = beat !== this.#beats.get(lane);
    this.#beats.set(lane, beat);
    const name = `lane ${lane}`;
    return { ...UNKNOWN, name, kind: 'lane', state, place, heapUsedSizeBytes, restarts, hasMoved };
  }

  #logReport({ stats, writes }: ReturnType<WorkersParts['log']>): WorkerReport {
    const hasMoved = stats.syncs !== this.#syncs;
    this.#syncs = stats.syncs;
    return { ...UNKNOWN, name: 'log', kind: 'log', state: writes.state, hasMoved };
  }
}

const UNKNOWN = {
  ...{ place: null, cpuShare: null, residentSizeBytes: null, heapUsedSizeBytes: null },
  ...{ eventLoopDelayMs: null, restarts: 0, hasMoved: true },
} as const;
