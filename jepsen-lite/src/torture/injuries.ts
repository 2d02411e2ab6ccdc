/**
 * What became of each damage, judged by what the product says of itself. Pure: events in, outcomes
 * out. One event answers for at most one damage: there is never more than one open in a file.
 */
import type { NodeName } from '../cluster/cluster.ts';
import type { Span } from './damages.ts';
import type { FileKind } from './file-kinds.ts';
import type { DamageKind } from './plan.ts';

export interface ProductEvent {
  readonly number: number;
  readonly wallMs: number;
  readonly kind: string;
  readonly key: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/**
 * `open`: nobody has said a word; `detected`: repair is under way; `deletedFirst`: the product let
 * go of the file before anybody looked; `missed` and `unrepaired`: the time for it is over.
 */
export type InjuryState =
  | 'open'
  | 'detected'
  | 'repaired'
  | 'deletedFirst'
  | 'missed'
  | 'unrepaired';

export interface Injury {
  readonly number: number;
  readonly damage: DamageKind;
  readonly nodeName: NodeName;
  readonly path: string;
  readonly fileKind: FileKind;
  readonly inode: number;
  readonly spans: readonly Span[];
  readonly injectedAtMs: number;
  /** Events up to this number are about something else. */
  readonly eventNumber: number;
  readonly state: InjuryState;
  readonly detectedAtMs: number | null;
  readonly repairedAtMs: number | null;
  /** What the product said: of the finding, the repair, or why it failed. */
  readonly said: readonly string[];
}

/** Of a block with its checksum, whichever that is. */
const BLOCK_SIZE_BYTES_MAX = 65_536 + 32;
/** No batch of the log in a torture is longer. */
const BATCH_SIZE_BYTES_MAX = 256 * 1024;
const BLOCK_FILE_KINDS: readonly FileKind[] = ['segment', 'growing', 'manifest', 'meta'];
const SAID_COUNT_MAX = 12;

/** The injury after the event; the same object when the event is not about it. */
export function withEvent(injury: Injury, event: ProductEvent): Injury {
  if (event.number <= injury.eventNumber || !isAbout(injury, event.key)) return injury;
  const said = [...injury.said, sayingOf(event)].slice(-SAID_COUNT_MAX);
  if (injury.state === 'open') {
    if (event.kind !== 'found' || !isNamed(injury, offsetIn(event))) return { ...injury, said };
    return { ...injury, said, state: 'detected', detectedAtMs: event.wallMs };
  }
  if (injury.state !== 'detected') return injury;
  if (event.kind !== 'recovered') return { ...injury, said };
  return { ...injury, said, state: 'repaired', repairedAtMs: event.wallMs };
}

/** Two sound files that do not fit together do not say which is old: then the pair is named. */
function isAbout({ damage, fileKind, path }: Injury, key: string): boolean {
  if (key === path) return true;
  if (damage !== 'stale') return false;
  if (fileKind === 'hardState') return /^wal\/TERM-[AB]$/.test(key);
  return fileKind === 'graph' && stemOf(key) === stemOf(path);
}

/** The same for a saved graph and its sidecar. */
const stemOf = (path: string): string => path.replace(/\.(graph|json)$/, '');

/** Whether the offset is that of a block or record with one of the wrong bytes. */
function isNamed({ damage, fileKind, spans }: Injury, offset: number): boolean {
  // The whole file is another one, or small enough to be read as one piece.
  if (damage === 'delete' || damage === 'stale' || damage === 'truncate') return true;
  if (fileKind === 'wal') return spans.some((span) => isWithin(span, offset, BATCH_SIZE_BYTES_MAX));
  if (!BLOCK_FILE_KINDS.includes(fileKind)) return true;
  return spans.some((span) => isWithin(span, offset, BLOCK_SIZE_BYTES_MAX));
}

const isWithin = ({ from, to }: Span, offset: number, sizeBytesMax: number): boolean =>
  offset < to && from < offset + sizeBytesMax;

function offsetIn({ facts }: ProductEvent): number {
  const { offset, what } = facts;
  if (typeof offset === 'number') return offset;
  const digits = typeof what === 'string' ? /\(offset (\d+)\)/.exec(what)?.[1] : undefined;
  return digits === undefined ? -1 : Number(digits);
}

function sayingOf({ facts, kind }: ProductEvent): string {
  const words = Object.entries(facts).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${kind} ${words.join(' ')}`.slice(0, 400);
}

export const isOpen = ({ state }: Injury): boolean => state === 'open' || state === 'detected';
