/** Prints what a log file holds, for people: also of a damaged file, as far as it can be read. */
import { decodeEntry } from '@holdfast/base';
import { toHex } from './checksum.ts';
import type { FileSystem } from './fs.ts';
import { baseName, readWholeFile } from './fs.ts';
import { findBatchHeader, isZero, readBatch } from './wal/batch-reader.ts';
import {
  BATCH_ALIGNMENT_BYTES,
  checksumMask,
  decodeFileHeader,
  describeBatch,
  FIRST_BATCH_OFFSET,
  parseWalFileName,
} from './wal/format.ts';
import type { WalRecord } from './wal/record.ts';
import { decodeGroupSummary, decodeHardState, decodeSnapshot } from './wal/record-payload.ts';

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
  while (offset < bytes.byteLength) {
    const outcome = readBatch(bytes, fileId, offset, mask);
    if (outcome.kind === 'batch') {
      const { batch } = outcome;
      yield {
        offset,
        kind: 'batch',
        what: `batch ${describeBatch(batch.header.batch)}`,
        fields: {
          watermark: describeBatch(batch.header.watermark),
          records: batch.records.length,
          payloadSizeBytes: batch.header.payloadSizeBytes,
        },
      };
      for (const record of batch.records) yield describeRecord(record);
      offset += batch.sizeBytes;
      continue;
    }
    if (outcome.kind === 'damaged') {
      const { damage } = outcome;
      const fields = { group: damage.group, index: damage.index };
      yield { offset: damage.offset, kind: 'damage', what: damage.what, fields };
    }
    const later = findBatchHeader(bytes, fileId, offset + BATCH_ALIGNMENT_BYTES, mask);
    if (later === null) break;
    offset = later.offset;
  }
  const isClean = isZero(bytes, offset, bytes.byteLength);
  const what = isClean ? 'zeros to the end of the file' : 'no further batch';
  yield { offset, kind: 'end', what, fields: {} };
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
    case 'entry': {
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
