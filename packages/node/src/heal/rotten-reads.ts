/**
 * Rot of the running log that is met by reading it: for a peer that lags or mends its own log, for
 * the state machine, or for a lane that comes back. The file is looked at as the scrubber does and
 * handed to the RecoveryManager as its findings are; whoever needs the entry asks again later.
 *
 * One repair per entry is under way, however many ask for it.
 */
import type { HoldfastError, LogIndex } from '@holdfast/base';
import { HoldfastError as HoldfastFailure, logIndex, toHoldfastError } from '@holdfast/base';
import type { GroupLog } from '@holdfast/storage';
import { baseName, WAL_DIRECTORY_NAME, walFileNameOf } from '@holdfast/storage';
import { rottenIndexOf } from '../replica/log-store.ts';
import type { FileHealer } from './file-healer.ts';
import type { RecoveryManager } from './recovery-manager.ts';
import type { ScrubTarget } from './scrub-targets.ts';
import type { Scrubber } from './scrubber.ts';

/** A repair may lose the race with more rot in the same file; somebody else's may help as well. */
const MEND_COUNT_MAX = 3;

export interface RottenReadsParts {
  readonly log: Pick<GroupLog, 'entries' | 'lastIndex'>;
  readonly walFileIds: () => readonly number[];
  readonly scrubber: Pick<Scrubber, 'look'>;
  readonly healer: Pick<FileHealer, 'causeOf' | 'isSettled'>;
  readonly recoveries: Pick<RecoveryManager, 'submit' | 'isOpen' | 'onEvent'>;
}

export class RottenReads {
  readonly #parts: RottenReadsParts;
  readonly #mending = new Map<LogIndex, Promise<HoldfastError | null>>();
  readonly #waiting = new Map<string, (() => void)[]>();
  #isStopped = false;

  constructor(parts: RottenReadsParts) {
    this.#parts = parts;
    parts.recoveries.onEvent(({ key, kind }) => {
      if (kind === 'recovered' || kind === 'escalated') this.#onEnd(key);
    });
  }

  /**
   * Null: the entry can be read, or is no part of the log any more. Else why it cannot; with
   * SHUTTING_DOWN nobody has found out.
   */
  mend(index: LogIndex, rot: HoldfastError): Promise<HoldfastError | null> {
    const known = this.#mending.get(index);
    if (known !== undefined) return known;
    const mending = this.#mend(index, rot)
      .catch((thrown: unknown) => (this.#isStopped ? stopping() : toHoldfastError(thrown)))
      .finally(() => this.#mending.delete(index));
    this.#mending.set(index, mending);
    return mending;
  }

  /** Nothing is read any more when it resolves. Call it when nothing is repaired any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const key of this.#waiting.keys()) this.#onEnd(key);
    await Promise.all(this.#mending.values());
  }

  async #mend(index: LogIndex, first: HoldfastError): Promise<HoldfastError | null> {
    const { healer, recoveries, scrubber } = this.#parts;
    let rot = first;
    for (let count = 0; count < MEND_COUNT_MAX && !this.#isStopped; count++) {
      const target = this.#fileOf(rot);
      const found = target === null ? [] : await scrubber.look(target);
      const flaws = found.filter((flaw) => target !== null && !healer.isSettled(target, flaw));
      if (target !== null && flaws.length > 0 && !this.#isStopped) {
        recoveries.submit(healer.causeOf({ target, flaws }));
        if (recoveries.isOpen(target.path)) await this.#whenEnded(target.path);
      }
      const left = this.#rotOf(index);
      if (left === null) return null;
      rot = left;
    }
    return this.#isStopped ? stopping() : rot;
  }

  #fileOf(rot: HoldfastError): (ScrubTarget & { readonly kind: 'wal' }) | null {
    const name = baseName(String(rot.details.file));
    for (const fileId of this.#parts.walFileIds()) {
      const path = walFileNameOf(WAL_DIRECTORY_NAME, fileId);
      if (baseName(path) === name) return { kind: 'wal', path, fileId };
    }
    return null;
  }

  /** Null when it can be read, or need not be. */
  #rotOf(index: LogIndex): HoldfastError | null {
    const { log } = this.#parts;
    if (index > log.lastIndex()) return null;
    try {
      log.entries(index, logIndex(index + 1), 1);
      return null;
    } catch (thrown) {
      if (rottenIndexOf(thrown) === null) throw thrown;
      return toHoldfastError(thrown);
    }
  }

  #whenEnded(key: string): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(key) ?? [];
      waiting.push(resolve);
      this.#waiting.set(key, waiting);
    });
  }

  #onEnd(key: string): void {
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    for (const resolve of waiting) resolve();
  }
}

const stopping = (): HoldfastError =>
  new HoldfastFailure('SHUTTING_DOWN', 'this node stops; its log is looked at when it starts');
