/**
 * What the suites of backups have in common: settings without schedules, every kind of store in
 * turn, and the cluster that is lost and made anew from its store.
 */
import type { ProcessCluster, RebuildPhase } from '@holdfast/jepsen-lite';
import { expectEqualDigests, keepSecret, loseEverything, rebuild } from '@holdfast/jepsen-lite';
import type { BenchResult, Figure } from '../result.ts';
import { STORE_KINDS, type StoreKind, storeMissing, withStore } from './store-place.ts';

/** Backups are made when a suite asks for them, and at no other time. */
export const SCHEDULES_OFF = {
  backupFullSchedule: 'off',
  backupIncrementalSchedule: 'off',
  backupVerifySchedule: 'off',
};

const DIGEST_TIMEOUT_MS = 600_000;

/** `url` is of an empty store; a kind that is not here is a note. */
export async function measureEachStore<Taken>(
  measure: (kind: StoreKind, url: string) => Promise<Taken>,
  figuresOf: (kind: StoreKind, taken: Taken) => readonly Figure[],
): Promise<Pick<BenchResult, 'figures' | 'notes'> & { readonly raw: Record<string, Taken> }> {
  const figures: Figure[] = [];
  const notes: string[] = [];
  const raw: Record<string, Taken> = {};
  for (const kind of STORE_KINDS) {
    const missing = storeMissing(kind);
    if (missing !== null) {
      notes.push(missing);
      continue;
    }
    const taken = await withStore(kind, (url) => measure(kind, url));
    raw[kind] = taken;
    figures.push(...figuresOf(kind, taken));
  }
  return { figures, notes, raw };
}

export interface MadeAnew {
  /** The state is the one after this index of the old log. */
  readonly index: number;
  /** From the loss on to the end of each; `digests`: it serves, and its nodes agree. */
  readonly phasesMs: Readonly<Record<RebuildPhase | 'digests', number>>;
}

/** All nodes and disks are lost; the cluster serves, its nodes agreeing, when it resolves. */
export async function loseAndRebuild(
  cluster: ProcessCluster,
  store: string,
  onPhase: (phase: string, afterMs: number) => void = () => {},
): Promise<MadeAnew> {
  const secretPath = keepSecret(cluster);
  await loseEverything(cluster);
  const startMs = performance.now();
  const phasesMs = { planned: 0, laid: 0, started: 0, digests: 0 };
  const note = (phase: keyof typeof phasesMs): void => {
    phasesMs[phase] = performance.now() - startMs;
    onPhase(phase, phasesMs[phase]);
  };
  const { index } = await rebuild({ cluster, store, secretPath, onPhase: note });
  await expectEqualDigests(cluster, DIGEST_TIMEOUT_MS);
  note('digests');
  return { index, phasesMs };
}
