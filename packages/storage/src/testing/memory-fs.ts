/**
 * A file system in memory that forgets like a real one: file bytes survive a power cut only after
 * a sync of the file, names only after a sync of their directory. What was not synced may survive
 * anyway, in any combination, chosen by seed. Faults come from the FaultPlan.
 *
 * Model: a change of names (create, rename, remove, link) is one atomic operation that becomes
 * durable when any directory it touches is synced; a crash keeps an arbitrary subset, in order.
 *
 * Over 400 lines because names, files and what a crash leaves of both are one model.
 */
import type { Random } from '@holdfast/base';
import { assert, must, SeededRandom } from '@holdfast/base';
import type { FileHandle, FileSystem, OpenMode } from '../fs.ts';
import { baseName, fileIoError, joinPath, parentDirectory } from '../fs.ts';
import type { FileOperation } from './fault-plan.ts';
import { CrashSignal, FaultPlan } from './fault-plan.ts';
import type { CrashPolicy } from './memory-file.ts';
import { MemoryFile, SECTOR_SIZE_BYTES } from './memory-file.ts';

class MemoryDirectory {
  readonly entries = new Map<string, MemoryNode>();
  readonly durableEntries = new Map<string, MemoryNode>();
}
type MemoryNode = MemoryFile | MemoryDirectory;

interface NameChange {
  readonly directory: MemoryDirectory;
  readonly name: string;
  readonly node: MemoryNode | null;
}

const ERRNO = {
  EIO: -5,
  EBADF: -9,
  ENOENT: -2,
  EEXIST: -17,
  ENOTDIR: -20,
  EISDIR: -21,
  ENOSPC: -28,
  EDQUOT: -122,
} as const;

/** Node has no name for it. */
const CODE_OF_EDQUOT = 'Unknown system error -122';

export interface CrashOptions {
  readonly seed: number;
  /** What of the un-synced survives: nothing, a random subset of sectors and names, everything. */
  readonly keepUnsynced: 'none' | 'random' | 'all';
  /** Let some surviving sectors survive only up to a random byte. Default false. */
  readonly tearsSectors?: boolean;
}

export class MemoryFileSystem implements FileSystem {
  readonly faults = new FaultPlan();
  /** ENOSPC once files would hold more bytes than this in total. */
  capacityBytes = Number.POSITIVE_INFINITY;
  #root = new MemoryDirectory();
  #pendingChanges: (readonly NameChange[])[] = [];
  /** Handles of an earlier boot are dead. */
  #boot = 0;

  get operationCount(): number {
    return this.faults.operationCount;
  }

  /** See FaultPlan.crashAtOperation. */
  crashAtOperation(operationNumber: number): void {
    this.faults.crashAtOperation(operationNumber);
  }

  /** Power cut and new start: forgets what was not synced, kills all handles, clears the faults. */
  crash(options: CrashOptions): void {
    const random = new SeededRandom(options.seed);
    const policy = crashPolicy(options, random);
    for (const changes of this.#pendingChanges) {
      if (policy.keeps()) for (const change of changes) applyDurably(change);
    }
    this.#pendingChanges = [];
    const seen = new Set<MemoryNode>();
    crashTree(this.#root, policy, seen);
    this.crashProcess();
  }

  /** kill -9: handles die, the page cache stays as it is, nothing becomes more durable. */
  crashProcess(): void {
    this.#boot += 1;
    this.faults.reset();
  }

  /** An independent copy, with the un-synced state, without faults and handles. */
  clone(): MemoryFileSystem {
    const copy = new MemoryFileSystem();
    const copies = new Map<MemoryNode, MemoryNode>();
    copy.capacityBytes = this.capacityBytes;
    copy.#root = cloneNode(this.#root, copies) as MemoryDirectory;
    copy.#pendingChanges = this.#pendingChanges.map((changes) =>
      changes.map(({ directory, name, node }) => ({
        directory: cloneNode(directory, copies) as MemoryDirectory,
        name,
        node: node === null ? null : cloneNode(node, copies),
      })),
    );
    return copy;
  }

