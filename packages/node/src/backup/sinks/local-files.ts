/**
 * The file operations of a sink in a folder: promises, because a sink runs on the main thread of a
 * node and its disk may be slow. A file operation that hangs in the kernel cannot be interrupted; a
 * network mount needs `soft` or a time limit of its own. These go to node:fs and not through the
 * FileSystem of storage, which is synchronous and belongs to the data directory.
 *
 * Invariant: `writeTemporary` has written and synced every byte when it returns; a failed sync is
 * never tried again on the same file, the next attempt writes another one.
 */
import type { Stats } from 'node:fs';
import { type FileHandle, link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { decodeTrailer, encodeTrailer, TRAILER_SIZE_BYTES } from './local-trailer.ts';
import type { SinkDigest } from './sink-digest.ts';
import { corrupt, PIECE_SIZE_BYTES } from './sink-digest.ts';
import { stringField } from './sink-failure.ts';

const isError = (error: unknown, code: string): boolean => stringField(error, 'code') === code;

export async function statOrNull(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    // a file where a folder should be: there is nothing under this name either
    if (isError(error, 'ENOENT') || isError(error, 'ENOTDIR')) return null;
    throw error;
  }
}

export async function openOrNull(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isError(error, 'ENOENT') || isError(error, 'ENOTDIR')) return null;
    throw error;
  }
}

/** False when there was nothing. */
export async function removeFile(path: string): Promise<boolean> {
  try {
    await rm(path);
    return true;
  } catch (error) {
    if (isError(error, 'ENOENT') || isError(error, 'ENOTDIR')) return false;
    throw error;
  }
}

/**
 * Others may write their log to the same disk, and a sync of theirs waits for what a file system
 * has to write before it: so much at most.
 */
const UNSYNCED_SIZE_BYTES_MAX = 2 * 1024 * 1024;

/** Content, then trailer, synced. `onWritten` gets the bytes of content so far. */
export async function writeTemporary(
  path: string,
  pieces: AsyncIterable<Uint8Array>,
  digestOf: () => SinkDigest,
  onWritten: (sizeBytes: number) => void,
): Promise<void> {
  const handle = await open(path, 'wx', 0o640);
  try {
    let sizeBytes = 0;
    let syncedSizeBytes = 0;
    for await (const piece of pieces) {
      await writeFully(handle, piece, sizeBytes);
      sizeBytes += piece.byteLength;
      if (sizeBytes - syncedSizeBytes >= UNSYNCED_SIZE_BYTES_MAX) {
        await handle.datasync();
        syncedSizeBytes = sizeBytes;
      }
      onWritten(sizeBytes);
    }
    await writeFully(handle, encodeTrailer(digestOf()), sizeBytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.byteLength - at, position + at);
    at += bytesWritten;
  }
}

/**
 * Gives the temporary file its name unless something has it; false then. A server of files may
 * carry a link out and lose the answer: the same file under both names is ours.
 */
export async function linkIfAbsent(temporaryPath: string, path: string): Promise<boolean> {
  try {
    await link(temporaryPath, path);
    return true;
  } catch (error) {
    if (!isError(error, 'EEXIST')) throw error;
    const [ours, theirs] = await Promise.all([stat(temporaryPath), statOrNull(path)]);
    return theirs !== null && ours.ino === theirs.ino && ours.dev === theirs.dev;
  }
}

export const replace = (temporaryPath: string, path: string): Promise<void> =>
  rename(temporaryPath, path);

/** Makes the folder and what is missing above it, and makes the new names durable. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o750 });
  if (first === undefined) return;
  for (let at = path; at.length >= first.length; at = dirname(at)) await syncFolder(dirname(at));
}

export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function readTrailer(handle: FileHandle, object: string): Promise<SinkDigest> {
  const { size } = await handle.stat();
  if (size < TRAILER_SIZE_BYTES) throw corrupt(object, 'it is cut short');
  const bytes = await readFully(handle, size - TRAILER_SIZE_BYTES, TRAILER_SIZE_BYTES);
  const digest = decodeTrailer(bytes, object);
  if (digest.sizeBytes + TRAILER_SIZE_BYTES !== size)
    throw corrupt(object, `its file has ${size} bytes, which does not fit its digest`);
  return digest;
}

/** The content in fresh pieces. */
export async function* contentPieces(
  handle: FileHandle,
  sizeBytes: number,
): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < sizeBytes; offset += PIECE_SIZE_BYTES)
    yield await readFully(handle, offset, Math.min(PIECE_SIZE_BYTES, sizeBytes - offset));
}

/** Fewer bytes than asked for only at the end of the file. */
async function readFully(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await handle.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}
