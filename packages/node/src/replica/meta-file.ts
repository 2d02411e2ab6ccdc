/**
 * The meta state to disk and back, and its digest, in slices of a few milliseconds: ten thousand
 * sessions with full windows are hundreds of megabytes, and the node must go on ticking.
 *
 * Whoever writes or hashes holds the applier's barrier, so the state stands still meanwhile.
 */
import { HoldfastError, must } from '@holdfast/base';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import type { CheckpointRoot, ChecksummedFileFacts, FileSystem, Steps } from '@holdfast/storage';
import {
  ChecksummedFileReader,
  ChecksummedFileWriter,
  createStreamDigest,
  joinPath,
} from '@holdfast/storage';
import type { MetaMachine } from '../state/meta-machine.ts';
import { MetaLoader } from '../state/meta-machine.ts';
import type { MetaHead } from '../state/meta-rows.ts';
import {
  checkMetaHead,
  FrameReader,
  META_FRAME_SIZE_BYTES_MAX,
  META_HEAD_SIZE_BYTES,
} from '../state/meta-rows.ts';
import type { Pause } from './slices.ts';
import { inSlices } from './slices.ts';

export const META_DIRECTORY = 'meta';
/** Pieces and frames have about 64 KiB, a millisecond each. */
const PIECES_PER_SLICE = 4;
const SIZE_FIELD_SIZE_BYTES = 4;

/**
 * Writes the state under `path`, complete and durable when it resolves.
 * @throws HoldfastError FILE_IO; nothing is left of the file
 */
export async function writeMeta(
  fileSystem: FileSystem,
  fullPath: string,
  machine: MetaMachine,
  pause: Pause,
): Promise<ChecksummedFileFacts> {
  const options = { kind: 'meta', algorithm: 'xxhash3' } as const;
  const writer = new ChecksummedFileWriter(fileSystem, fullPath, options);
  try {
    await inSlices(
      eachPiece(machine.pieces(), (piece) => writer.append(piece)),
      pause,
    );
    return writer.finish();
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

/** Equal for equal states, or for equal contents; lower-case hex. */
export async function digestMeta(
  machine: MetaMachine,
  pause: Pause,
  of: 'state' | 'content' = 'state',
): Promise<string> {
  const digest = createStreamDigest();
  const pieces = of === 'state' ? machine.pieces() : machine.contentPieces();
  await inSlices(
    eachPiece(pieces, (piece) => digest.update(piece)),
    pause,
  );
  return digest.finishHex();
}

/**
 * Loads the state that a root names; verifies every byte of the meta file.
 * @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN, CHECKPOINT_CORRUPT, FILE_IO
 */
export async function loadMeta(
  fileSystem: FileSystem,
  dataDirectory: string,
  root: CheckpointRoot,
  pause: Pause,
): Promise<MetaMachine> {
  const path = joinPath(dataDirectory, root.metaFile.path);
  const reader = ChecksummedFileReader.open(fileSystem, path, 'meta');
  try {
    const loader = new MetaLoader();
    const take = (frame: Uint8Array): boolean => {
      loader.take(frame);
      return true;
    };
    await inSlices(readFrames(reader, take), pause);
    const meta = loader.finish();
    refuseOther(path, root, meta.appliedIndex);
    return meta;
  } finally {
    reader.close();
  }
}

/** What a meta file says before its sessions. */
export interface MetaSummary {
  /** Newest time stamp in the log up to the checkpoint. */
  readonly logTimeMs: number;
  /** Without hidden ones. In order of creation. */
  readonly definitions: readonly CollectionDefinition[];
}

/**
 * As loadMeta, but ends where the sessions begin, which are most of a large file.
 * @throws HoldfastError as loadMeta
 */
export async function loadMetaSummary(
  fileSystem: FileSystem,
  dataDirectory: string,
  root: CheckpointRoot,
  pause: Pause,
): Promise<MetaSummary> {
  const path = joinPath(dataDirectory, root.metaFile.path);
  const reader = ChecksummedFileReader.open(fileSystem, path, 'meta');
  try {
    const definitions: CollectionDefinition[] = [];
    const found: { head: MetaHead | null; hasSessions: boolean } = {
      ...{ head: null, hasSessions: false },
    };
    const rows = new FrameReader({
      head: (head) => {
        found.head = head;
      },
      collection: (definition) => void definitions.push(definition),
      hidden: () => undefined,
      session: () => {
        found.hasSessions = true;
      },
      result: () => undefined,
    });
    const take = (frame: Uint8Array): boolean => {
      rows.read(frame);
      return !found.hasSessions;
    };
    await inSlices(readFrames(reader, take), pause);
    const { appliedIndex, logTimeMs } = must(found.head, 'the meta rows have a head');
    refuseOther(path, root, appliedIndex);
    return { logTimeMs, definitions };
  } finally {
    reader.close();
  }
}

function refuseOther(path: string, root: CheckpointRoot, appliedIndex: number): void {
  if (appliedIndex === root.meta.index) return;
  throw new HoldfastError('CHECKPOINT_CORRUPT', `${path} is not of the checkpoint's index`, {
    details: { path, index: root.meta.index, found: appliedIndex },
  });
}

function* eachPiece(pieces: Iterable<Uint8Array>, take: (piece: Uint8Array) => void): Steps<void> {
  let count = 0;
  for (const piece of pieces) {
    take(piece);
    count += 1;
    if (count % PIECES_PER_SLICE === 0) yield;
  }
}

/** Ends early when `take` returns false. */
function* readFrames(
  reader: ChecksummedFileReader,
  take: (frame: Uint8Array) => boolean,
): Steps<void> {
  const sizeBytes = reader.payloadSizeBytes;
  checkMetaHead(reader.read(0, Math.min(META_HEAD_SIZE_BYTES, sizeBytes)));
  let at = META_HEAD_SIZE_BYTES;
  while (at < sizeBytes) {
    const frameSizeBytes = readSize(reader, at);
    if (!take(reader.read(at + SIZE_FIELD_SIZE_BYTES, frameSizeBytes))) return;
    at += SIZE_FIELD_SIZE_BYTES + frameSizeBytes;
    // Making the objects of a frame takes several times as long as writing it.
    yield;
  }
}

function readSize(reader: ChecksummedFileReader, at: number): number {
  const isCut = at + SIZE_FIELD_SIZE_BYTES > reader.payloadSizeBytes;
  const bytes = isCut ? null : reader.read(at, SIZE_FIELD_SIZE_BYTES);
  const sizeBytes =
    bytes === null ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const end = at + SIZE_FIELD_SIZE_BYTES + sizeBytes;
  const isPossible = sizeBytes > 0 && sizeBytes <= META_FRAME_SIZE_BYTES_MAX;
  if (isPossible && end <= reader.payloadSizeBytes) return sizeBytes;
  throw new HoldfastError('CHECKPOINT_CORRUPT', `${reader.path} has a frame that cannot be`, {
    details: { path: reader.path, offset: at },
  });
}
