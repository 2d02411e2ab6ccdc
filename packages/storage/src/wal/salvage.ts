/**
 * What can still be read where the log is damaged: whole records, names of records whose payload
 * is bad, and gaps between them. Nothing is guessed: a gap may hide records of any group and type.
 */
import type { BatchHeader } from './format.ts';
import { payloadStart } from './format.ts';
import type { RecordName, WalRecord } from './record.ts';
import { findRecord, readRecord } from './record.ts';

export type SalvageItem =
  | { readonly kind: 'record'; readonly record: WalRecord }
  /** The header is good, the payload is not: what was lost is known by name. */
  | {
      readonly kind: 'named';
      readonly name: RecordName;
      readonly offset: number;
      readonly what: string;
    }
  | {
      readonly kind: 'gap';
      readonly offset: number;
      readonly what: string;
      /** How many records it hides, when that is known. */
      readonly lostCount: number | null;
    };

export interface Salvage {
  readonly items: readonly SalvageItem[];
  /** A verified record of a type that this program does not know. */
  readonly unknownTypeAt: number | null;
}

/** The payload of a batch whose header verifies; `bytes` starts at `fileOffset` of its file. */
export function salvageBatch(
  bytes: Uint8Array,
  header: BatchHeader,
  offset: number,
  mask: number,
  fileOffset: number,
): Salvage {
  const start = payloadStart(header, offset);
  const end = Math.min(bytes.byteLength, start + header.payloadSizeBytes);
  const { items, unknownTypeAt } = salvage(bytes, start, end, mask, fileOffset);
  const found = items.filter((item) => item.kind !== 'gap').length;
  const gaps = items.length - found;
  const lostCount = Math.max(0, header.recordCount - found);
  if (gaps === 0 && lostCount > 0) {
    // The file was cut between two of its records, or before the first.
    const gap = { kind: 'gap', offset: fileOffset + end, what: 'the batch is cut off' } as const;
    return { items: [...items, { ...gap, lostCount }], unknownTypeAt };
  }
  if (gaps !== 1) return { items, unknownTypeAt };
  const counted = items.map((item) => (item.kind === 'gap' ? { ...item, lostCount } : item));
  return { items: counted, unknownTypeAt };
}

/** A region without a valid batch header: batches were there, where exactly is not known. */
export function salvageRegion(
  bytes: Uint8Array,
  from: number,
  to: number,
  mask: number,
  what: string,
): Salvage {
  const { items, unknownTypeAt } = salvage(bytes, from, to, mask, 0);
  const gap: SalvageItem = { kind: 'gap', offset: from, what, lostCount: null };
  const isOpenEnded = items.at(-1)?.kind !== 'gap';
  return { items: [gap, ...items, ...(isOpenEnded ? [gap] : [])], unknownTypeAt };
}

function salvage(
  bytes: Uint8Array,
  start: number,
  end: number,
  mask: number,
  fileOffset: number,
): Salvage {
  const items: SalvageItem[] = [];
  let unknownTypeAt: number | null = null;
  let at = start;
  while (at < end) {
    const outcome = readRecord(bytes, at, end, mask, fileOffset);
    if (outcome.kind === 'record') {
      items.push(outcome);
      at += outcome.record.sizeBytes;
      continue;
    }
    if (outcome.kind === 'unknownType') {
      unknownTypeAt ??= fileOffset + at;
    } else if (outcome.name !== null) {
      const { name, offset, what } = outcome;
      items.push({ kind: 'named', name, offset, what });
      at += outcome.sizeBytes;
      continue;
    }
    const what = outcome.kind === 'damaged' ? outcome.what : 'record type is unknown';
    items.push({ kind: 'gap', offset: fileOffset + at, what, lostCount: null });
    at = findRecord(bytes, at + 1, end, mask, fileOffset) ?? end;
  }
  return { items, unknownTypeAt };
}
