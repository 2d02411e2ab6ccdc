/**
 * When which fault was in force: from the begin of an installed (or indeterminate) harm of a
 * nemesis until its next installed healing is done. Several may be in force at one time. Pure.
 */
import type { FaultEvent, HistoryEvent, Outcome } from '../history.ts';
import type { DrawnOperation } from './pair-operations.ts';

export interface FaultBand {
  readonly harm: FaultEvent;
  readonly fromMs: number;
  /** Null: it was never healed. */
  readonly toMs: number | null;
}

/** In the order of their begin. */
export function faultBandsOf(events: readonly HistoryEvent[]): readonly FaultBand[] {
  const bands: FaultBand[] = [];
  const openByNemesis = new Map<string, FaultEvent[]>();
  for (const event of events) {
    if (event.kind !== 'fault' || event.outcome === 'skipped') continue;
    const open = openByNemesis.get(event.nemesis) ?? [];
    if (!event.isHealing) {
      openByNemesis.set(event.nemesis, [...open, event]);
    } else if (event.outcome === 'installed') {
      for (const harm of open) bands.push({ harm, fromMs: harm.timeMs, toMs: event.doneMs });
      openByNemesis.delete(event.nemesis);
    }
  }
  for (const open of openByNemesis.values()) {
    for (const harm of open) bands.push({ harm, fromMs: harm.timeMs, toMs: null });
  }
  return bands.sort((left, right) => left.fromMs - right.fromMs);
}

export function skippedFaultsOf(events: readonly HistoryEvent[]): readonly FaultEvent[] {
  return events.filter(
    (event): event is FaultEvent => event.kind === 'fault' && event.outcome === 'skipped',
  );
}

export type OutcomeCounts = Readonly<Record<Outcome, number>>;

/** How the operations ended that ended in each band, in the order of the bands. */
export function countsInBands(
  bands: readonly FaultBand[],
  operations: readonly DrawnOperation[],
): readonly OutcomeCounts[] {
  const endsMs: Readonly<Record<Outcome, number[]>> = { ok: [], fail: [], info: [] };
  for (const { endMs, outcome } of operations) if (endMs !== null) endsMs[outcome].push(endMs);
  for (const list of Object.values(endsMs)) list.sort((left, right) => left - right);
  return bands.map(({ fromMs, toMs }) => {
    const countOf = (outcome: Outcome): number =>
      countBelow(endsMs[outcome], toMs ?? Infinity) - countBelow(endsMs[outcome], fromMs);
    return { ok: countOf('ok'), fail: countOf('fail'), info: countOf('info') };
  });
}

/** How many of the sorted `values` are less than `limit`. */
function countBelow(values: readonly number[], limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? Infinity) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
