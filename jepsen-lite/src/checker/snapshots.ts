/**
 * Reads of several points at one log index, against everything that is known of their writes.
 * Versions are log indexes, so each point of a read must be
 *
 * - not newer than the index that the read saw (`from the future`);
 * - one value per version, whoever sees it and whenever (`two values of one version`);
 * - at least as new as the newest version of it that is known up to that index, from
 *   acknowledgements and from every other read, on whatever node (`too old`).
 *
 * So all reads of all nodes agree on one order. A version that anybody saw binds everybody.
 */
import type { FinishedOperation } from '../history.ts';
import type { SeenPoint } from '../operation.ts';
import type { Problems } from './problems.ts';

export interface SnapshotRead {
  readonly finished: FinishedOperation;
  /** Names the group; points of different groups have nothing to do with each other. */
  readonly group: string;
  /** Points that were asked for. */
  readonly points: readonly number[];
  readonly seen: readonly SeenPoint[];
  readonly appliedIndex: number;
}

export interface KnownWrite {
  readonly finished: FinishedOperation;
  readonly group: string;
  readonly seen: SeenPoint;
}

interface KnownVersion {
  readonly version: number;
  readonly value: number;
  /** Who told it first. */
  readonly finished: FinishedOperation;
}

/** Points are only ever written, never deleted. */
export function checkSnapshots(
  problems: Problems,
  writes: readonly KnownWrite[],
  reads: readonly SnapshotRead[],
): void {
  const known = new Map<string, Map<number, KnownVersion>>();
  for (const write of writes) learn(problems, known, write);
  for (const { finished, group, seen } of reads) {
    for (const one of seen) learn(problems, known, { finished, group, seen: one });
  }
  const sorted = new Map<string, readonly KnownVersion[]>();
  for (const [name, versions] of known) {
    sorted.set(
      name,
      [...versions.values()].sort((left, right) => left.version - right.version),
    );
  }
  for (const read of reads) checkRead(problems, sorted, read);
}

function learn(
  problems: Problems,
  known: Map<string, Map<number, KnownVersion>>,
  { finished, group, seen: { point, version, value } }: KnownWrite,
): void {
  const name = nameOf(group, point);
  const versions = known.get(name) ?? new Map<number, KnownVersion>();
  known.set(name, versions);
  const before = versions.get(version);
  if (before === undefined) versions.set(version, { version, value, finished });
  else if (before.value !== value) {
    const facts = { group, point, version, values: [before.value, value] };
    problems.add('two values of one version', facts, [before.finished, finished]);
  }
}

function checkRead(
  problems: Problems,
  known: ReadonlyMap<string, readonly KnownVersion[]>,
  { finished, group, points, seen, appliedIndex }: SnapshotRead,
): void {
  const versions = new Map(seen.map(({ point, version }) => [point, version]));
  for (const point of points) {
    const version = versions.get(point) ?? 0;
    if (version > appliedIndex) {
      const facts = { group, point, version, appliedIndex };
      problems.add('from the future', facts, [finished]);
    }
    const newest = newestUpTo(known.get(nameOf(group, point)) ?? [], appliedIndex);
    if (newest === null || version >= newest.version) continue;
    const facts = { group, point, version, appliedIndex, known: newest.version };
    problems.add('too old', facts, [newest.finished, finished]);
  }
}

/** The last of the sorted versions that is not above `index`. */
export function newestUpTo<Version extends { readonly version: number }>(
  sorted: readonly Version[],
  index: number,
): Version | null {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]!.version <= index) low = middle + 1;
    else high = middle;
  }
  return sorted[low - 1] ?? null;
}

const nameOf = (group: string, point: number): string => `${group}/${point}`;
