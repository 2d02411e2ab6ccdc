/**
 * Writes one run into a directory of its own, while it goes on:
 *
 *   run.json        what the run is                      before it begins
 *   history.jsonl   one event per line                   while it goes on
 *   verdicts.json   the verdicts and a summary           when it has been judged
 *   series.json     samples of resources                 when there are any
 *   logs/, data/    of the nodes (`keep-evidence.ts`)
 *
 * A harness that is killed leaves everything that was handed over; at most the last line of the
 * history is torn. Files that are written at once appear whole or not at all. Nothing is synced:
 * this is for the death of the harness, not of the machine.
 */
import { mkdir, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '@holdfast/base';
import type { Verdict } from '../checker/verdict.ts';
import type { HistoryEvent } from '../history.ts';
import { pause } from '../wait.ts';
import { lineOf } from './history-lines.ts';
import { parseRunFacts, type RunFacts } from './run-facts.ts';
import type { RunSummary } from './run-summary.ts';
import { SERIES_POINT_COUNT_MAX, type Series } from './series.ts';

/** The limit of a history, and what may still end after it is full. */
export const STORED_EVENT_COUNT_MAX = 2_100_000;
/** Events per write: about half a megabyte. */
const EVENTS_PER_WRITE = 4_096;
/** What a killed harness may lose of its history. */
const FOLLOW_INTERVAL_MS = 200;
/** Runs that begin in the same second with the same name. */
const NAME_ATTEMPT_COUNT_MAX = 100;
const NAME_LENGTH_MAX = 120;

/** What is known when a run has been judged. */
export interface RunVerdicts {
  readonly formatVersion: 1;
  /** By name of the checker. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly summary: RunSummary;
}

type HistoryFile = Awaited<ReturnType<typeof open>>;

export class RunWriter {
  readonly directory: string;
  readonly #history: HistoryFile;
  #writtenCount = 0;
  /** The last write; one at a time. Once rejected it stays so: a hole would look like a history. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(directory: string, history: HistoryFile) {
    this.directory = directory;
    this.#history = history;
  }

  /** Makes the directory of a new run in `storeDirectory`; never one that exists. */
  static async create(storeDirectory: string, facts: RunFacts): Promise<RunWriter> {
    assert(parseRunFacts(facts) !== null, 'a run must be described by what can be read back', {
      facts,
    });
    await mkdir(storeDirectory, { recursive: true });
    const directory = await makeDirectory(storeDirectory, directoryNameOf(facts));
    await writeWhole(join(directory, 'run.json'), facts);
    return new RunWriter(directory, await open(join(directory, 'history.jsonl'), 'ax'));
  }

  /**
   * Writes what `events` holds beyond what was written before: it only grows. Resolves when the
   * operating system has the bytes. After a rejection nothing more is written.
   */
  append(events: readonly HistoryEvent[]): Promise<void> {
    assert(events.length >= this.#writtenCount, 'a history only grows', {
      length: events.length,
      writtenCount: this.#writtenCount,
    });
    assert(events.length <= STORED_EVENT_COUNT_MAX, 'a history must have been cut short by now', {
      length: events.length,
    });
    this.#writing = this.#writing.then(() => this.#write(events, events.length));
    return this.#writing;
  }

  /** Not for a run in which the harness failed: a run without verdicts is shown as not ended. */
  async writeVerdicts(verdicts: Omit<RunVerdicts, 'formatVersion'>): Promise<void> {
    await writeWhole(join(this.directory, 'verdicts.json'), { formatVersion: 1, ...verdicts });
  }

  async writeSeries(series: readonly Series[]): Promise<void> {
    const pointCount = series.reduce((sum, { points }) => sum + points.length, 0);
    assert(pointCount <= SERIES_POINT_COUNT_MAX, 'too many samples for one run', { pointCount });
    await writeWhole(join(this.directory, 'series.json'), series);
  }

  /** Waits for what was appended. Rejects when a write failed. */
  async close(): Promise<void> {
    try {
      await this.#writing;
    } finally {
      await this.#history.close();
    }
  }

  async #write(events: readonly HistoryEvent[], endCount: number): Promise<void> {
    while (this.#writtenCount < endCount) {
      const until = Math.min(endCount, this.#writtenCount + EVENTS_PER_WRITE);
      const lines = events.slice(this.#writtenCount, until).map(lineOf);
      await this.#history.appendFile(lines.join(''));
      this.#writtenCount = until;
    }
  }
}

/**
 * Appends what `source` gives several times a second, until the returned function is called, which
 * writes the rest and rejects when a write has failed.
 */
export function followHistory(
  writer: RunWriter,
  source: () => readonly HistoryEvent[],
): () => Promise<void> {
  let isOver = false;
  const follow = async (): Promise<void> => {
    while (!isOver) {
      await writer.append(source());
      await pause(FOLLOW_INTERVAL_MS);
    }
  };
  const following = follow().then(
    () => null,
    (error: unknown) => ({ error }),
  );
  return async () => {
    isOver = true;
    const failure = await following;
    if (failure !== null) throw failure.error;
    await writer.append(source());
  };
}

/** Sorts by time, and says what it is. */
export function directoryNameOf(facts: RunFacts): string {
  const faults = facts.nemeses.map(({ name }) => name).join('+') || 'none';
  const time = new Date(facts.startedAt).toISOString().slice(0, 19).replaceAll(':', '');
  const name = `${time}-${facts.workload}-${faults}-${facts.seed}`;
  return name.replaceAll(/[^\w+.-]/g, '_').slice(0, NAME_LENGTH_MAX);
}

async function makeDirectory(storeDirectory: string, name: string): Promise<string> {
  for (let attempt = 1; attempt <= NAME_ATTEMPT_COUNT_MAX; attempt++) {
    const directory = join(storeDirectory, attempt === 1 ? name : `${name}-${attempt}`);
    try {
      await mkdir(directory);
      return directory;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
    }
  }
  throw new Error(`${storeDirectory} has ${NAME_ATTEMPT_COUNT_MAX} runs named ${name}`);
}

/** A reader sees the whole file or none. */
export async function writeWhole(path: string, content: unknown): Promise<void> {
  const text = typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`;
  await writeFile(`${path}.part`, text);
  await rename(`${path}.part`, path);
}
