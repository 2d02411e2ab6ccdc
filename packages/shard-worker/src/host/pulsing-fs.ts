/**
 * A FileSystem that tells a lane's pulse about every call: loading and checkpointing are many of
 * them, so long work is never silent, and a silence says whether it is the disk's.
 */
import type { FileHandle, FileSystem, OpenMode } from '@holdfast/storage';
import type { LanePulse } from './lane-pulse.ts';

export class PulsingFileSystem implements FileSystem {
  readonly #inner: FileSystem;
  readonly #pulse: LanePulse;

  constructor(inner: FileSystem, pulse: LanePulse) {
    this.#inner = inner;
    this.#pulse = pulse;
  }

  open(path: string, mode: OpenMode): FileHandle {
    const inner = this.#pulse.disk(() => this.#inner.open(path, mode));
    return pulsingHandle(inner, this.#pulse);
  }

  exists(path: string): boolean {
    return this.#pulse.disk(() => this.#inner.exists(path));
  }

  list(directory: string): readonly string[] {
    return this.#pulse.disk(() => this.#inner.list(directory));
  }

  makeDirectory(path: string): void {
    this.#pulse.disk(() => this.#inner.makeDirectory(path));
  }

  rename(from: string, to: string): void {
    this.#pulse.disk(() => this.#inner.rename(from, to));
  }

  remove(path: string): void {
    this.#pulse.disk(() => this.#inner.remove(path));
  }

  removeTree(path: string): void {
    this.#pulse.disk(() => this.#inner.removeTree(path));
  }

  link(from: string, to: string): void {
    this.#pulse.disk(() => this.#inner.link(from, to));
  }

  sizeBytes(path: string): number {
    return this.#pulse.disk(() => this.#inner.sizeBytes(path));
  }

  isDirectory(path: string): boolean {
    return this.#pulse.disk(() => this.#inner.isDirectory(path));
  }

  syncDirectory(path: string): void {
    this.#pulse.disk(() => this.#inner.syncDirectory(path));
  }

  freeBytes(directory: string): number {
    return this.#pulse.disk(() => this.#inner.freeBytes(directory));
  }
}

function pulsingHandle(inner: FileHandle, pulse: LanePulse): FileHandle {
  return {
    path: inner.path,
    read: (target, position) => pulse.disk(() => inner.read(target, position)),
    write: (chunks, position) => pulse.disk(() => inner.write(chunks, position)),
    datasync: () => pulse.disk(() => inner.datasync()),
    sync: () => pulse.disk(() => inner.sync()),
    truncate: (sizeBytes) => pulse.disk(() => inner.truncate(sizeBytes)),
    sizeBytes: () => pulse.disk(() => inner.sizeBytes()),
    close: () => pulse.disk(() => inner.close()),
  };
}
