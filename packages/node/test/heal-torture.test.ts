/**
 * Goal: damage of any kind, to any file, of one or two of three nodes at a time, while points are
 * written: every one is found by name, all are repaired, no point is lost or wrong, and the disks
 * are sound after that.
 * Method: whole nodes on memory disks and virtual time; what is done where is drawn from a seed.
 * The same with real processes and disks is `npm run torture`.
 * Replay: HOLDFAST_SEED=7 HOLDFAST_SEEDS=1 node packages/node/dist/test/heal-torture.test.js
 */
import { SeededRandom } from '@holdfast/base';
import { type CheckpointRoot, fsckDataDirectory } from '@holdfast/storage';
import t, { type Test } from 'tap';
import type { RecoveryEvent } from '../src/heal/recovery-events.ts';
import { blockFiles } from '../src/heal/scrub-targets.ts';
import type { SimCluster, SimNode } from '../src/testing/sim-cluster.ts';
import {
  bytesOf,
  checkpointAll,
  clusterWithSegments,
  DATA,
  expectHealed,
  filesOf,
  overwrite,
  truncate,
  upsertBatch,
} from './support/healing.ts';

const FIRST_SEED = Number(process.env.HOLDFAST_SEED ?? 1);
const SEED_COUNT = Number(process.env.HOLDFAST_SEEDS ?? 3);
const ROUND_COUNT = 8;
const INJURY_COUNT_MAX = 4;
const PAGE_SIZE_BYTES = 4_096;
const BATCH_SIZE = 40;

/** Only one of these at a time in a node: the repair of one replaces the others. */
const OF_CHECKPOINT = /\.(grow|man|meta)$|^CHECKPOINT/;
const KINDS: readonly RegExp[] = [
  /\.seg$/,
  /\.wal$/,
  /\.grow$/,
  /\.man$/,
  /\.meta$/,
  /^CHECKPOINT$/,
  /^CHECKPOINT\.previous$/,
  /^identity/,
  /^wal\/EPOCH$/,
  /^wal\/TERM-[AB]$/,
];

interface Injury {
  readonly what: string;
  readonly path: string;
  /** False: the node has written something else there since, without having looked. */
  readonly isThere: () => boolean;
}

/** Older contents by path, of one node. */
type Archive = Map<string, Buffer[]>;

const DAMAGES = ['flip', 'truncate', 'zeroPage', 'swap', 'stale', 'delete'] as const;

class Torturer {
  readonly #random: SeededRandom;
  readonly #archives = new Map<string, Archive>();
  /** Rot of a log file stays until it goes and is told once, so each is hit once. */
  readonly #scars = new Set<string>();

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  below(limit: number): number {
    return this.#random.nextBelow(limit);
  }

  /** Keeps what will be old one day. */
  archive(node: SimNode): void {
    const archive = this.#archives.get(node.id) ?? new Map<string, Buffer[]>();
    this.#archives.set(node.id, archive);
    for (const path of filesOf(node, /./)) {
      const older = archive.get(path) ?? [];
      archive.set(path, [...older, bytesOf(node, path)].slice(-4));
    }
  }

