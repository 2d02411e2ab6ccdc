/**
 * One checkpoint as files to send, at the pace of the transfer budget. The files are named by what
 * they hold (sha256 of the whole), so a receiver can tell what it has already.
 */
import { failpoint, HoldfastError } from '@holdfast/base';
import { checkpointFiles } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileHandle, FileSystem } from '@holdfast/storage';
import { joinPath } from '@holdfast/storage';
import type { OutgoingSnapshot, OutgoingSnapshotFile } from '../service-api.ts';
import { manifestReferences } from './checkpointer.ts';
import type { SnapshotMessage } from './snapshot-header.ts';
import { encodeSnapshotHeader } from './snapshot-header.ts';
import type { TransferBudget } from './transfer-budget.ts';

export interface SnapshotSourceOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly budget: TransferBudget;
  /** Why this transfer must end, asked before every piece; null while it may go on. */
  readonly endReason: () => string | null;
  readonly onProgress: (heldSizeBytes: number) => void;
}

export interface SourcedSnapshot extends OutgoingSnapshot {
  readonly sizeBytes: number;
}

/**
 * `message` must be about `root`. Its files must stay until `release`.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function outgoingSnapshot(
  options: SnapshotSourceOptions,
  root: CheckpointRoot,
  message: SnapshotMessage,
): SourcedSnapshot {
  const { fileSystem, dataDirectory } = options;
  const { metaFile, shards } = root;
  const listed = [
    { path: metaFile.path, checksum: metaFile.checksum },
    ...checkpointFiles(fileSystem, dataDirectory, manifestReferences(root)),
  ];
  const files = listed.map((file) => new SnapshotFileSource(options, file));
  return {
    group: message.group,
    id: root.meta.id,
    meta: encodeSnapshotHeader({ metaFile, shards, message }),
    files,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    onProgress: options.onProgress,
    release() {
      for (const file of files) file.close();
    },
  };
}

class SnapshotFileSource implements OutgoingSnapshotFile {
  readonly path: string;
  readonly checksum: string;
  readonly sizeBytes: number;
  readonly #options: SnapshotSourceOptions;
  readonly #fullPath: string;
  #handle: FileHandle | null = null;

  constructor(options: SnapshotSourceOptions, file: { path: string; checksum: string }) {
    this.path = file.path;
    this.checksum = file.checksum;
    this.#options = options;
    this.#fullPath = joinPath(options.dataDirectory, file.path);
    this.sizeBytes = options.fileSystem.sizeBytes(this.#fullPath);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    await this.#options.budget.take(length);
    failpoint('snapshot.send-chunk');
    const endReason = this.#options.endReason();
    if (endReason !== null) throw new HoldfastError('ABORTED', `the snapshot ended: ${endReason}`);
    this.#handle ??= this.#options.fileSystem.open(this.#fullPath, 'read');
    const bytes = new Uint8Array(length);
    const count = this.#handle.read(bytes, offset);
    // Read in order: the end of the file is the last that is asked for. Thousands stay closed.
    if (offset + length === this.sizeBytes) this.close();
    if (count === length) return bytes;
    throw new HoldfastError('FILE_CORRUPT', `${this.#fullPath} is shorter than it was`, {
      details: { path: this.#fullPath, offset },
    });
  }

  close(): void {
    this.#handle?.close();
    this.#handle = null;
  }
}