  /** Rot at rest: flips one bit, past every cache. */
  flipBit(path: string, position: number, bit = 0): void {
    const file = this.#file('read', path);
    assert(position < file.sizeBytes, 'bit must be inside the file', { path, position });
    file.flipBit(position, bit);
  }

  /** Somebody else's hand: the content is this from now on, durably, past faults and caches. */
  tamper(path: string, bytes: Uint8Array): void {
    const file = this.#file('read', path);
    file.truncate(0);
    file.write(bytes, 0);
    file.sync();
  }

  /** Somebody else's hand: the name is gone, durably. Open handles keep the file. */
  lose(path: string): void {
    const { directory, name } = this.#place('remove', path);
    directory.entries.delete(name);
    directory.durableEntries.delete(name);
  }

  /** What a read of the whole file gives, past faults. */
  contentOf(path: string): Uint8Array {
    const file = this.#file('read', path);
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(bytes, 0);
    return bytes;
  }

  /** Every file below `directory`, by path, with its size. */
  files(directory = '/'): readonly { readonly path: string; readonly sizeBytes: number }[] {
    return this.list(directory).flatMap((name) => {
      const path = joinPath(directory, name);
      if (this.isDirectory(path)) return this.files(path);
      return [{ path, sizeBytes: this.sizeBytes(path) }];
    });
  }

  /**
   * Rot at rest, drawn from `random`: one bit, or one whole sector of zeros, at a place of a file
   * below `directory` that is not zero. Returns the place, or null when there is none.
   */
  corrupt(random: Random, directory: string): { path: string; position: number } | null {
    const files = this.files(directory);
    if (files.length === 0) return null;
    const { path } = must(files[random.nextBelow(files.length)]);
    const file = this.#file('read', path);
    const sectors = file.writtenSectors();
    if (sectors.length === 0) return null;
    const start = must(sectors[random.nextBelow(sectors.length)]) * SECTOR_SIZE_BYTES;
    const position = start + random.nextBelow(Math.min(SECTOR_SIZE_BYTES, file.sizeBytes - start));
    if (random.nextBelow(4) === 0) file.eraseSector(start / SECTOR_SIZE_BYTES);
    else file.flipBit(position, random.nextBelow(8));
    return { path, position };
  }

  open(path: string, mode: OpenMode): FileHandle {
    if (mode !== 'createNew') {
      if (this.faults.hasCrashed) throw new CrashSignal(`open of ${path} after the crash`);
      return this.#handle(path, this.#file('open', path));
    }
    this.#before('open', path);
    const { directory, name } = this.#place('open', path);
    if (directory.entries.has(name)) throw refuse('open', path, 'EEXIST');
    const file = new MemoryFile();
    this.#change([{ directory, name, node: file }]);
    return this.#handle(path, file);
  }

