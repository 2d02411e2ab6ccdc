/**
 * What pages, metrics and the command line see of the care of a node for its disk, and what of it
 * they may change. Only types: neither side imports the other's files.
 */
import type { WalWrites } from '@holdfast/storage';
import type { OpenOperation } from '../replica/proposals.ts';
import type { RecoveryEvent } from './recovery-events.ts';
import type { RecoveryCause } from './recovery-manager.ts';
import type { RecoveryStats } from './recovery-stats.ts';
import type { ScrubReport, ScrubTotals } from './scrub-report.ts';
import type { WorkerReport } from './workers.ts';

export interface CareSettings {
  /** 0: only when asked for. */
  readonly scrubIntervalMs: number;
  /** Millions of bytes per second; 0: no limit. */
  readonly scrubThrottleMbps: number;
  readonly isAutoRecoveryEnabled: boolean;
  readonly recoveryConcurrencyMax: number;
  readonly repairRetryCountMax: number;
}

export interface CareStatus {
  readonly isScrubbing: boolean;
  readonly settings: CareSettings;
  /** Of the newest pass that ended; null before the first one. */
  readonly newest: ScrubReport | null;
  readonly totals: ScrubTotals;
  readonly recoveries: RecoveryStats;
  /** What no action has helped: a person must look. */
  readonly unrecovered: readonly string[];
}

/** `wal`: of the log. */
export type BreakerName = 'wal';

export interface BreakerStatus extends WalWrites {
  readonly name: BreakerName;
}

export interface CareService {
  status(): CareStatus;
  /** The newest last; from `sinceNumber` on, which is not among them. */
  events(sinceNumber: number): readonly RecoveryEvent[];
  /** Looks at every file now, or joins the pass under way; the report lists every file. */
  check(): Promise<ScrubReport>;
  /** Every worker of this node, looked at now. */
  workers(): readonly WorkerReport[];
  /** Of what keeps work away from a disk that refuses it. */
  breakers(): readonly BreakerStatus[];
  /**
   * Asks whether what opened a breaker is gone: what was refused is tried now, once, as the probe
   * that would come later anyway. That alone closes it. Answers how it stood before.
   */
  probeBreaker(name: BreakerName): BreakerStatus;
  /** Writes under way on this node as leader: how many, and the oldest of them. */
  operations(): { readonly count: number; readonly oldest: readonly OpenOperation[] };
  /** Another part of the node has found a cause. */
  recover(cause: RecoveryCause): void;
  /** Takes effect at once, and lasts until the process ends. */
  configure(settings: Partial<CareSettings>): void;
}
