/**
 * The FileSystem of a running node, over node:fs. Synchronous on purpose: the callers are the WAL
 * thread, the lanes and start-up; the libuv pool is shared with zlib and dns, and slow when busy.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  unlinkSync,
  writevSync,
} from 'node:fs';
import type { FileHandle, FileSystem, OpenMode } from './fs.ts';
import { fileIoError, isFileIoError, parentDirectory } from './fs.ts';
import { readAround } from './unreadable.ts';

/** Linux refuses more vectors per call (IOV_MAX). */
const CHUNKS_PER_WRITE_MAX = 1024;
/** Linux writes at most 0x7ffff000 bytes per call; stay below with room to spare. */
const BYTES_PER_WRITE_MAX = 1 << 30;
const FLAGS = { read: 'r', readWrite: 'r+', createNew: 'wx+' } as const;

function attempt<T>(operation: string, path: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    const { code, errno } = cause as { code?: unknown; errno?: unknown };
    if (typeof code !== 'string' || typeof errno !== 'number') throw cause;
    throw fileIoError({ operation, path, code, errno, cause });
  }
}

class NodeFileHandle implements FileHandle {
  readonly path: string;
  readonly #descriptor: number;
  #isOpen = true;

  constructor(path: string, descriptor: number) {
    this.path = path;
    this.#descriptor = descriptor;
  }

  read(target: Uint8Array, position: number): number {
    return readAround((part, at) => this.#read(part, at), target, position);
  }

  #read(target: Uint8Array, position: number): number {
    return attempt('read', this.path, () => {
      let done = 0;
      while (done < target.byteLength) {
        const length = Math.min(target.byteLength - done, BYTES_PER_WRITE_MAX);
        const count = readSync(this.#descriptor, target, done, length, position + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    });
  }

  write(chunks: readonly Uint8Array[], position: number): void {
    let at = position;
    for (const group of groupForWrite(chunks)) {
      const size = group.reduce((sum, chunk) => sum + chunk.byteLength, 0);
      const written = attempt('write', this.path, () => writevSync(this.#descriptor, group, at));
      if (written !== size) {
        throw fileIoError({ operation: 'write', path: this.path, code: 'ENOSPC', errno: -28 });
      }
      at += size;
    }
  }

  datasync(): void {
    attempt('datasync', this.path, () => fdatasyncSync(this.#descriptor));
  }

  sync(): void {
    attempt('sync', this.path, () => fsyncSync(this.#descriptor));
  }

  truncate(sizeBytes: number): void {
    attempt('truncate', this.path, () => ftruncateSync(this.#descriptor, sizeBytes));
  }

  sizeBytes(): number {
    return attempt('stat', this.path, () => fstatSync(this.#descriptor).size);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    attempt('close', this.path, () => closeSync(this.#descriptor));
  }
}

/** Splits a write so that each group is one system call; a huge chunk is split by views. */
function groupForWrite(chunks: readonly Uint8Array[]): Uint8Array[][] {
  const groups: Uint8Array[][] = [];
  let group: Uint8Array[] = [];
  let groupSize = 0;
  const push = (piece: Uint8Array): void => {
    const isFull = group.length === CHUNKS_PER_WRITE_MAX;
    if (isFull || groupSize + piece.byteLength > BYTES_PER_WRITE_MAX) {
      groups.push(group);
      group = [];
      groupSize = 0;
    }
    group.push(piece);
    groupSize += piece.byteLength;
  };
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.byteLength; start += BYTES_PER_WRITE_MAX) {
      push(chunk.subarray(start, start + BYTES_PER_WRITE_MAX));
    }
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

export class NodeFileSystem implements FileSystem {
  open(path: string, mode: OpenMode): FileHandle {
    return new NodeFileHandle(
      path,
      attempt('open', path, () => openSync(path, FLAGS[mode], 0o600)),
    );
  }

  exists(path: string): boolean {
    try {
      attempt('stat', path, () => statSync(path));
      return true;
    } catch (error) {
      if (isFileIoError(error, 'ENOENT') || isFileIoError(error, 'ENOTDIR')) return false;
      throw error;
    }
  }

  list(directory: string): readonly string[] {
    return attempt('list', directory, () => readdirSync(directory).sort());
  }

  makeDirectory(path: string): void {
    const parent = parentDirectory(path);
    if (!this.exists(path)) {
      if (parent !== path && !this.exists(parent)) this.makeDirectory(parent);
      attempt('mkdir', path, () => mkdirSync(path, { mode: 0o700 }));
    }
    // Also when it exists: the process that made it may have died before this line.
    this.syncDirectory(parent);
  }

  rename(from: string, to: string): void {
    attempt('rename', from, () => renameSync(from, to));
  }

  remove(path: string): void {
    attempt('remove', path, () => unlinkSync(path));
  }

  removeTree(path: string): void {
    attempt('removeTree', path, () => rmSync(path, { recursive: true, force: true }));
  }

  link(from: string, to: string): void {
    attempt('link', to, () => linkSync(from, to));
  }

  sizeBytes(path: string): number {
    return attempt('stat', path, () => statSync(path).size);
  }

  isDirectory(path: string): boolean {
    return this.exists(path) && attempt('stat', path, () => statSync(path).isDirectory());
  }

  syncDirectory(path: string): void {
    const descriptor = attempt('open', path, () => openSync(path, 'r'));
    try {
      attempt('syncDirectory', path, () => fsyncSync(descriptor));
    } finally {
      closeSync(descriptor);
    }
  }

  freeBytes(directory: string): number {
    return attempt('statfs', directory, () => {
      const facts = statfsSync(directory);
      return facts.bavail * facts.bsize;
    });
  }
}
