/**
 * Receives a checkpoint from the leader and makes it this node's own: stage, fsync, verify, move
 * into place, CHECKPOINT root. Only then is the leader's raft message stepped into the core, so
 * the core never believes in a state whose bytes are not durable here (raft.md 2.4).
 *
 * An interrupted transfer leaves the old state untouched: files in staging, or files that no root
 * names. Sealed segments are equal on every replica, so moving one over its twin changes nothing;
 * growing files and manifests carry the checkpoint id in their names.
 */
import type { Logger, NodeId } from '@holdfast/base';
import { assert, HoldfastError } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import { manifestFiles } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileHandle, FileSystem } from '@holdfast/storage';
import {
  joinPath,
  parentDirectory,
  verifyChecksummedFile,
  writeCheckpointRoot,
} from '@holdfast/storage';
import type {
  IncomingSnapshot,
  OutgoingSnapshot,
  OutgoingSnapshotFile,
  SnapshotReceiver,
  SnapshotSink,
} from '../service-api.ts';
import type { Checkpointer } from './checkpointer.ts';
import { manifestReferences } from './checkpointer.ts';

export const STAGING_DIRECTORY = 'staging';
/** What a checkpoint may contain: nothing else is written on a peer's word. */
const ALLOWED_PATH = /^(meta|collections\/\d+\/\d+)\/[a-zA-Z0-9][a-zA-Z0-9._-]*$/;

interface SnapshotHeader {
  readonly metaFile: CheckpointRoot['metaFile'];
  readonly shards: CheckpointRoot['shards'];
  /** The raft `snapshot` message, encoded, base64. */
  readonly message: string;
}

export interface SnapshotInstallerOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly checkpointer: Checkpointer;
  /** Steps the raft message once its bytes are durable. */
  readonly deliver: (message: RaftMessage) => void;
  /** The root on disk may be either generation: the node must stop. */
  readonly onFailure: (error: unknown) => void;
  readonly logger: Logger;
}

/** The newest checkpoint as files to send; `message` must be about that checkpoint. */
export function outgoingSnapshot(
  fileSystem: FileSystem,
  dataDirectory: string,
  checkpointer: Checkpointer,
  message: Extract<RaftMessage, { kind: 'snapshot' }>,
): OutgoingSnapshot | null {
  const root = checkpointer.root;
  if (root === null || root.meta.id !== message.meta.id) return null;
  const release = checkpointer.pin();
  const references = manifestReferences(root);
  const paths = [root.metaFile.path, ...manifestFiles(fileSystem, dataDirectory, references)];
  const files = paths.map((path) => new SnapshotFileSource(fileSystem, dataDirectory, path));
  const header: SnapshotHeader = {
    metaFile: root.metaFile,
    shards: root.shards,
    message: Buffer.from(encodeRaftMessage(message)).toString('base64'),
  };
  return {
    group: message.group,
    id: root.meta.id,
    meta: new TextEncoder().encode(JSON.stringify(header)),
    files,
    release() {
      for (const file of files) file.close();
      release();
    },
  };
}

