/**
 * Makes one sealed segment whole again from the copies of peers. Sealed segments are equal on every
 * replica, so what is fetched is only what is bad: a few blocks, or all of a file that is gone or
 * is another file. The copy is proven by the checksum that the manifest of this node names, from
 * the disk, before it takes the name.
 *
 * Whom it asks: those whose whole file has the checksum first, among them the one that has applied
 * most (the lowest lag); those whose own copy is damaged elsewhere come last, for the blocks that
 * nobody else has. So copies that are damaged in different places heal each other.
 */

import type { Logger, Member, NodeId } from '@holdfast/base';
import { failpoint } from '@holdfast/base';
import type { BlockResponse, CareFile } from '@holdfast/protocol';
import { CARE_BLOCK_COUNT_MAX } from '@holdfast/protocol';
import type { RowsInBlocks } from '@holdfast/shard-worker';
import { rowsInBlocks, segmentPath } from '@holdfast/shard-worker';
import type { FileSystem } from '@holdfast/storage';
import {
  BlockFilePatch,
  type BlockFileShape,
  badBlockSteps,
  digestSteps,
  joinPath,
  REPAIR_DIRECTORY_NAME,
} from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import { inSlices } from '../replica/slices.ts';
import type { TransferBudget } from '../replica/transfer-budget.ts';
import type { BlockClient } from './block-client.ts';
import { shapeOrNull } from './block-responder.ts';
import type { Quarantine } from './quarantine.ts';

export interface SegmentRepairParts {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly client: Pick<BlockClient, 'ask'>;
  readonly quarantine: Quarantine;
  readonly budget: TransferBudget;
  readonly pause: Pause;
  readonly logger: Logger;
}

export type SegmentRepairResult =
  /** Nothing was wrong (any more). */
  | { readonly kind: 'sound' }
  | {
      readonly kind: 'repaired';
      /** Who gave something, most useful first. */
      readonly sources: readonly NodeId[];
      readonly bytesMoved: number;
      readonly blockCount: number;
    }
  /**
   * Try again later: a peer was silent, or has not written the file yet. `isNowhere`: none of those
   * who answered has the file, and they are a majority with this node. More is not asked for: a
   * member that is gone for good, or lives on as another, would be waited for without end.
   */
  | { readonly kind: 'postponed'; readonly what: string; readonly isNowhere: boolean }
  /** Every member answered, and none has these blocks of this file. */
  | {
      readonly kind: 'lost';
      readonly what: string;
      readonly blocks: readonly number[];
      /** Points in these blocks, as far as this copy tells. */
      readonly rows: RowsInBlocks;
    };

interface Offer {
  readonly peer: Member;
  readonly answer: BlockResponse;
}

/** What one attempt needs to know. */
interface Plan {
  readonly file: CareFile;
  readonly path: string;
  readonly shape: BlockFileShape;
  readonly sources: readonly Offer[];
  readonly isEveryoneHeard: boolean;
}

/** @throws HoldfastError FILE_IO */
export async function repairSegment(
  parts: SegmentRepairParts,
  file: CareFile,
  peers: readonly Member[],
): Promise<SegmentRepairResult> {
  const { dataDirectory, fileSystem, pause } = parts;
  const path = joinPath(dataDirectory, segmentPath(file.uid, file.shard, file.ordinal));
  const isSound = fileSystem.exists(path) && (await digestOf(parts, path)) === file.checksum;
  if (isSound) return { kind: 'sound' };
  const asked = await Promise.all(
    peers.map(async (peer) => ({ peer, answer: await parts.client.ask(peer, file, []) })),
  );
  const offers = asked.flatMap(({ peer, answer }) =>
    answer?.outcome === 'blocks' ? [{ peer, answer }] : [],
  );
  const silent = asked.filter(({ answer }) => answer === null || answer.outcome === 'busy');
  const isEveryoneHeard = silent.length === 0;
  const isMajorityHeard = silent.length * 2 < peers.length + 1;
  const sources = offers.toSorted(byUsefulness);
  const shape = sources.length === 0 ? null : chooseShape(parts, path, sources);
  if (shape === null) {
    const isNowhere = isMajorityHeard && peers.length > 0;
    return { kind: 'postponed', what: 'no other member has the file now', isNowhere };
  }
  const plan: Plan = { file, path, shape, sources, isEveryoneHeard };
  const bad = await inSlices(badBlockSteps(fileSystem, path, shape), pause);
  const first = await attempt(parts, plan, bad);
  if (first !== 'mismatch') return first;
  // Every block passes its checksum and the whole does not: another file stands there.
  const all = Array.from({ length: shape.blockCount }, (_, i) => i);
  const second = await attempt(parts, plan, all);
  if (second !== 'mismatch') return second;
  const what = 'what the others have is not the file that is wanted';
  return { kind: 'postponed', what, isNowhere: isMajorityHeard };
}

/** The whole copies first, then whoever has applied most; names decide what is left. */
function byUsefulness(left: Offer, right: Offer): number {
  if (left.answer.isWhole !== right.answer.isWhole) return left.answer.isWhole ? -1 : 1;
  if (left.answer.appliedIndex !== right.answer.appliedIndex) {
    return right.answer.appliedIndex - left.answer.appliedIndex;
  }
  return left.peer.nodeId < right.peer.nodeId ? -1 : 1;
}

