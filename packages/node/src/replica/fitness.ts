/**
 * Reasons why this replica should not lead for now: a lane that is away, a log that finds no room,
 * a disk that is slower than those of the others.
 * While there are any, the leadership is given away whenever this replica has it and somebody else
 * can take it. It goes on voting and following.
 */
import type { Logger } from '@holdfast/base';

/** Between two attempts: one that fails takes an election timeout. */
const ATTEMPT_INTERVAL_MS = 1_000;

export interface FitnessParts {
  readonly isLeader: () => boolean;
  readonly handOver: () => Promise<void>;
  readonly logger: Logger;
}

export class Fitness {
  readonly #parts: FitnessParts;
  readonly #reasons = new Set<string>();
  readonly #listeners: ((reasons: readonly string[]) => void)[] = [];
  #nextAttemptMs = 0;
  #isHandingOver = false;
  #told = '';

  constructor(parts: FitnessParts) {
    this.#parts = parts;
  }

  get reasons(): readonly string[] {
    return [...this.#reasons];
  }

  /** `reason` holds from now on, or does not any more. */
  set(reason: string, isUnfit: boolean): void {
    if (isUnfit === this.#reasons.has(reason)) return;
    if (isUnfit) this.#reasons.add(reason);
    else this.#reasons.delete(reason);
    this.#nextAttemptMs = 0;
  }

  /** Told why this replica leads and should not; with nothing, when that is over. */
  onChange(listener: (reasons: readonly string[]) => void): void {
    this.#listeners.push(listener);
  }

  onTick(nowMs: number): void {
    this.#tell();
    if (this.#reasons.size === 0 || nowMs < this.#nextAttemptMs || this.#isHandingOver) return;
    if (!this.#parts.isLeader()) return;
    this.#nextAttemptMs = nowMs + ATTEMPT_INTERVAL_MS;
    this.#isHandingOver = true;
    this.#parts.logger.warn({ reasons: this.reasons }, 'this node should not lead: handing over');
    this.#parts
      .handOver()
      // It is tried again: nobody may be able to take over yet.
      .catch(() => undefined)
      .finally(() => {
        this.#isHandingOver = false;
      });
  }

  #tell(): void {
    const reasons = this.#parts.isLeader() ? this.reasons : [];
    const told = reasons.join();
    if (told === this.#told) return;
    this.#told = told;
    for (const listener of this.#listeners) listener(reasons);
  }
}