  exists(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  list(directory: string): readonly string[] {
    return [...this.#directory('open', directory).entries.keys()].sort();
  }

  makeDirectory(path: string): void {
    this.#before('makeDirectory', path);
    const parent = parentDirectory(path);
    if (this.#find(path) === undefined) {
      if (parent !== path && this.#find(parent) === undefined) this.makeDirectory(parent);
      const { directory, name } = this.#place('makeDirectory', path);
      this.#change([{ directory, name, node: new MemoryDirectory() }]);
    }
    this.syncDirectory(parent);
  }

  rename(from: string, to: string): void {
    this.#before('rename', from);
    const source = this.#place('rename', from);
    const target = this.#place('rename', to);
    const node = source.directory.entries.get(source.name);
    if (node === undefined) throw refuse('rename', from, 'ENOENT');
    this.#change([
      { ...source, node: null },
      { ...target, node },
    ]);
  }

  remove(path: string): void {
    this.#before('remove', path);
    const place = this.#place('remove', path);
    const node = place.directory.entries.get(place.name);
    if (node === undefined) throw refuse('remove', path, 'ENOENT');
    if (node instanceof MemoryDirectory) throw refuse('remove', path, 'EISDIR');
    this.#change([{ ...place, node: null }]);
  }

  removeTree(path: string): void {
    this.#before('remove', path);
    const node = this.#find(path);
    if (node === undefined) return;
    if (node instanceof MemoryDirectory) {
      for (const name of [...node.entries.keys()].sort()) this.removeTree(joinPath(path, name));
    }
    this.#change([{ ...this.#place('remove', path), node: null }]);
  }

  link(from: string, to: string): void {
    this.#before('link', to);
    const node = this.#file('link', from);
    const target = this.#place('link', to);
    if (target.directory.entries.has(target.name)) throw refuse('link', to, 'EEXIST');
    this.#change([{ ...target, node }]);
  }

  sizeBytes(path: string): number {
    return this.#file('open', path).sizeBytes;
  }

  isDirectory(path: string): boolean {
    return this.#find(path) instanceof MemoryDirectory;
  }

  syncDirectory(path: string): void {
    const fault = this.#before('syncDirectory', path);
    if (fault === 'lie') return;
    const directory = this.#directory('syncDirectory', path);
    this.#pendingChanges = this.#pendingChanges.filter((changes) => {
      if (!changes.some((change) => change.directory === directory)) return true;
      for (const change of changes) applyDurably(change);
      return false;
    });
  }

  freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.usedBytes());
  }

  #handle(path: string, file: MemoryFile): FileHandle {
    const boot = this.#boot;
    let isOpen = true;
    const use = (operation: FileOperation): ReturnType<FaultPlan['next']> => {
      if (boot !== this.#boot) throw new CrashSignal(`handle of ${path} is from before a crash`);
      if (!isOpen) throw refuse(operation, path, 'EBADF');
      return this.#before(operation, path);
    };
    const sync = (): void => {
      if (boot !== this.#boot) throw new CrashSignal(`handle of ${path} is from before a crash`);
      if (!isOpen) throw refuse('sync', path, 'EBADF');
      const fault = this.faults.next('sync', path);
      if (isRefusal(fault)) {
        file.failSync();
        throw refuse('sync', path, fault);
      }
      if (fault !== 'lie') file.sync();
    };
    return {
      path,
      read: (target, position) => {
        const isFlipped = use('read') === 'flipBit';
        const count = file.read(target, position);
        if (isFlipped && count > 0) target[count >> 1]! ^= 0x10;
        return count;
      },
      write: (chunks, position) => {
        use('write');
        this.#write(file, path, chunks, position);
      },
      datasync: sync,
      sync,
      truncate: (sizeBytes) => {
        use('truncate');
        file.truncate(sizeBytes);
      },
      sizeBytes: () => file.sizeBytes,
      close: () => {
        isOpen = false;
      },
    };
  }

  #write(file: MemoryFile, path: string, chunks: readonly Uint8Array[], position: number): void {
    let at = position;
    for (const chunk of chunks) {
      const growth = Math.max(0, at + chunk.byteLength - file.sizeBytes);
      const free = Number.isFinite(this.capacityBytes) ? this.freeBytes() : growth;
      if (growth > free) {
        file.write(chunk.subarray(0, Math.max(0, chunk.byteLength - (growth - free))), at);
        throw refuse('write', path, 'ENOSPC');
      }
      file.write(chunk, at);
      at += chunk.byteLength;
    }
  }

  #before(operation: FileOperation, path: string): ReturnType<FaultPlan['next']> {
    const fault = this.faults.next(operation, path);
    if (isRefusal(fault)) throw refuse(operation, path, fault);
    return fault;
  }

  #change(changes: readonly NameChange[]): void {
    for (const { directory, name, node } of changes) {
      if (node === null) directory.entries.delete(name);
      else directory.entries.set(name, node);
    }
    this.#pendingChanges.push(changes);
  }

  #find(path: string): MemoryNode | undefined {
    let node: MemoryNode = this.#root;
    for (const part of path.split('/')) {
      if (part === '' || part === '.') continue;
      if (!(node instanceof MemoryDirectory)) return undefined;
      const next = node.entries.get(part);
      if (next === undefined) return undefined;
      node = next;
    }
    return node;
  }

  #file(operation: FileOperation, path: string): MemoryFile {
    const node = this.#find(path);
    if (node === undefined) throw refuse(operation, path, 'ENOENT');
    if (node instanceof MemoryDirectory) throw refuse(operation, path, 'EISDIR');
    return node;
  }

  #directory(operation: FileOperation, path: string): MemoryDirectory {
    const node = this.#find(path);
    if (node === undefined) throw refuse(operation, path, 'ENOENT');
    if (!(node instanceof MemoryDirectory)) throw refuse(operation, path, 'ENOTDIR');
    return node;
  }

  #place(operation: FileOperation, path: string): { directory: MemoryDirectory; name: string } {
    const directory = this.#directory(operation, parentDirectory(path));
    return { directory, name: baseName(path) };
  }

  /** Sum of the sizes of all files. */
  usedBytes(): number {
    const files = new Set<MemoryFile>();
    const visit = (directory: MemoryDirectory): void => {
      for (const node of directory.entries.values()) {
        if (node instanceof MemoryDirectory) visit(node);
        else files.add(node);
      }
    };
    visit(this.#root);
    return [...files].reduce((sum, file) => sum + file.sizeBytes, 0);
  }
}