  /** Damages up to a few files that are not in `taken`. */
  injure(node: SimNode, taken: Set<string>): readonly Injury[] {
    const injuries: Injury[] = [];
    const wanted = 1 + this.below(INJURY_COUNT_MAX);
    let isCheckpointTaken = false;
    let isVoteTaken = false;
    for (let attempt = 0; attempt < 40 && injuries.length < wanted; attempt++) {
      const paths = filesOf(node, KINDS[this.below(KINDS.length)]!).filter(isClaimed(node));
      const path = paths[this.below(Math.max(1, paths.length))];
      const isVote = path?.startsWith('wal/TERM') === true;
      if (path === undefined || taken.has(path) || (isVote && isVoteTaken)) continue;
      if (OF_CHECKPOINT.test(path) && isCheckpointTaken) continue;
      if (this.#scars.has(`${node.id} ${path}`)) continue;
      const kind = DAMAGES[this.below(DAMAGES.length)]!;
      const isThere = this.#damage(node, path, kind);
      if (isThere === null) continue;
      taken.add(path);
      if (path.endsWith('.wal')) this.#scars.add(`${node.id} ${path}`);
      isCheckpointTaken ||= OF_CHECKPOINT.test(path);
      isVoteTaken ||= isVote;
      injuries.push({ path, what: `${kind} of ${node.id} ${path}`, isThere });
    }
    return injuries;
  }

  /** Null when it cannot be done, or would change nothing that is claimed by anybody. */
  #damage(node: SimNode, path: string, kind: (typeof DAMAGES)[number]): (() => boolean) | null {
    const before = bytesOf(node, path);
    if (before.byteLength === 0) return null;
    const after = this.#injured(node, path, kind, before);
    if (after === null || after.equals(before)) return null;
    if (kind === 'delete') node.fileSystem.remove(`${DATA}/${path}`);
    else if (after.byteLength < before.byteLength) truncate(node, path, after.byteLength);
    if (kind !== 'delete' && after.byteLength > 0) overwrite(node, path, after);
    return () => isInjured(node, path, before, after);
  }

  #injured(
    node: SimNode,
    path: string,
    kind: (typeof DAMAGES)[number],
    before: Buffer,
  ): Buffer | null {
    const after = Buffer.from(before);
    const size = before.byteLength;
    switch (kind) {
      case 'flip': {
        const at = this.below(size);
        after[at]! ^= 1 << this.below(8);
        return after;
      }
      case 'truncate': {
        // Of a file made ahead nothing is claimed before it is used.
        if (isMadeAhead(node, path)) return null;
        return after.subarray(0, this.below(size));
      }
      case 'zeroPage': {
        const page = PAGE_SIZE_BYTES * this.below(Math.ceil(size / PAGE_SIZE_BYTES));
        return after.fill(0, page, Math.min(size, page + PAGE_SIZE_BYTES));
      }
      case 'swap': {
        const unit = [65_536, 4_096, 512, 64].find((one) => one * 2 <= size) ?? 0;
        if (unit === 0) return null;
        const [left, right] = [
          this.below(Math.floor(size / unit)),
          this.below(Math.floor(size / unit)),
        ];
        before.copy(after, left * unit, right * unit, (right + 1) * unit);
        before.copy(after, right * unit, left * unit, (left + 1) * unit);
        return after;
      }
      case 'stale': {
        if (isMadeAhead(node, path) || isActive(node, path)) return null;
        const older = this.#archives.get(node.id)?.get(path) ?? [];
        const found = older.filter((one) => !one.equals(before));
        return found[this.below(Math.max(1, found.length))] ?? null;
      }
      case 'delete':
        return isMadeAhead(node, path) ? null : Buffer.alloc(0);
    }
  }
}

/** Whether anything of what was done to the file is still to be seen. */
function isInjured(node: SimNode, path: string, before: Buffer, after: Buffer): boolean {
  if (!node.fileSystem.exists(`${DATA}/${path}`)) return true;
  const now = bytesOf(node, path);
  if (after.byteLength < before.byteLength) return now.byteLength <= after.byteLength;
  return after.some((byte, at) => byte !== before[at] && byte === now[at]);
}

/** A file that no checkpoint names yet is nobody's. */
function isClaimed({ fileSystem, node }: SimNode): (path: string) => boolean {
  const roots = (): readonly CheckpointRoot[] => node.replica.checkpointer.roots;
  const place = { fileSystem, dataDirectory: DATA, roots };
  const named = new Set(blockFiles(place).map(({ path }) => path));
  return (path) => named.has(path) || !/^(collections|meta)\//.test(path);
}

