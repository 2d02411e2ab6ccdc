/**
 * What scrubs have found, per pass and in total. The newest report is kept on disk, so that a
 * restart neither forgets what was found nor starts over with everything.
 */
import type { Logger } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { joinPath, readAtomicJson, writeAtomicJson } from '@holdfast/storage';
import type { AnyFlaw, ScrubTarget } from './scrub-targets.ts';

export const SCRUB_FILE_NAME = 'scrub.json';
const SCRUB_FORMAT = { format: 'holdfast-scrub', version: 1 } as const;
/** Of one pass; more are counted and left out of the list. */
const FILE_REPORT_COUNT_MAX = 1_000;
const FILE_STATE_COUNT_MAX = 65_536;

export interface FileReport {
  readonly path: string;
  readonly kind: ScrubTarget['kind'];
  readonly flaws: readonly {
    readonly offset: number | null;
    readonly what: string;
    readonly expected: string | null;
    readonly actual: string | null;
  }[];
}

/** Per collection, and '' for what belongs to none. */
export interface ScrubGroup {
  readonly collection: string;
  readonly files: number;
  readonly corruptedCount: number;
  readonly durationMs: number;
}

export interface ScrubReport {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly durationMs: number;
  /** False: the node was stopped before everything was looked at. */
  readonly isComplete: boolean;
  readonly totals: { readonly files: number; readonly flaws: number };
  readonly groups: readonly ScrubGroup[];
  /** Files with flaws. */
  readonly damaged: readonly FileReport[];
  /** Every file, up to a bound; only of a pass of this process. */
  readonly files?: readonly FileState[];
}

/** One line of an integrity check. */
export interface FileState {
  readonly path: string;
  readonly kind: ScrubTarget['kind'];
  readonly state: 'sound' | 'damaged';
  /** Checksum of the whole file where one is named; null for files that check themselves. */
  readonly expected: string | null;
  /** Null: not known, because the file is gone or damaged before its end. */
  readonly actual: string | null;
}

/** Since the process started. */
export interface ScrubTotals {
  readonly passes: number;
  readonly bytesRead: number;
  readonly flawsFound: number;
}

export class ScrubReports {
  readonly #fileSystem: FileSystem;
  readonly #path: string;
  readonly #logger: Logger;
  #newest: ScrubReport | null;
  #totals = { passes: 0, bytesRead: 0, flawsFound: 0 };

  constructor(fileSystem: FileSystem, dataDirectory: string, logger: Logger) {
    this.#fileSystem = fileSystem;
    this.#path = joinPath(dataDirectory, SCRUB_FILE_NAME);
    this.#logger = logger;
    this.#newest = this.#load();
  }

  get newest(): ScrubReport | null {
    return this.#newest;
  }

  get totals(): ScrubTotals {
    return { ...this.#totals };
  }

  bytesRead(sizeBytes: number): void {
    this.#totals.bytesRead += sizeBytes;
  }

  begin(startedAtMs: number): PassReport {
    return new PassReport(startedAtMs, (report) => this.#ended(report));
  }

  #ended(report: ScrubReport): void {
    const { files: _, ...kept } = report;
    this.#newest = kept;
    this.#totals.passes += 1;
    this.#totals.flawsFound += report.totals.flaws;
    try {
      writeAtomicJson(this.#fileSystem, this.#path, SCRUB_FORMAT, kept);
    } catch (error) {
      // The findings stand in the log and in memory; a full disk must not end a scrub.
      if (!(error instanceof HoldfastError)) throw error;
      this.#logger.warn({ code: error.code }, 'the report of a scrub could not be written');
    }
  }

  /** Null when there is none, or when it has rot itself: then the next pass makes a new one. */
  #load(): ScrubReport | null {
    if (!this.#fileSystem.exists(this.#path)) return null;
    try {
      return readAtomicJson(this.#fileSystem, this.#path, SCRUB_FORMAT) as ScrubReport;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#logger.warn({ code: error.code }, error.message);
      return null;
    }
  }
}

/** Collects what one pass sees. */
export class PassReport {
  readonly #startedAtMs: number;
  readonly #onEnd: (report: ScrubReport) => void;
  readonly #groups = new Map<string, { -readonly [Key in keyof ScrubGroup]: ScrubGroup[Key] }>();
  readonly #damaged: FileReport[] = [];
  readonly #files: FileState[] = [];

  constructor(startedAtMs: number, onEnd: (report: ScrubReport) => void) {
    this.#startedAtMs = startedAtMs;
    this.#onEnd = onEnd;
  }

  looked(target: ScrubTarget, flaws: readonly AnyFlaw[], durationMs: number): void {
    const collection = /^collections\/(\d+)\//.exec(target.path)?.[1] ?? '';
    const group = this.#groups.get(collection) ?? {
      ...{ collection, files: 0, corruptedCount: 0, durationMs: 0 },
    };
    this.#groups.set(collection, group);
    group.files += 1;
    group.corruptedCount += flaws.length;
    group.durationMs += durationMs;
    if (this.#files.length < FILE_STATE_COUNT_MAX) this.#files.push(stateOf(target, flaws));
    if (flaws.length === 0 || this.#damaged.length >= FILE_REPORT_COUNT_MAX) return;
    const listed = flaws.map(({ actual, expected, offset, what }) => ({
      ...{ offset, what, expected, actual },
    }));
    this.#damaged.push({ path: target.path, kind: target.kind, flaws: listed });
  }

  end(endedAtMs: number, isComplete: boolean): ScrubReport {
    const groups = [...this.#groups.values()];
    const report: ScrubReport = {
      startedAtMs: this.#startedAtMs,
      endedAtMs,
      durationMs: endedAtMs - this.#startedAtMs,
      isComplete,
      totals: {
        files: groups.reduce((sum, { files }) => sum + files, 0),
        flaws: groups.reduce((sum, { corruptedCount }) => sum + corruptedCount, 0),
      },
      groups,
      damaged: this.#damaged,
      files: this.#files,
    };
    this.#onEnd(report);
    return report;
  }
}

function stateOf(target: ScrubTarget, flaws: readonly AnyFlaw[]): FileState {
  const { kind, path } = target;
  const expected = 'checksum' in target ? target.checksum : null;
  if (flaws.length === 0) return { path, kind, state: 'sound', expected, actual: expected };
  const actual = flaws.find((flaw) => flaw.actual !== null)?.actual ?? null;
  return { path, kind, state: 'damaged', expected, actual };
}
