/** Counts of what was found, tried and recovered, with the targets of each priority. */
import type { RecoveryPriority } from './recovery-manager.ts';

/** From finding to recovered: 30 s, 2 min, 5 min, 1 h. */
export const RECOVERY_TARGETS_MS: readonly [number, number, number, number] = [
  30_000, 120_000, 300_000, 3_600_000,
];

export interface ActionStats {
  readonly name: string;
  readonly attempts: number;
  readonly successes: number;
  readonly durationMsTotal: number;
}

export interface CauseStats {
  readonly type: string;
  readonly found: number;
  readonly recovered: number;
  readonly escalated: number;
}

export interface RecoveryStats {
  readonly totalFailuresDetected: number;
  readonly successfulRecoveries: number;
  readonly escalated: number;
  /** Open for longer than the target of their priority, whatever became of them. */
  readonly overdue: number;
  /** 0 before the first. */
  readonly avgRtoSeconds: number;
  /** Share of recoveries within the target of their priority; 1 before the first. */
  readonly rtoComplianceRate: number;
  /** Share of what ended that ended recovered; 1 before the first. */
  readonly successRate: number;
  readonly actions: readonly ActionStats[];
  readonly causes: readonly CauseStats[];
  readonly waiting: number;
  readonly running: number;
  readonly parked: number;
}

/** Fewer attempts say nothing about an action. */
const ATTEMPTS_THAT_COUNT_MIN = 3;
/** Of an action that nothing is known about. */
const UNKNOWN_RATE = 0.5;

interface Mutable<Stats> {
  readonly [name: string]: { -readonly [Key in keyof Stats]: Stats[Key] };
}

export class RecoveryLedger {
  readonly #actions = new Map<string, Mutable<ActionStats>[string]>();
  /** By type of cause and name of action: both are few and fixed. */
  readonly #outcomes = new Map<string, { attempts: number; successes: number }>();
  readonly #causes = new Map<string, Mutable<CauseStats>[string]>();
  #recovered = 0;
  #withinTarget = 0;
  #tookMsTotal = 0;
  #escalated = 0;
  #overdue = 0;

  found(type: string): void {
    this.#cause(type).found += 1;
  }

  tried(type: string, name: string, isHelped: boolean, durationMs: number): void {
    const key = `${type} ${name}`;
    const outcomes = this.#outcomes.get(key) ?? { attempts: 0, successes: 0 };
    this.#outcomes.set(key, outcomes);
    outcomes.attempts += 1;
    outcomes.successes += isHelped ? 1 : 0;
    let action = this.#actions.get(name);
    if (action === undefined) {
      action = { name, attempts: 0, successes: 0, durationMsTotal: 0 };
      this.#actions.set(name, action);
    }
    action.attempts += 1;
    action.successes += isHelped ? 1 : 0;
    action.durationMsTotal += durationMs;
  }

  /** How often the action has helped against causes of this type since the process started. */
  successRateOf(type: string, name: string): number {
    const { attempts = 0, successes = 0 } = this.#outcomes.get(`${type} ${name}`) ?? {};
    return attempts < ATTEMPTS_THAT_COUNT_MIN ? UNKNOWN_RATE : successes / attempts;
  }

  recovered(type: string, priority: RecoveryPriority, tookMs: number): void {
    this.#cause(type).recovered += 1;
    this.#recovered += 1;
    this.#tookMsTotal += tookMs;
    if (tookMs <= RECOVERY_TARGETS_MS[priority]) this.#withinTarget += 1;
  }

  /** Given up. */
  given(type: string): void {
    this.#cause(type).escalated += 1;
    this.#escalated += 1;
  }

  overdue(): void {
    this.#overdue += 1;
  }

  stats(now: { waiting: number; running: number; parked: number }): RecoveryStats {
    const causes = [...this.#causes.values()].map((cause) => ({ ...cause }));
    const recovered = this.#recovered;
    const ended = recovered + this.#escalated;
    return {
      totalFailuresDetected: causes.reduce((sum, { found }) => sum + found, 0),
      successfulRecoveries: recovered,
      escalated: this.#escalated,
      overdue: this.#overdue,
      avgRtoSeconds: recovered === 0 ? 0 : this.#tookMsTotal / recovered / 1_000,
      rtoComplianceRate: recovered === 0 ? 1 : this.#withinTarget / recovered,
      successRate: ended === 0 ? 1 : recovered / ended,
      actions: [...this.#actions.values()].map((action) => ({ ...action })),
      causes,
      ...now,
    };
  }

  #cause(type: string): Mutable<CauseStats>[string] {
    let cause = this.#causes.get(type);
    if (cause === undefined) {
      cause = { type, found: 0, recovered: 0, escalated: 0 };
      this.#causes.set(type, cause);
    }
    return cause;
  }
}