const newestLogFile = (node: SimNode): string =>
  `wal/${String(node.wal.files().at(-1)?.fileId).padStart(16, '0')}.wal`;
const isMadeAhead = (node: SimNode, path: string): boolean =>
  path.endsWith('.wal') && path > newestLogFile(node);
const isActive = (node: SimNode, path: string): boolean => path === newestLogFile(node);

/** A pass while points are written, and all that follows from it. */
async function scrubUnderLoad(
  cluster: SimCluster,
  node: SimNode,
  batch: number,
): Promise<readonly RecoveryEvent[]> {
  const { recoveries, scrubber } = node.node.care;
  if (scrubber === null) throw new Error('there is no scrubber');
  const before = recoveries.events().at(-1)?.number ?? 0;
  const pass = scrubber.run();
  await upsertBatch(cluster, batch);
  await cluster.scheduler.resolve(pass);
  await cluster.scheduler.resolve(recoveries.idle());
  return recoveries.events().filter(({ number }) => number > before);
}

const damageOf = (node: SimNode) =>
  fsckDataDirectory(node.fileSystem, DATA).filter(({ severity }) => severity === 'damage');

/** Two sound copies that differ do not say which of them is old: one is named for both. */
const twinOf = (path: string): string =>
  path.endsWith('TERM-B') ? path.replace('TERM-B', 'TERM-A') : path;

/** Each injury is named by a finding, and every finding ends well. */
function expectFound(t: Test, injuries: readonly Injury[], events: readonly RecoveryEvent[]): void {
  const found = new Set(events.flatMap(({ key, kind }) => (kind === 'found' ? [key] : [])));
  const recovered = new Set(events.flatMap(({ key, kind }) => (kind === 'recovered' ? [key] : [])));
  const unnamed = injuries.filter(
    ({ path }) => ![path, twinOf(path)].some((one) => found.has(one)),
  );
  const missed = unnamed.filter(({ isThere }) => isThere()).map(({ what }) => what);
  t.same(missed, [], 'every damage that was not written over first is found by name');
  const open = [...found].filter((key) => !recovered.has(key));
  t.same(open, [], 'and repaired');
  if (open.length > 0) t.comment(JSON.stringify(events.filter(({ key }) => open.includes(key))));
}

for (let seed = FIRST_SEED; seed < FIRST_SEED + SEED_COUNT; seed++) {
  t.test(`damage by chance is found and repaired under load (seed ${seed})`, async (t) => {
    const torturer = new Torturer(seed);
    const cluster = await clusterWithSegments(5, seed);
    let batch = 5;
    for (let round = 0; round < ROUND_COUNT; round++) {
      for (const node of cluster.nodes) torturer.archive(node);
      await upsertBatch(cluster, batch++);
      if (torturer.below(2) === 0) await checkpointAll(cluster);
      await cluster.digests();
      const victims = cluster.nodes.filter(() => torturer.below(3) > 0).slice(0, 2);
      const taken = new Set<string>();
      const all = victims.map((node) => ({ node, injuries: torturer.injure(node, taken) }));
      for (const { injuries, node } of all) {
        if (injuries.length === 0) continue;
        // A manifest that has rot does not say what else to look at: that is for the next pass.
        const first = await scrubUnderLoad(cluster, node, batch++);
        const events = [...first, ...(await scrubUnderLoad(cluster, node, batch++))];
        t.comment(`seed ${seed}, round ${round}: ${injuries.map(({ what }) => what).join('; ')}`);
        expectFound(t, injuries, events);
        const rest = await scrubUnderLoad(cluster, node, batch++);
        t.same(rest, [], 'nothing is left to find');
        t.same(damageOf(node), [], `${node.id} is sound`);
      }
    }
    await expectHealed(t, cluster, batch * BATCH_SIZE);
    for (const node of cluster.nodes) node.kill();
    for (const node of cluster.nodes) await node.start();
    await expectHealed(t, cluster, batch * BATCH_SIZE);
  });
}
