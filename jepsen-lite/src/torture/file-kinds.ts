/**
 * The kinds of files in a data directory that a torture damages: how to know one by its path, how
 * often it is drawn, and what may be damaged at the same time.
 */
import type { DamageKind } from './plan.ts';

export type FileKind =
  | 'segment'
  | 'wal'
  | 'growing'
  | 'manifest'
  | 'meta'
  | 'root'
  | 'previousRoot'
  | 'identity'
  | 'epoch'
  | 'hardState'
  | 'graph';

export interface FileKindFacts {
  readonly kind: FileKind;
  /** Of the path in the data directory. */
  readonly pattern: RegExp;
  /** Share of the draws. */
  readonly weight: number;
  /**
   * The repair of one of these files replaces the others: those of a checkpoint, the two copies of
   * term and vote. Only one of them is damaged at a time in a node, or most would be gone before
   * anybody could look.
   */
  readonly replacedWith: 'checkpoint' | 'hardState' | null;
  /** True: there is an older or another content of the kind that is sound in itself. */
  readonly hasStaleContent: boolean;
}

const ofCheckpoint = { replacedWith: 'checkpoint', hasStaleContent: true } as const;
const onItsOwn = { replacedWith: null, hasStaleContent: true } as const;

export const FILE_KINDS: readonly FileKindFacts[] = [
  { kind: 'segment', pattern: /^collections\/.*\.seg$/, weight: 30, ...onItsOwn },
  { kind: 'wal', pattern: /^wal\/\d{16}\.wal$/, weight: 22, ...onItsOwn },
  { kind: 'growing', pattern: /^collections\/.*\.grow$/, weight: 8, ...ofCheckpoint },
  { kind: 'manifest', pattern: /^collections\/.*\.man$/, weight: 6, ...ofCheckpoint },
  { kind: 'meta', pattern: /^meta\/.*\.meta$/, weight: 6, ...ofCheckpoint },
  { kind: 'root', pattern: /^CHECKPOINT$/, weight: 6, ...ofCheckpoint },
  { kind: 'previousRoot', pattern: /^CHECKPOINT\.previous$/, weight: 4, ...ofCheckpoint },
  // Written once: there is no older one.
  {
    ...{ kind: 'identity', pattern: /^identity\.json$/, weight: 6 },
    ...{ replacedWith: null, hasStaleContent: false },
  },
  { kind: 'epoch', pattern: /^wal\/EPOCH$/, weight: 6, ...onItsOwn },
  {
    ...{ kind: 'hardState', pattern: /^wal\/TERM-[AB]$/, weight: 6 },
    ...{ replacedWith: 'hardState', hasStaleContent: true },
  },
  { kind: 'graph', pattern: /^collections\/.*\/graph-\d+\.(graph|json)$/, weight: 6, ...onItsOwn },
];

export const isWeighted = (facts: FileKindFacts, damage: DamageKind): boolean =>
  damage !== 'stale' || facts.hasStaleContent;

export function factsOf(kind: FileKind): FileKindFacts {
  const facts = FILE_KINDS.find((one) => one.kind === kind);
  if (facts === undefined) throw new TypeError(`no such kind of file: ${kind}`);
  return facts;
}

/** Null: not a file that a torture damages. */
export const kindOfPath = (path: string): FileKind | null =>
  FILE_KINDS.find(({ pattern }) => pattern.test(path))?.kind ?? null;
