/**
 * Term and vote of every group, twice: two files, written and synced one after the other, after
 * the batch with the record and before that batch is reported. So every valid copy is at least as
 * new as what anybody was told, but for the one being written; a bad copy is as good as none, and
 * the other one and the log decide.
 *
 * File: slots of 512 bytes. The first is the header (how many slots were filled when the file was
 * made); the others hold one group each and are overwritten in place. Both files are replaced, one
 * after the other, at every start: that repairs a bad copy, and nothing read from the page cache
 * of an earlier process is trusted.
 */
import type { GroupId, HardState, NodeId, Term } from '@holdfast/base';
import {
  assert,
  failpoint,
  groupId,
  HoldfastError,
  isNodeId,
  readU64,
  term,
  writeU64,
} from '@holdfast/base';
import { writeAtomicFile } from '../atomic-file.ts';
import { crc32c } from '../checksum.ts';
import type { FileHandle, FileSystem } from '../fs.ts';
import { joinPath, readWholeFile } from '../fs.ts';

export const HARD_STATE_FILE_NAMES = ['TERM-A', 'TERM-B'] as const;
const FORMAT_VERSION = 1;
/** Bytes 'HFTH' and 'HFTV'. */
const HEADER_MAGIC = 0x4854_4648;
const SLOT_MAGIC = 0x5654_4648;
const SLOT_SIZE_BYTES = 512;
const CHECKSUM_OFFSET = SLOT_SIZE_BYTES - 4;
const VOTE_OFFSET = 24;

export interface TermAndVote {
  readonly term: Term;
  readonly vote: NodeId | null;
}

/** 'unknown' is written down too: a start must not forget that the newest pair was lost. */
export type CopiedHardState = TermAndVote | 'unknown';

export interface FoundCopies {
  readonly byGroup: ReadonlyMap<GroupId, CopiedHardState>;
  /** A slot is bad in both files: some group's pair may be lost. */
  readonly hasUnreadable: boolean;
  /** Names of the files that are missing or have anything bad in them, for people. */
  readonly badFiles: readonly string[];
}

/** Reads both files; changes nothing. @throws HoldfastError FORMAT_UNKNOWN, FILE_IO */
export function readHardStateCopies(fileSystem: FileSystem, directory: string): FoundCopies {
  const files = HARD_STATE_FILE_NAMES.map((name) => readFile(fileSystem, directory, name));
  const byGroup = new Map<GroupId, CopiedHardState>();
  const slotCount = Math.max(...files.map(({ slots }) => slots.length));
  const filledCount = Math.max(...files.map((file) => file.filledCount ?? 0));
  let hasUnreadable = files.every((file) => file.filledCount === null);
  const bad = new Set<string>(
    files.flatMap((file) => (file.filledCount === null ? file.name : [])),
  );
  for (let slot = 0; slot < slotCount; slot++) {
    let hasValid = false;
    let isUsed = slot < filledCount;
    for (const { name, slots } of files) {
      const found = slots[slot] ?? 'empty';
      if (found === 'bad' || (found === 'empty' && slot < filledCount)) bad.add(name);
      if (found === 'bad') isUsed = true;
      if (typeof found === 'string') continue;
      hasValid = true;
      byGroup.set(found.group, newer(byGroup.get(found.group), found.state));
    }
    if (isUsed && !hasValid) hasUnreadable = true;
  }
  return { byGroup, hasUnreadable, badFiles: [...bad].sort() };
}

/**
 * True when the copy of that name lacks what `known` was promised: it is older, or does not list a
 * group. A bad copy is not older: that is found by `readHardStateCopies`.
 * @throws HoldfastError FORMAT_UNKNOWN, FILE_IO
 */
export function isHardStateCopyOld(
  fileSystem: FileSystem,
  directory: string,
  name: string,
  known: ReadonlyMap<GroupId, TermAndVote>,
): boolean {
  const { slots } = readFile(fileSystem, directory, name);
  if (slots.includes('bad')) return false;
  const found = new Map<GroupId, CopiedHardState>();
  for (const slot of slots) if (typeof slot !== 'string') found.set(slot.group, slot.state);
  return [...known].some(([group, state]) => {
    const copied = found.get(group);
    if (copied === undefined) return true;
    if (copied === 'unknown') return false;
    const isWithoutVote = copied.term === state.term && copied.vote === null;
    return copied.term < state.term || (isWithoutVote && state.vote !== null);
  });
}

/** Replaces both files, one after the other: a whole one is there at every moment. */
export function makeHardStateCopies(
  fileSystem: FileSystem,
  directory: string,
  states: readonly (readonly [GroupId, CopiedHardState])[],
): void {
  const header = new Uint8Array(SLOT_SIZE_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, HEADER_MAGIC, true);
  view.setUint16(4, FORMAT_VERSION, true);
  view.setUint32(8, states.length, true);
  seal(header);
  const slots = states.map(([group, state]) => encodeSlot(group, state));
  for (const name of HARD_STATE_FILE_NAMES) {
    writeAtomicFile(fileSystem, joinPath(directory, name), [header, ...slots]);
  }
}