/** A whole copy knows its header best; then ours; then any that passes its checksum. */
function chooseShape(
  { fileSystem }: SegmentRepairParts,
  path: string,
  sources: readonly Offer[],
): BlockFileShape | null {
  const [best] = sources;
  if (best?.answer.isWhole === true) return shapeOf(best.answer, path);
  const own = ownShape(fileSystem, path);
  if (own !== null) return own;
  const other = sources.find(({ answer }) => answer.header.byteLength > 0);
  return other === undefined ? null : shapeOf(other.answer, path);
}

function ownShape(fileSystem: FileSystem, path: string): BlockFileShape | null {
  if (!fileSystem.exists(path)) return null;
  const handle = fileSystem.open(path, 'read');
  try {
    return shapeOrNull(handle, path);
  } finally {
    handle.close();
  }
}

function shapeOf({ header }: BlockResponse, path: string): BlockFileShape | null {
  const handle = { path, read: (target: Uint8Array) => copyInto(target, header) };
  return shapeOrNull(handle, path);
}

function copyInto(target: Uint8Array, source: Uint8Array): number {
  const count = Math.min(target.byteLength, source.byteLength);
  target.set(source.subarray(0, count));
  return count;
}

async function attempt(
  parts: SegmentRepairParts,
  plan: Plan,
  bad: readonly number[],
): Promise<SegmentRepairResult | 'mismatch'> {
  const { dataDirectory, fileSystem, pause } = parts;
  const { file, path, shape } = plan;
  const directory = joinPath(dataDirectory, REPAIR_DIRECTORY_NAME);
  fileSystem.makeDirectory(directory);
  const name = `${file.uid}-${file.shard}-${file.ordinal}`;
  const place = { path, temporaryPath: joinPath(directory, name) };
  const patch = new BlockFilePatch(fileSystem, place, shape);
  try {
    const goneBad = await inSlices(patch.copyRest(new Set(bad)), pause);
    const wanted = [...bad, ...goneBad].toSorted((left, right) => left - right);
    const fetched = await fetchBlocks(parts, plan, wanted, patch);
    failpoint('repair.blocks-fetched');
    if (fetched.missing.length > 0) return await withoutBlocks(parts, plan, fetched.missing);
    if (!(await inSlices(patch.prove(file.checksum), pause))) return 'mismatch';
    keepDamaged(parts, plan, wanted);
    makeParent(fileSystem, path);
    failpoint('repair.before-install');
    patch.install();
    failpoint('repair.after-install');
    const { bytesMoved, sources } = fetched;
    return { kind: 'repaired', sources, bytesMoved, blockCount: wanted.length };
  } finally {
    patch.abandon();
  }
}

interface Fetched {
  readonly missing: readonly number[];
  readonly sources: readonly NodeId[];
  readonly bytesMoved: number;
}

/** Asks each source for what the ones before it did not give. */
async function fetchBlocks(
  { budget, client }: SegmentRepairParts,
  { file, shape, sources }: Plan,
  wanted: readonly number[],
  patch: BlockFilePatch,
): Promise<Fetched> {
  let missing: readonly number[] = wanted;
  let bytesMoved = 0;
  const helpers: NodeId[] = [];
  for (const { peer } of sources) {
    const left: number[] = [];
    for (let at = 0; at < missing.length; at += CARE_BLOCK_COUNT_MAX) {
      const numbers = missing.slice(at, at + CARE_BLOCK_COUNT_MAX);
      await budget.take(numbers.reduce((sum, number) => sum + shape.sizeOf(number), 0));
      const answer = await client.ask(peer, file, numbers);
      const given = new Map(answer?.blocks.map(({ number, bytes }) => [number, bytes]));
      for (const number of numbers) {
        const bytes = given.get(number);
        if (bytes === undefined || !shape.isSound(number, bytes)) {
          left.push(number);
          continue;
        }
        patch.put(number, bytes);
        bytesMoved += bytes.byteLength;
        if (!helpers.includes(peer.nodeId)) helpers.push(peer.nodeId);
      }
    }
    missing = left;
  }
  return { missing, sources: helpers, bytesMoved };
}

async function withoutBlocks(
  { fileSystem, pause }: SegmentRepairParts,
  { isEveryoneHeard, path, shape, sources }: Plan,
  blocks: readonly number[],
): Promise<SegmentRepairResult> {
  // A whole copy that did not give all of it just now will give it the next time.
  const isLost = isEveryoneHeard && sources.length > 0 && !sources[0]?.answer.isWhole;
  const what = `${blocks.length} blocks are damaged in every copy that could be asked`;
  if (!isLost) return { kind: 'postponed', what, isNowhere: false };
  const rows = await inSlices(rowsInBlocks(fileSystem, path, shape, blocks), pause);
  return { kind: 'lost', what, blocks, rows };
}

/** Few bad blocks are kept by themselves; of another file all of it. */
function keepDamaged(parts: SegmentRepairParts, plan: Plan, bad: readonly number[]): void {
  const { uid, shard, ordinal } = plan.file;
  const reason = {
    path: segmentPath(uid, shard, ordinal),
    what: `${bad.length} of ${plan.shape.blockCount} blocks are damaged`,
    action: 'replaced by blocks of other replicas',
  };
  if (bad.length * 2 <= plan.shape.blockCount) parts.quarantine.keepBlocks(reason, plan.shape, bad);
  else parts.quarantine.keepFile(reason);
}

function makeParent(fileSystem: FileSystem, path: string): void {
  const parent = path.slice(0, path.lastIndexOf('/'));
  if (!fileSystem.exists(parent)) fileSystem.makeDirectory(parent);
}

const digestOf = ({ fileSystem, pause }: SegmentRepairParts, path: string): Promise<string> =>
  inSlices(digestSteps(fileSystem, path), pause);
