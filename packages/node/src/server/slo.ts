/**
 * Which recovery tiers are met right now, from what the leader knows: how the data is replicated,
 * how far the archive is, how old the newest backup is, and how long the last restore took that was
 * tried. Pure. What is not known is not met, and the reason says what is missing.
 */
import type { NodeBackupStatus } from '../backup/backup-api.ts';
import type { NodeStatus } from '../service-api.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export interface SloTier {
  readonly name: 'T1' | 'T2' | 'T3' | 'T4';
  /** What a lost site may cost. */
  readonly rpoMsMax: number;
  readonly rtoMsMax: number;
  /** A write is acknowledged by a majority before its client hears of it. */
  readonly isSynchronous: boolean;
}

export const SLO_TIERS: readonly SloTier[] = [
  { name: 'T1', rpoMsMax: MINUTE_MS, rtoMsMax: 5 * MINUTE_MS, isSynchronous: true },
  { name: 'T2', rpoMsMax: 15 * MINUTE_MS, rtoMsMax: 30 * MINUTE_MS, isSynchronous: false },
  { name: 'T3', rpoMsMax: HOUR_MS, rtoMsMax: 2 * HOUR_MS, isSynchronous: false },
  { name: 'T4', rpoMsMax: 24 * HOUR_MS, rtoMsMax: 8 * HOUR_MS, isSynchronous: false },
];

export interface SloFacts {
  /** Other replicas that the leader hears from. */
  readonly activePeerCount: number;
  readonly peerCount: number;
  /** Of the best store; null: nothing is archived now. */
  readonly archiveLagMs: number | null;
  /** Of the best store; null: there is none, or it is not known. */
  readonly backupAgeMs: number | null;
  /** Of the newest restore test that went well; null: none did. */
  readonly restoreMs: number | null;
}

export interface TierReport extends SloTier {
  readonly isMet: boolean;
  /** What speaks against it; empty when it is met. */
  readonly missing: readonly string[];
}

export interface SloReport extends SloFacts {
  /** What the loss of the site would cost now; null: everything. */
  readonly rpoMs: number | null;
  readonly rtoMs: number | null;
  readonly tiers: readonly TierReport[];
  /** The best that is met; null: none. */
  readonly metTier: SloTier['name'] | null;
}

/** States in which the lag of the archive is known. */
const ARCHIVING: readonly string[] = ['archiving', 'waiting', 'backingOff'];

export function sloFactsOf(
  { peers }: Pick<NodeStatus, 'peers'>,
  backup: Pick<NodeBackupStatus, 'archive' | 'newestMs' | 'restoreTests'> | null,
  nowMs: number,
): SloFacts {
  const { archive = [], newestMs = {}, restoreTests = [] } = backup ?? {};
  const lags = archive.filter(({ state }) => ARCHIVING.includes(state)).map(({ lagMs }) => lagMs);
  const ages = Object.values(newestMs)
    .filter((timeMs) => timeMs !== null)
    .map((timeMs) => Math.max(0, nowMs - timeMs));
  const restores = restoreTests
    .filter(({ failure }) => failure === null)
    .map(({ durationMs }) => durationMs);
  return {
    activePeerCount: peers.filter(({ isRecentlyActive }) => isRecentlyActive).length,
    peerCount: peers.length,
    archiveLagMs: smallest(lags),
    backupAgeMs: smallest(ages),
    restoreMs: smallest(restores),
  };
}

export function sloReport(facts: SloFacts): SloReport {
  const { archiveLagMs, backupAgeMs, restoreMs } = facts;
  // Without a backup to begin with the archive brings nothing back.
  const rpoMs = backupAgeMs === null ? null : Math.min(backupAgeMs, archiveLagMs ?? backupAgeMs);
  const tiers = SLO_TIERS.map((tier): TierReport => {
    const missing = missingFor(tier, facts, rpoMs);
    return { ...tier, isMet: missing.length === 0, missing };
  });
  const metTier = tiers.find(({ isMet }) => isMet)?.name ?? null;
  return { ...facts, rpoMs, rtoMs: restoreMs, tiers, metTier };
}

function missingFor(tier: SloTier, facts: SloFacts, rpoMs: number | null): readonly string[] {
  const { activePeerCount, peerCount, restoreMs } = facts;
  const missing: string[] = [];
  if (tier.isSynchronous && (peerCount < 2 || activePeerCount < peerCount)) {
    missing.push(`${activePeerCount} of ${peerCount} other replicas answer: three nodes, all up`);
  }
  if (rpoMs === null) missing.push('no backup is known: holdfast backup create --full');
  else if (rpoMs >= tier.rpoMsMax) {
    missing.push(`the newest that left this site is ${seconds(rpoMs)} s old: see backup status`);
  }
  if (restoreMs === null) {
    missing.push('no restore was tried with success: holdfast backup verify --restore');
  } else if (restoreMs >= tier.rtoMsMax) {
    missing.push(`the last restore that was tried took ${seconds(restoreMs)} s`);
  }
  return missing;
}

const seconds = (durationMs: number): number => Math.round(durationMs / 1_000);

const smallest = (values: readonly number[]): number | null =>
  values.length === 0 ? null : Math.min(...values);
