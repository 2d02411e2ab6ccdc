/**
 * Walks every file of the node at a bounded pace, again and again, and hands what it finds to
 * whoever repairs. It repairs nothing itself and never stops the node.
 *
 * A finding is believed when it is seen twice, with a pause between, in a file that is still part
 * of the state: so neither a write under way nor a file that was let go of is one. Every finding is
 * told once per place, until the place is sound again.
 *
 * What reads and hashes is its reader: in a node a thread of its own (docs/adr/0031). It sees what
 * a restart of the process, a repair or a snapshot would see; of pages that the system still holds
 * in memory it sees the memory (docs/adr/0026).
 */
import type { Clock, HoldfastError, Logger, Timers } from '@holdfast/base';
import { HoldfastError as HoldfastFailure } from '@holdfast/base';
import type { ScrubReader } from './scrub-reader.ts';
import type { ScrubReport, ScrubTotals } from './scrub-report.ts';
import { ScrubReports } from './scrub-report.ts';
import type { AnyFlaw, ScrubPlace, ScrubTarget } from './scrub-targets.ts';
import { listTargets, lookOf } from './scrub-targets.ts';

/** Longer than any write of one batch. */
const CONFIRM_DELAY_MS = 50;
/** The first pass of a process does not race with its start. */
const FIRST_PASS_DELAY_MS_MAX = 60_000;

export interface Finding {
  readonly target: ScrubTarget;
  /** At least one. */
  readonly flaws: readonly AnyFlaw[];
}

export interface ScrubberOptions {
  readonly place: ScrubPlace;
  /** Stopped with the scrubber. */
  readonly reader: ScrubReader;
  /** From the end of one pass to the begin of the next; 0: only when asked for. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly onFinding: (finding: Finding) => void;
  /** True: the flaw is known and nothing more can be done about it here. */
  readonly isSettled: (target: ScrubTarget, flaw: AnyFlaw) => boolean;
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #reports: ScrubReports;
  #intervalMs: number;
  #nextPassMs: number;
  #pass: Promise<ScrubReport> | null = null;
  #isStopped = false;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    const { clock, intervalMs, place } = options;
    this.#intervalMs = intervalMs;
    this.#reports = new ScrubReports(place.fileSystem, place.dataDirectory, options.logger);
    const sinceMs = clock.wallMs() - (this.#reports.newest?.endedAtMs ?? 0);
    const isDue = this.#reports.newest === null || sinceMs < 0 || sinceMs >= intervalMs;
    const firstMs = Math.min(intervalMs, FIRST_PASS_DELAY_MS_MAX);
    this.#nextPassMs = clock.monotonicMs() + (isDue ? firstMs : intervalMs - sinceMs);
  }

  /** Of the newest pass that ended, also of an earlier process; null before the first. */
  get newest(): ScrubReport | null {
    return this.#reports.newest;
  }

  get totals(): ScrubTotals {
    return this.#reports.totals;
  }

  get isRunning(): boolean {
    return this.#pass !== null;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  set intervalMs(intervalMs: number) {
    this.#nextPassMs += intervalMs - this.#intervalMs;
    this.#intervalMs = intervalMs;
  }

  get bytesPerSecMax(): number {
    return this.#options.reader.bytesPerSecMax;
  }

  set bytesPerSecMax(bytesPerSec: number) {
    this.#options.reader.bytesPerSecMax = bytesPerSec;
  }

  onTick(nowMs: number): void {
    const isOff = this.#intervalMs === 0 || this.#isStopped;
    if (isOff || nowMs < this.#nextPassMs || this.#pass !== null) return;
    this.run().catch((error: unknown) => {
      this.#options.logger.error({ error: String(error) }, 'a scrub could not be finished');
    });
  }

  /** Makes a pass now, or joins the one under way. Rejects FILE_IO: the disk cannot be read. */
  run(): Promise<ScrubReport> {
    this.#pass ??= this.#run().finally(() => {
      this.#pass = null;
      this.#nextPassMs = this.#options.clock.monotonicMs() + this.#intervalMs;
    });
    return this.#pass;
  }

  /** Nothing is read any more; resolves when the pass under way has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#options.reader.stop();
    await this.#pass?.catch(() => undefined);
  }

  /**
   * What is wrong with one target right now, seen twice. Empty when it is no part of the state any
   * more. @throws HoldfastError FILE_IO
   */
  look(target: ScrubTarget): Promise<readonly AnyFlaw[]> {
    return this.#look(target, () => false);
  }

  /** What is known already needs no second look: in a log file it stays until the file goes. */
  async #look(
    target: ScrubTarget,
    isKnown: (flaw: AnyFlaw) => boolean,
  ): Promise<readonly AnyFlaw[]> {
    const first = await this.#read(target);
    if (first.every(isKnown)) return first;
    await this.#sleep(CONFIRM_DELAY_MS);
    if (this.#isGone(target)) return [];
    const second = await this.#read(target);
    const seen = new Set(first.map(({ offset }) => offset));
    return this.#isGone(target) ? [] : second.filter(({ offset }) => seen.has(offset));
  }

  async #run(): Promise<ScrubReport> {
    const { clock, logger, place } = this.#options;
    const report = this.#reports.begin(clock.wallMs());
    for (const target of listTargets(place)) {
      if (this.#isStopped) break;
      const startMs = clock.monotonicMs();
      const flaws = await this.#lookSafely(target);
      if (flaws === null) break;
      report.looked(target, flaws, clock.monotonicMs() - startMs);
      const open = flaws.filter((flaw) => !this.#options.isSettled(target, flaw));
      if (open.length > 0) this.#options.onFinding({ target, flaws: open });
    }
    const ended = report.end(clock.wallMs(), !this.#isStopped);
    logger.info({ ...ended.totals, durationMs: ended.durationMs }, 'scrub pass is done');
    return ended;
  }

  /** A file that the disk refuses to read is damaged as a whole. Null: stopped meanwhile. */
  async #lookSafely(target: ScrubTarget): Promise<readonly AnyFlaw[] | null> {
    try {
      return await this.#look(target, (flaw) => this.#options.isSettled(target, flaw));
    } catch (error) {
      if (this.#isStopped) return null;
      if (!isUnreadable(error)) throw error;
      const what = `the disk refuses to read it: ${error.message}`;
      return [{ offset: null, what, expected: null, actual: null }];
    }
  }

  async #read(target: ScrubTarget): Promise<readonly AnyFlaw[]> {
    const { place, reader } = this.#options;
    const { flaws, sizeBytes } = await reader.look(lookOf(place, target));
    this.#reports.bytesRead(sizeBytes);
    return flaws;
  }

  #isGone(target: ScrubTarget): boolean {
    return !listTargets(this.#options.place).some(
      (other) =>
        other.path === target.path &&
        (!('checksum' in other) || !('checksum' in target) || other.checksum === target.checksum),
    );
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.timers.after(delayMs, resolve);
    });
  }
}

const isUnreadable = (error: unknown): error is HoldfastError =>
  error instanceof HoldfastFailure && error.code === 'FILE_IO' && error.details.code === 'EIO';