/** Writes changed pairs while the log runs. */
export class HardStateWriter {
  readonly #handles: readonly FileHandle[];
  readonly #slots: GroupId[];

  /** `groups` in the order of their slots. */
  constructor(fileSystem: FileSystem, directory: string, groups: readonly GroupId[]) {
    this.#handles = HARD_STATE_FILE_NAMES.map((name) =>
      fileSystem.open(joinPath(directory, name), 'readWrite'),
    );
    this.#slots = [...groups];
  }

  get slots(): readonly GroupId[] {
    return this.#slots;
  }

  /**
   * Durable in both files when it returns; returns the number of syncs.
   * @throws HoldfastError FILE_IO: stop, do not retry
   */
  write(changes: ReadonlyMap<GroupId, TermAndVote>): number {
    if (changes.size === 0) return 0;
    for (const group of changes.keys()) if (!this.#slots.includes(group)) this.#slots.push(group);
    for (const handle of this.#handles) {
      for (const [group, state] of changes) {
        const position = (1 + this.#slots.indexOf(group)) * SLOT_SIZE_BYTES;
        handle.write([encodeSlot(group, state)], position);
      }
      handle.datasync();
      failpoint('wal.hard-state-between-copies');
    }
    failpoint('wal.hard-state-written');
    return this.#handles.length;
  }

  close(): void {
    for (const handle of this.#handles) handle.close();
  }
}

/** The one that was promised last. Within a term a vote is given once and never changed. */
export function newer(left: CopiedHardState | undefined, right: CopiedHardState): CopiedHardState {
  if (left === undefined) return right;
  if (left === 'unknown' || right === 'unknown') return 'unknown';
  if (left.term !== right.term) return left.term > right.term ? left : right;
  return left.vote === null ? right : left;
}

export const termAndVote = ({ term: inTerm, vote }: HardState): TermAndVote => ({
  term: inTerm,
  vote,
});

type Slot = { readonly group: GroupId; readonly state: CopiedHardState } | 'bad' | 'empty';

interface CopyFile {
  readonly name: string;
  /** Null when the header is bad or the file is missing. */
  readonly filledCount: number | null;
  readonly slots: readonly Slot[];
}

function readFile(fileSystem: FileSystem, directory: string, name: string): CopyFile {
  const path = joinPath(directory, name);
  if (!fileSystem.exists(path)) return { name, filledCount: null, slots: [] };
  const bytes = readWholeFile(fileSystem, path);
  const slots: Slot[] = [];
  for (let at = SLOT_SIZE_BYTES; at < bytes.byteLength; at += SLOT_SIZE_BYTES) {
    slots.push(decodeSlot(bytes.subarray(at, at + SLOT_SIZE_BYTES)));
  }
  const header = bytes.subarray(0, SLOT_SIZE_BYTES);
  if (!isSealed(header)) return { name, filledCount: null, slots };
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (view.getUint32(0, true) !== HEADER_MAGIC) return { name, filledCount: null, slots };
  const version = view.getUint16(4, true);
  if (version !== FORMAT_VERSION) {
    const message = `${path} has the unknown version ${version}: upgrade this node`;
    throw new HoldfastError('FORMAT_UNKNOWN', message, { details: { file: path, version } });
  }
  return { name, filledCount: view.getUint32(8, true), slots };
}

function encodeSlot(group: GroupId, state: CopiedHardState): Uint8Array {
  const bytes = new Uint8Array(SLOT_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  const vote = Buffer.from(state === 'unknown' ? '' : (state.vote ?? ''), 'utf8');
  assert(VOTE_OFFSET + vote.byteLength <= CHECKSUM_OFFSET, 'a vote fits its slot', { group });
  view.setUint32(0, SLOT_MAGIC, true);
  view.setUint16(4, state === 'unknown' ? 1 : 0, true);
  view.setUint16(6, vote.byteLength, true);
  view.setUint32(8, group, true);
  writeU64(view, 16, state === 'unknown' ? 0 : state.term);
  bytes.set(vote, VOTE_OFFSET);
  seal(bytes);
  return bytes;
}

function decodeSlot(bytes: Uint8Array): Slot {
  if (bytes.every((byte) => byte === 0)) return 'empty';
  if (!isSealed(bytes)) return 'bad';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== SLOT_MAGIC) return 'bad';
  const group = groupId(view.getUint32(8, true));
  if (view.getUint16(4, true) === 1) return { group, state: 'unknown' };
  const end = VOTE_OFFSET + view.getUint16(6, true);
  const vote = Buffer.from(bytes.subarray(VOTE_OFFSET, end)).toString('utf8');
  if (vote !== '' && !isNodeId(vote)) return 'bad';
  const state = { term: term(readU64(view, 16)), vote: vote === '' ? null : (vote as NodeId) };
  return { group, state };
}

function seal(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(CHECKSUM_OFFSET, crc32c(bytes.subarray(0, CHECKSUM_OFFSET)), true);
}

function isSealed(bytes: Uint8Array): boolean {
  if (bytes.byteLength !== SLOT_SIZE_BYTES) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(CHECKSUM_OFFSET, true) === crc32c(bytes.subarray(0, CHECKSUM_OFFSET));
}
