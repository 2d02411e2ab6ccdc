/**
 * Keeps the archive of one node's cluster in all of its sinks: the one place that knows who leads,
 * ticks what works, and says how much of the log must stay.
 */
import type { LogIndex, TimerHandle, Timers } from '@holdfast/base';
import { ArchiverSet } from './archiver-set.ts';
import type { SinkArchive, SinkArchiveStatus } from './sink-archive.ts';

export interface KeptSink {
  readonly archive: SinkArchive;
  /** The log waits for it, within the limit of the setting. */
  readonly isRequired: boolean;
}

export type KeptSinkStatus = SinkArchiveStatus & { readonly isRequired: boolean };

/** Half of the age at which a chunk is put: what waits is seen in time. */
const TICK_INTERVAL_MS = 100;

export class ArchiveKeeper {
  readonly #sinks: readonly KeptSink[];
  readonly #set: ArchiverSet<SinkArchiveStatus>;
  readonly #timers: Timers;
  readonly #isOn: () => boolean;
  #timer: TimerHandle | null = null;
  #isLeading = false;
  #isStopped = false;

  /** While `isOn` says no, nothing is looked at and nothing archived. */
  constructor(sinks: readonly KeptSink[], timers: Timers, isOn: () => boolean = () => true) {
    this.#sinks = sinks;
    this.#set = new ArchiverSet(
      sinks.map(({ archive, isRequired }) => ({ archiver: archive, isRequired })),
    );
    this.#timers = timers;
    this.#isOn = isOn;
  }

  start(): void {
    this.#schedule();
  }

  /** Told whenever the role of this node changes. */
  setLeading(isLeading: boolean): void {
    if (isLeading === this.#isLeading || this.#isStopped) return;
    this.#isLeading = isLeading;
    for (const { archive } of this.#sinks) {
      if (isLeading) archive.lead();
      else archive.follow();
    }
  }

  /**
   * Every required sink has all entries up to here, as far as this node knows: what the compaction
   * of the log may count on. 0 while one of them is not known; null when none is required.
   */
  get archivedIndex(): LogIndex | null {
    return this.#set.archivedIndex;
  }

  /** In the order of the settings. */
  statuses(): readonly KeptSinkStatus[] {
    return this.#set.statuses();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#set.stop();
  }

  #schedule(): void {
    if (this.#isStopped) return;
    this.#timer = this.#timers.after(TICK_INTERVAL_MS, () => {
      if (this.#isOn()) this.#set.tick();
      this.#schedule();
    });
  }
}