class SnapshotFileSource implements OutgoingSnapshotFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Files carry their own block checksums; the receiver verifies those. */
  readonly checksum = 'own';
  readonly #fileSystem: FileSystem;
  readonly #fullPath: string;
  #handle: FileHandle | null = null;

  constructor(fileSystem: FileSystem, dataDirectory: string, path: string) {
    this.path = path;
    this.#fileSystem = fileSystem;
    this.#fullPath = joinPath(dataDirectory, path);
    this.sizeBytes = fileSystem.sizeBytes(this.#fullPath);
  }

  read(offset: number, length: number): Uint8Array {
    this.#handle ??= this.#fileSystem.open(this.#fullPath, 'read');
    const bytes = new Uint8Array(length);
    const count = this.#handle.read(bytes, offset);
    if (count !== length) {
      throw new HoldfastError('FILE_CORRUPT', `${this.#fullPath} is shorter than it was`, {
        details: { path: this.#fullPath, offset },
      });
    }
    return bytes;
  }

  close(): void {
    this.#handle?.close();
    this.#handle = null;
  }
}

export class SnapshotInstaller implements SnapshotReceiver {
  readonly #options: SnapshotInstallerOptions;
  #isBusy = false;

  constructor(options: SnapshotInstallerOptions) {
    this.#options = options;
  }

  begin(snapshot: IncomingSnapshot): SnapshotSink {
    if (this.#isBusy) {
      throw new HoldfastError('OVERLOADED', 'another snapshot is being received; retry later', {
        details: { retryAfterMs: 1_000 },
      });
    }
    const { header, message } = parseHeader(snapshot.meta, snapshot.from);
    for (const { path } of snapshot.files) {
      if (!ALLOWED_PATH.test(path)) {
        throw new HoldfastError('PEER_PROTOCOL', `a snapshot must not contain '${path}'`);
      }
    }
    const staging = new Staging(this.#options.fileSystem, this.#stagingPath(), snapshot);
    this.#isBusy = true;
    // The staging folder is this transfer's own until it has ended, once, in either way.
    let isEnded = false;
    return {
      write: (fileIndex, offset, bytes) => staging.write(fileIndex, offset, bytes),
      finish: async () => {
        assert(!isEnded, 'a transfer ends once');
        isEnded = true;
        try {
          staging.seal();
          await this.#install(header, message, snapshot);
          this.#options.deliver(message);
        } finally {
          staging.close();
          this.#discard();
        }
      },
      abort: (reason) => {
        if (isEnded) return;
        isEnded = true;
        this.#options.logger.warn(
          { from: snapshot.from, snapshot: message.meta.id, reason },
          'snapshot was interrupted',
        );
        staging.close();
        this.#discard();
      },
    };
  }

  async #install(
    header: SnapshotHeader,
    message: Extract<RaftMessage, { kind: 'snapshot' }>,
    snapshot: IncomingSnapshot,
  ): Promise<void> {
    const { fileSystem, dataDirectory, checkpointer, logger } = this.#options;
    await checkpointer.idle();
    const present = checkpointer.root;
    if (present !== null && present.meta.index >= message.meta.index) return;
    const directories = new Set<string>();
    for (const { path } of snapshot.files) {
      const target = joinPath(dataDirectory, path);
      const directory = parentDirectory(target);
      if (!directories.has(directory)) fileSystem.makeDirectory(directory);
      directories.add(directory);
      fileSystem.rename(joinPath(this.#stagingPath(), path), target);
    }
    for (const directory of directories) fileSystem.syncDirectory(directory);
    const root: CheckpointRoot = {
      generation: (present?.generation ?? 0) + 1,
      meta: message.meta,
      metaFile: header.metaFile,
      shards: header.shards,
    };
    try {
      writeCheckpointRoot(fileSystem, dataDirectory, root);
    } catch (error) {
      this.#options.onFailure(error);
      throw error;
    }
    checkpointer.adopt(root);
    logger.info({ index: root.meta.index, files: snapshot.files.length }, 'snapshot is installed');
  }

  #stagingPath(): string {
    return joinPath(this.#options.dataDirectory, STAGING_DIRECTORY);
  }

  #discard(): void {
    this.#options.fileSystem.removeTree(this.#stagingPath());
    this.#isBusy = false;
  }
}

/** Files of one transfer, outside the live tree until every one is complete and verified. */
class Staging {
  readonly #fileSystem: FileSystem;
  readonly #path: string;
  readonly #snapshot: IncomingSnapshot;
  readonly #handles = new Map<number, FileHandle>();

  constructor(fileSystem: FileSystem, path: string, snapshot: IncomingSnapshot) {
    this.#fileSystem = fileSystem;
    this.#path = path;
    this.#snapshot = snapshot;
    fileSystem.removeTree(path);
    fileSystem.makeDirectory(path);
  }

  write(fileIndex: number, offset: number, bytes: Uint8Array): void {
    this.#handleOf(fileIndex).write([bytes], offset);
  }

  /** Makes every file durable, then verifies what is really there. */
  seal(): void {
    this.#snapshot.files.forEach((file, fileIndex) => {
      const handle = this.#handleOf(fileIndex);
      handle.sync();
      const path = joinPath(this.#path, file.path);
      if (handle.sizeBytes() !== file.sizeBytes) throw damaged(path, 'has the wrong size');
      const damage = verifyChecksummedFile(this.#fileSystem, path);
      if (damage.length > 0) throw damaged(path, 'fails its checksum');
    });
    this.close();
  }

  close(): void {
    for (const handle of this.#handles.values()) handle.close();
    this.#handles.clear();
  }

  #handleOf(fileIndex: number): FileHandle {
    const open = this.#handles.get(fileIndex);
    if (open !== undefined) return open;
    const file = this.#snapshot.files[fileIndex];
    assert(file !== undefined, 'a chunk belongs to a listed file', { fileIndex });
    const path = joinPath(this.#path, file.path);
    this.#fileSystem.makeDirectory(parentDirectory(path));
    const handle = this.#fileSystem.open(path, 'createNew');
    this.#handles.set(fileIndex, handle);
    return handle;
  }
}

function parseHeader(
  bytes: Uint8Array,
  from: NodeId,
): { header: SnapshotHeader; message: Extract<RaftMessage, { kind: 'snapshot' }> } {
  const header = JSON.parse(new TextDecoder().decode(bytes)) as SnapshotHeader;
  const message = decodeRaftMessage(new Uint8Array(Buffer.from(header.message, 'base64')), from);
  if (message.kind !== 'snapshot') {
    throw new HoldfastError('PEER_PROTOCOL', 'a snapshot transfer carries a snapshot message');
  }
  return { header, message };
}

function damaged(path: string, what: string): HoldfastError {
  return new HoldfastError('FILE_CORRUPT', `${path} ${what}; the sender must try again`, {
    details: { path },
  });
}
