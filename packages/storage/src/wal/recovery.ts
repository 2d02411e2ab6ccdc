/**
 * Opens a log: scan it, establish terms and votes from their copies, then make what was read
 * durable before anyone relies on it. Bytes read
 * back at start prove nothing about the disk: the page cache may show what a dead process wrote
 * and never synced, or what a failed sync dropped. So recovery writes the last batch again (the
 * only one that no later batch confirms), zeroes everything after it, syncs every file and the
 * directory, and confirms the tail by a first batch of a new epoch. Only then it returns.
 *
 * Every step may be cut by a crash and run again: rewriting writes the same bytes, zeroes go only
 * where no valid batch is, and the epoch is raised durably before anything else is written.
 */

import type { Clock, GroupId } from '@holdfast/base';
import { failpoint } from '@holdfast/base';
import { removeTemporaryFiles } from '../atomic-file.ts';
import type { FileSystem } from '../fs.ts';
import { joinPath, parentDirectory } from '../fs.ts';
import { encodeHardStateFrame } from './append-frame.ts';
import { DurableGroupLog } from './durable-group-log.ts';
import type { EpochRecord } from './epoch-file.ts';
import { EPOCH_FILE_NAME, readEpoch, writeEpoch } from './epoch-file.ts';
import type { ClosedWalFile } from './file-facts.ts';
import { FIRST_BATCH_OFFSET, walFilePath } from './format.ts';
import { makeHardStateCopies } from './hard-state-copies.ts';
import { establishHardStates } from './hard-state-recovery.ts';
import { RecordSource, walCorrupt } from './record-source.ts';
import type { LastBatch, TornTail, WalScan } from './scan.ts';
import { scanWal } from './scan.ts';
import type { WalOptions } from './types.ts';
import type { BatchPlace, WriterState } from './wal-writer.ts';
import { WalWriter } from './wal-writer.ts';
import { ZeroFiller } from './zero-filler.ts';

const ZEROS = new Uint8Array(1024 * 1024);

export interface RecoveredWal {
  readonly groups: ReadonlyMap<GroupId, DurableGroupLog>;
  readonly source: RecordSource;
  readonly writer: WalWriter;
  /** See WalScan. */
  readonly badHeadFileIds: ReadonlySet<number>;
  /** As it is on the disk now. */
  readonly epoch: EpochRecord;
  readonly closedFiles: readonly ClosedWalFile[];
  /** Of the last batch that recovery wrote. */
  readonly place: BatchPlace;
  /** What the last crash cut off; it was never acknowledged. */
  readonly tornTail: TornTail | null;
}

/**
 * @throws HoldfastError WAL_CORRUPT (nothing was changed), FORMAT_UNKNOWN, FILE_IO, WAL_IO
 */
