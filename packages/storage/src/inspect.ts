/** Prints what a log file holds, for people: also of a damaged file, as far as it can be read. */
import { decodeEntry } from '@holdfast/base';
import { toHex } from './checksum.ts';
import type { FileSystem } from './fs.ts';
import { baseName, readWholeFile } from './fs.ts';
import type { ParsedBatch } from './wal/batch-reader.ts';
import { findBatch, isZero } from './wal/batch-reader.ts';
import {
  checksumMask,
  decodeFileHeader,
  describeBatch,
  FIRST_BATCH_OFFSET,
  parseWalFileName,
} from './wal/format.ts';
import type { WalRecord } from './wal/record.ts';
import { decodeGroupSummary, decodeHardState, decodeSnapshot } from './wal/record-payload.ts';
import type { SalvageItem } from './wal/salvage.ts';

/** One line of the listing; `fields` is JSON-compatible. */
export interface WalFileLine {
  readonly offset: number;
  readonly kind: 'file' | 'batch' | 'record' | 'damage' | 'end';
  readonly what: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Header, batches and records of one file in order; damage is a line, and the listing goes on at
 * the next batch that can be read.
 * @throws HoldfastError FORMAT_UNKNOWN, FILE_IO
 */
export function* describeWalFile(fileSystem: FileSystem, path: string): Generator<WalFileLine> {
  const fileId = parseWalFileName(baseName(path));
  if (fileId === null) {
    yield { offset: 0, kind: 'damage', what: 'the name is not that of a log file', fields: {} };
    return;
  }
  const bytes = readWholeFile(fileSystem, path);
  const header = decodeFileHeader(bytes, fileId, path);
  if (header === null) {
    yield { offset: 0, kind: 'damage', what: 'file header is damaged', fields: {} };
  } else {
    const watermark = describeBatch(header.watermark);
    const fields = { fileId, epoch: header.epoch, watermark, sizeBytes: bytes.byteLength };
    yield { offset: 0, kind: 'file', what: 'log file', fields };
  }
  yield* describeBatches(bytes, fileId);
}

function* describeBatches(bytes: Uint8Array, fileId: number): Generator<WalFileLine> {
  const mask = checksumMask(fileId);
  let offset = FIRST_BATCH_OFFSET;
  for (;;) {
    const batch = findBatch(bytes, fileId, offset, mask);
    const end = batch?.offset ?? bytes.byteLength;
    if (!isZero(bytes, offset, end)) {
      const what = 'bytes that belong to no batch';
      yield { offset, kind: 'damage', what, fields: { sizeBytes: end - offset } };
    }
    if (batch === null) break;
    yield* describeBatchLines(batch);
    offset = batch.offset + batch.sizeBytes;
  }
  const isClean = isZero(bytes, offset, bytes.byteLength);
  const what = isClean ? 'zeros to the end of the file' : 'no further batch';
  yield { offset, kind: 'end', what, fields: {} };
}

function* describeBatchLines({
  header,
  offset,
  confirmation,
  content,
}: ParsedBatch): Generator<WalFileLine> {
  yield {
    offset,
    kind: 'batch',
    what: `batch ${describeBatch(header.batch)}`,
    fields: {
      watermark: describeBatch(header.watermark),
      records: header.recordCount,
      confirmationSizeBytes: header.confirmationSizeBytes,
      payloadSizeBytes: header.payloadSizeBytes,
      confirms: confirmation?.groups.map(({ group, changedFrom, summary }) => {
        const { lastIndex, lastTerm, hardState } = summary;
        return { group, changedFrom, lastIndex, lastTerm, hardState };
      }),
    },
  };
  if (confirmation === null) {
    yield { offset, kind: 'damage', what: 'confirmation fails its checksum', fields: {} };
  }
  if (content.kind === 'whole') {
    for (const record of content.records) yield describeRecord(record);
    return;
  }
  for (const item of content.items) {
    if (item.kind === 'record') yield describeRecord(item.record);
    else yield describeLost(item);
  }
  if (content.items.every(({ kind }) => kind === 'record')) {
    yield { offset: content.offset, kind: 'damage', what: content.what, fields: {} };
  }
}

function describeLost(item: Exclude<SalvageItem, { kind: 'record' }>): WalFileLine {
  const { offset, what } = item;
  if (item.kind === 'gap')
    return { offset, kind: 'damage', what, fields: { lost: item.lostCount } };
  const { type, group, index, term } = item.name;
  return { offset, kind: 'damage', what, fields: { type, group, index, term } };
}

function describeRecord(record: WalRecord): WalFileLine {
  const { type, group, index, term, offset } = record;
  const line = (fields: Readonly<Record<string, unknown>>): WalFileLine => ({
    offset,
    kind: 'record',
    what: type,
    fields: { group, ...fields },
  });
  const base = { index, term, sum: record.sum };
  const printedBase = { index, term, sum: toHex(record.sum) };
  switch (type) {
    case 'hardState':
      return line({ ...decodeHardState(record.payload) });
    case 'truncate':
      return line({ from: index });
    case 'entry':
    case 'repair': {
      const { entry } = decodeEntry(record.payload, 0);
      const dataSizeBytes = entry.data.byteLength;
      return line({ ...printedBase, entryType: entry.type, dataSizeBytes });
    }
    case 'snapshot': {
      const { conf, confIndex, id } = decodeSnapshot(base, record.payload);
      return line({ ...printedBase, conf, confIndex, id });
    }
    case 'base':
      return line(printedBase);
    case 'fileState': {
      const { hardState, lastIndex } = decodeGroupSummary(record.payload);
      return line({ base: printedBase, hardState, lastIndex });
    }
  }
}