function crashPolicy(options: CrashOptions, random: SeededRandom): CrashPolicy {
  const tearsSectors = options.tearsSectors ?? false;
  // The odds differ from crash to crash, so that nearly-all and nearly-nothing both occur.
  const survivalRate = random.nextFloat();
  const keeps = (): boolean => {
    if (options.keepUnsynced === 'none') return false;
    return options.keepUnsynced === 'all' || random.nextFloat() < survivalRate;
  };
  return { keeps, random, tearsSectors };
}

function applyDurably({ directory, name, node }: NameChange): void {
  if (node === null) directory.durableEntries.delete(name);
  else directory.durableEntries.set(name, node);
}

function crashTree(directory: MemoryDirectory, policy: CrashPolicy, seen: Set<MemoryNode>): void {
  directory.entries.clear();
  for (const name of [...directory.durableEntries.keys()].sort()) {
    const node = must(directory.durableEntries.get(name));
    directory.entries.set(name, node);
    if (seen.has(node)) continue;
    seen.add(node);
    if (node instanceof MemoryDirectory) crashTree(node, policy, seen);
    else node.crash(policy);
  }
}

function cloneNode(node: MemoryNode, copies: Map<MemoryNode, MemoryNode>): MemoryNode {
  const known = copies.get(node);
  if (known !== undefined) return known;
  if (node instanceof MemoryFile) {
    const copy = node.clone();
    copies.set(node, copy);
    return copy;
  }
  const copy = new MemoryDirectory();
  copies.set(node, copy);
  for (const [name, child] of node.entries) copy.entries.set(name, cloneNode(child, copies));
  for (const [name, child] of node.durableEntries) {
    copy.durableEntries.set(name, cloneNode(child, copies));
  }
  return copy;
}

function refuse(operation: string, path: string, code: keyof typeof ERRNO) {
  const name = code === 'EDQUOT' ? CODE_OF_EDQUOT : code;
  return fileIoError({ operation, path, code: name, errno: ERRNO[code] });
}

type Fault = ReturnType<FaultPlan['next']>;

const isRefusal = (fault: Fault): fault is 'EIO' | 'ENOSPC' | 'EDQUOT' =>
  fault === 'EIO' || fault === 'ENOSPC' || fault === 'EDQUOT';