export function recoverWal(
  fileSystem: FileSystem,
  directory: string,
  options: WalOptions,
  clock: Pick<Clock, 'monotonicMs'>,
): RecoveredWal {
  fileSystem.makeDirectory(directory);
  const source = new RecordSource(fileSystem, directory);
  const scan = scanWal(fileSystem, directory, source, options);
  const known = readEpoch(fileSystem, directory);
  if (scan.last === null && known?.hasBatches) {
    const path = joinPath(directory, EPOCH_FILE_NAME);
    throw walCorrupt(path, 0, 1, 'the log had batches and all its files are gone or empty');
  }
  removeTemporaryFiles(fileSystem, directory);
  const epoch = Math.max(scan.epochMax, known?.epoch ?? 0) + 1;
  const { durableBatch } = scan;
  failpoint('wal.recovery-before-epoch');
  writeEpoch(fileSystem, directory, { epoch, hasBatches: scan.last !== null, durableBatch });
  // What the log itself says, before the copies speak: the writer continues the log.
  const groups = [...scan.groups.values()].map((log) => [log.group, log.summary()] as const);
  const hardStates = establishHardStates(
    fileSystem,
    directory,
    scan,
    (group) => new DurableGroupLog(group, source, options.cacheSizeBytesMax),
  );
  failpoint('wal.recovery-before-settle');
  const place = settle(fileSystem, directory, scan, epoch, options);
  // Not before the log is durable: the copies must not run ahead of it.
  makeHardStateCopies(fileSystem, directory, hardStates.states);
  const state: WriterState = {
    ...place,
    directory,
    epoch,
    lastBatch: scan.lastBatch,
    changes: [...(scan.last?.changes ?? [])],
    groups,
    hardStateSlots: hardStates.states.map(([group]) => group),
  };
  const writer = new WalWriter(fileSystem, state, options, clock);
  const frames = hardStates.toLog.map(([group, found]) => encodeHardStateFrame(group, found));
  failpoint('wal.recovery-before-first-batch');
  let written = writer.writeBatch(new Uint8Array(Buffer.concat(frames)));
  // A batch with records needs one that confirms it.
  if (frames.length > 0) written = writer.writeBatch(new Uint8Array(0));
  if (scan.last === null) {
    writeEpoch(fileSystem, directory, { epoch, hasBatches: true, durableBatch });
  }
  const { badHeadFileIds, tornTail } = scan;
  const closedBefore = scan.fileFacts.filter(({ fileId }) => place.fileIds.indexOf(fileId) >= 0);
  return {
    ...{ source, writer, badHeadFileIds, tornTail, place: written },
    groups: hardStates.groups,
    epoch: { epoch, hasBatches: true, durableBatch },
    // The last one was written to until the writer left it, and that tells of it.
    closedFiles: [...closedBefore.slice(0, -1), ...writer.takeClosedFiles()],
  };
}

function settle(
  fileSystem: FileSystem,
  directory: string,
  scan: WalScan,
  epoch: number,
  options: WalOptions,
): Pick<WriterState, 'fileIds' | 'offset'> {
  // Newest first: a crash between two removals leaves no gap.
  for (const fileId of [...scan.unusedFileIds].reverse()) {
    fileSystem.remove(walFilePath(directory, fileId));
    fileSystem.syncDirectory(directory);
  }
  if (scan.last === null) {
    const fileId = scan.unusedFileIds[0] ?? 1;
    createFirstFile(fileSystem, directory, fileId, epoch, options);
    return { fileIds: [fileId], offset: FIRST_BATCH_OFFSET };
  }
  for (const fileId of scan.liveFileIds) {
    const handle = fileSystem.open(walFilePath(directory, fileId), 'readWrite');
    try {
      if (fileId === scan.last.fileId) rewriteTail(handle, scan.last, options.fileSizeBytes);
      handle.sync();
    } finally {
      handle.close();
    }
  }
  fileSystem.syncDirectory(directory);
  fileSystem.syncDirectory(parentDirectory(directory));
  return {
    fileIds: scan.liveFileIds,
    offset: scan.last.offset + scan.last.bytes.byteLength,
  };
}

/** The last batch again as it is, then zeros to the end of the file. */
function rewriteTail(
  handle: ReturnType<FileSystem['open']>,
  last: LastBatch,
  fileSizeBytes: number,
): void {
  handle.write([last.bytes], last.offset);
  const end = Math.max(fileSizeBytes, handle.sizeBytes());
  for (let at = last.offset + last.bytes.byteLength; at < end; at += ZEROS.byteLength) {
    handle.write([ZEROS.subarray(0, Math.min(ZEROS.byteLength, end - at))], at);
  }
}

function createFirstFile(
  fileSystem: FileSystem,
  directory: string,
  fileId: number,
  epoch: number,
  options: WalOptions,
): void {
  const sizeBytes = options.fileSizeBytes;
  const filler = new ZeroFiller(fileSystem, { directory, fileId, sizeBytes });
  filler.finish({ epoch, watermark: 0 });
  filler.handle.close();
}
