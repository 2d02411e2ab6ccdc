/**
 * Decides, per file operation, what goes wrong. Deterministic: by operation number, by rule, or by
 * seed. The file system asks before every operation; only mutating ones are counted.
 */
import type { Random } from '@holdfast/base';

export type FileOperation =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'rename'
  | 'remove'
  | 'link'
  | 'makeDirectory'
  | 'syncDirectory';

/** Thrown in place of an operation: the machine stopped before it. Not an Error of the product. */
export class CrashSignal extends Error {
  override readonly name = 'CrashSignal';
}

export interface FaultRule {
  readonly operation: FileOperation;
  /** Only paths that contain this text. */
  readonly pathContains?: string;
  /** Matching operations to let pass first. */
  readonly skip?: number;
  /** How often it strikes after that; default 1. */
  readonly times?: number;
  /**
   * `EIO`, `ENOSPC`, `EDQUOT`: the operation fails; a failed sync drops the dirty state without
   * writing it, as Linux does. `lie`: a sync returns and does nothing. `flipBit`: a read returns
   * one wrong bit. `crash`: the machine stops. `stall`: the operation is done, `stallMs` later: see
   * takeStallMs.
   */
  readonly fault: 'EIO' | 'ENOSPC' | 'EDQUOT' | 'lie' | 'flipBit' | 'crash' | 'stall';
  readonly stallMs?: number;
}

/** Chance per operation, drawn from `random`. */
export interface RandomFaults {
  readonly random: Random;
  readonly writeErrorRate?: number;
  readonly syncErrorRate?: number;
  readonly syncLieRate?: number;
  readonly readFlipRate?: number;
  readonly syncStallRate?: number;
  /** A stall lasts up to this long. */
  readonly stallMsMax?: number;
}

interface LiveRule {
  readonly rule: FaultRule;
  skip: number;
  times: number;
}

export class FaultPlan {
  #operationCount = 0;
  #crashAt = Number.POSITIVE_INFINITY;
  #hasCrashed = false;
  #rules: LiveRule[] = [];
  #randomFaults: RandomFaults | null = null;
  #stallMs = 0;

  /** Mutating operations so far, the failed ones included. */
  get operationCount(): number {
    return this.#operationCount;
  }

  /** True from a crash until the file system's `crash` or `crashProcess` was called. */
  get hasCrashed(): boolean {
    return this.#hasCrashed;
  }

  /** The operation with this number (counted from 1 since the last crash) does not happen. */
  crashAtOperation(operationNumber: number): void {
    this.#crashAt = operationNumber;
  }

  /** Returns what takes the rule away again. */
  add(rule: FaultRule): () => void {
    const live = { rule, skip: rule.skip ?? 0, times: rule.times ?? 1 };
    this.#rules.push(live);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== live);
    };
  }

  setRandomFaults(faults: RandomFaults | null): void {
    this.#randomFaults = faults;
  }

  /**
   * Time that operations have taken since this was last asked. The file system is synchronous, so
   * its host lets this much virtual time pass before it tells of what was done.
   */
  takeStallMs(): number {
    const stallMs = this.#stallMs;
    this.#stallMs = 0;
    return stallMs;
  }

  /** Forgets all rules and the planned crash; the count starts again at 0. */
  reset(): void {
    this.#operationCount = 0;
    this.#crashAt = Number.POSITIVE_INFINITY;
    this.#hasCrashed = false;
    this.#rules = [];
    this.#randomFaults = null;
    this.#stallMs = 0;
  }

  /** @throws CrashSignal at the planned operation and at every one after it */
  next(operation: FileOperation, path: string): FaultRule['fault'] | null {
    if (this.#hasCrashed) throw new CrashSignal(`${operation} of ${path} after the crash`);
    if (operation !== 'read') {
      this.#operationCount += 1;
      if (this.#operationCount >= this.#crashAt) this.#crash(operation, path);
    }
    const fault = this.#strike(operation, path) ?? this.#draw(operation);
    if (fault === 'crash') this.#crash(operation, path);
    return fault;
  }

  #crash(operation: FileOperation, path: string): never {
    this.#hasCrashed = true;
    throw new CrashSignal(`crash before operation ${this.#operationCount}: ${operation} ${path}`);
  }

  #strike(operation: FileOperation, path: string): FaultRule['fault'] | null {
    for (const live of this.#rules) {
      const { rule } = live;
      if (rule.operation !== operation || live.times === 0) continue;
      if (rule.pathContains !== undefined && !path.includes(rule.pathContains)) continue;
      if (live.skip > 0) {
        live.skip -= 1;
        continue;
      }
      live.times -= 1;
      if (rule.fault !== 'stall') return rule.fault;
      this.#stallMs += rule.stallMs ?? 0;
    }
    return null;
  }

  #draw(operation: FileOperation): FaultRule['fault'] | null {
    const faults = this.#randomFaults;
    if (faults === null) return null;
    const isHit = (rate: number | undefined): boolean =>
      rate !== undefined && faults.random.nextFloat() < rate;
    if (operation === 'write' && isHit(faults.writeErrorRate)) return 'EIO';
    if (operation === 'sync' && isHit(faults.syncStallRate)) {
      this.#stallMs += faults.random.nextFloat() * (faults.stallMsMax ?? 0);
    }
    if (operation === 'sync' && isHit(faults.syncErrorRate)) return 'EIO';
    if (operation === 'sync' && isHit(faults.syncLieRate)) return 'lie';
    if (operation === 'read' && isHit(faults.readFlipRate)) return 'flipBit';
    return null;
  }
}
