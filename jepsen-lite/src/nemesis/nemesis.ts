/**
 * Faults. An action reports whether it was installed, skipped, or nobody knows: a run in which
 * nothing was installed has shown nothing. Schedules are pure; performing and healing are not.
 *
 * Several nemeses may be active at one time as long as their families differ: those of one family
 * undo each other's harm.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import type { Cluster } from '../cluster/cluster.ts';
import type { NemesisNeeds } from './needs.ts';

export type FaultOutcome =
  | { readonly kind: 'installed'; readonly detail: string; readonly targets?: readonly string[] }
  | { readonly kind: 'skipped'; readonly detail: string }
  | {
      readonly kind: 'indeterminate';
      readonly detail: string;
      readonly targets?: readonly string[];
    };

export interface ScheduledFault {
  /** Since the start of the run. */
  readonly atMs: number;
  readonly action: string;
  /** Chance, drawn ahead of time; an action that chooses a victim uses it. */
  readonly pick: number;
}

export type NemesisFamily =
  | 'network'
  | 'process'
  | 'pause'
  | 'moment'
  | 'members'
  | 'disk'
  | 'clock'
  | 'files'
  | 'wipe'
  | 'power'
  | 'store'
  | 'hostile';

/** One per run: it remembers what it has harmed. */
export interface Nemesis {
  readonly name: string;
  readonly family: NemesisFamily;
  /** Of its bands in pictures, as CSS writes it. */
  readonly colour: string;
  /** What a cluster must be launched with; without it every action is skipped. */
  readonly needs: NemesisNeeds;
  /** Actions that do harm, to draw from. */
  readonly harmfulActions: readonly string[];
  /** The action that undoes all harm; also run when the run ends. */
  readonly healingAction: string;
  perform(action: string, pick: number, cluster: Cluster): Promise<FaultOutcome>;
}

export const skipped = (detail: string): FaultOutcome => ({ kind: 'skipped', detail });

export const installed = (detail: string, targets: readonly string[] = []): FaultOutcome => ({
  ...{ kind: 'installed', detail, targets },
});

export interface ScheduleOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** Between two actions. Harm and healing alternate. */
  readonly intervalMs: number;
}

/** Pure. Ends with healing if there was harm. */
export function scheduleFaults(
  nemesis: Pick<Nemesis, 'harmfulActions' | 'healingAction'>,
  options: ScheduleOptions,
): readonly ScheduledFault[] {
  const random = new SeededRandom(deriveSeed(options.seed, 'faults'));
  const faults: ScheduledFault[] = [];
  const { harmfulActions, healingAction } = nemesis;
  if (harmfulActions.length === 0) return faults;
  let isHarmed = false;
  for (let atMs = options.intervalMs; atMs < options.durationMs; atMs += options.intervalMs) {
    const harmful = harmfulActions[random.nextBelow(harmfulActions.length)] ?? healingAction;
    const action = isHarmed ? healingAction : harmful;
    faults.push({ atMs, action, pick: random.nextU32() });
    isHarmed = !isHarmed;
  }
  if (isHarmed) faults.push({ atMs: options.durationMs, action: healingAction, pick: 0 });
  return faults;
}
