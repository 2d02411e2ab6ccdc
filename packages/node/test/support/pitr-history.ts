/**
 * Histories that a restore is judged by: simulated nodes with collections that come and go, changes
 * of the leader, clocks that disagree and jump, backups of any node at any moment, and an archive
 * that several nodes write to. Beside them a model: the rows after every request, and the log time
 * of every entry.
 */
import type { ClusterId, SeededRandom } from '@holdfast/base';
import { DEFAULT_GROUP_ID, logIndex, must } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { Request } from '@holdfast/protocol';
import type { BackupType, TimelineParent } from '@holdfast/storage';
import { NO_KEYS, readCheckpointRoot, readIdentity } from '@holdfast/storage';
import type { RestoreTarget } from '../../src/backup/archive/archive-target.ts';
import { committedPartOf } from '../../src/backup/archive/committed-log.ts';
import { entryTimestampMs } from '../../src/backup/archive/entry-time.ts';
import { archivedLogIn } from '../../src/backup/archived-log.ts';
import { describeCheckpoint } from '../../src/backup/backup-facts.ts';
import { pinCheckpoint } from '../../src/backup/checkpoint-source.ts';
import { examineFile, FileFactsCache } from '../../src/backup/file-facts.ts';
import { makeBackup } from '../../src/backup/make-backup.ts';
import type { FoundRestore, RestoreStore } from '../../src/backup/restore/plan-from-store.ts';
import { planFromStore } from '../../src/backup/restore/plan-from-store.ts';
import type { RestorePlan } from '../../src/backup/restore/restore-plan.ts';
import { timelineOfPlan } from '../../src/backup/restore/restore-plan.ts';
import type { BackupSink } from '../../src/backup/sinks/sink.ts';
import { SimCluster, type SimNode } from '../../src/testing/sim-cluster.ts';
import { DATA_DIRECTORY } from '../../src/testing/sim-node.ts';
import type { TestArchiver } from './archive.ts';
import { catchUp, hasher, MAIN, makeArchiver, storeOf } from './archive.ts';
import { shardDigests } from './restored.ts';

const DIMENSION = 4;
const ID_COUNT = 20;
const NAMES = ['docs', 'images', 'users'] as const;
const HOUR_MS = 3_600_000;
/** Histories are short. */
export const SMALL_WAL = { fileSizeBytes: 64 * 1024 };
const pause = async (): Promise<void> => undefined;

/** By collection and id, the value that its last upsert was given. */
export type Rows = ReadonlyMap<string, ReadonlyMap<number, number>>;

interface Moment {
  /** The entry of a request. */
  readonly index: number;
  readonly rows: Rows;
  readonly digests: string;
}

export interface PitrState {
  readonly rows: Rows;
  readonly digests: string;
}

interface Origin {
  readonly clusterId: ClusterId;
  readonly timeline: string;
  readonly parent: TimelineParent | null;
}

export class PitrHistory {
  readonly #sink: BackupSink;
  readonly #random: SeededRandom;
  readonly #cluster: SimCluster;
  readonly #origin: Origin;
  readonly #archivers = new Map<SimNode, { tick: () => Promise<boolean> }>();
  readonly #rows: Map<string, Map<number, number>>;
  readonly #moments: Moment[];
  /** By index: the greatest stamp up to there; 0 before the first. */
  readonly #logTimesMs: number[];
  #value = 0;
  #leaderChangeCount = 0;
  /** Where the oldest backup is. */
  firstBackupIndex = Number.POSITIVE_INFINITY;

  private constructor(
    sink: BackupSink,
    random: SeededRandom,
    cluster: SimCluster,
    origin: Origin,
    known: {
      readonly rows: Rows;
      readonly moments: readonly Moment[];
      readonly logTimesMs: readonly number[];
    },
  ) {
    this.#sink = sink;
    this.#random = random;
    this.#cluster = cluster;
    this.#origin = origin;
    this.#rows = new Map([...known.rows].map(([name, rows]) => [name, new Map(rows)]));
    this.#moments = [...known.moments];
    this.#logTimesMs = [...known.logTimesMs];
  }

  /** Nodes keep so many entries behind a checkpoint. */
  static async begin(
    sink: BackupSink,
    random: SeededRandom,
    retainedEntryCount = 10_000,
  ): Promise<PitrHistory> {
    const seed = random.nextBelow(1 << 30);
    // Longer than any history, whatever its clocks do: what is dropped stays in every state.
    const settings = { retainedEntryCount, dropRetentionMs: 10_000 * HOUR_MS };
    const cluster = new SimCluster({ nodeCount: 3, seed, settings, wal: SMALL_WAL });
    for (const node of cluster.nodes) node.jumpWall(random.nextBelow(HOUR_MS));
    await cluster.start();
    const { clusterId } = readIdentity(cluster.node(0).fileSystem, DATA_DIRECTORY);
    const origin = { clusterId, timeline: MAIN, parent: null };
    const empty = { index: 0, rows: new Map(), digests: '' };
    const known = { rows: new Map(), moments: [empty], logTimesMs: [0] };
    return new PitrHistory(sink, random, cluster, origin, known);
  }

  get store(): RestoreStore {
    const random = (sizeBytes: number): Uint8Array =>
      Uint8Array.from({ length: sizeBytes }, () => this.#random.nextBelow(256));
    return {
      ...{ sink: this.#sink, hasher },
      sealing: { compression: 'gzip', keys: NO_KEYS, random },
    };
  }

  get leaderChangeCount(): number {
    return this.#leaderChangeCount;
  }

  /** All of it is archived. */
  get lastIndex(): number {
    return this.#logTimesMs.length - 1;
  }

  /** What a restore to the state after `index` must have. */
  stateAt(index: number): PitrState {
    return must(this.#moments.findLast((moment) => moment.index <= index));
  }

  logTimeMs(index: number): number {
    return must(this.#logTimesMs[index]);
  }

  /** The last entry whose log time is not later. */
  indexAt(timestampMs: number): number {
    return this.#logTimesMs.findLastIndex((timeMs) => timeMs <= timestampMs);
  }

  get clusterId(): ClusterId {
    return this.#origin.clusterId;
  }

  /** Null: the newest backup that leads to the target. */
  plan(target: RestoreTarget, backupId: string | null = null): Promise<FoundRestore> {
    return planFromStore(this.store, {
      ...{ target, backupId, timeline: null, group: DEFAULT_GROUP_ID },
      clusterId: this.#origin.clusterId,
      members: [{ nodeId: 'n1', address: 'n1:2', clientAddress: 'n1:1' }],
      createdMs: 1_800_000_000_000,
      mintHexId: () => this.#hexId(),
    });
  }

  /** The history of a cluster that was restored out of this one, up to now equal to it. */
  branch(cluster: SimCluster, plan: RestorePlan): PitrHistory {
    const { index } = plan.parent;
    const { clusterId, parent, timeline } = timelineOfPlan(plan);
    const child = new PitrHistory(
      this.#sink,
      this.#random,
      cluster,
      { clusterId, timeline, parent },
      {
        rows: this.stateAt(index).rows,
        moments: this.#moments.filter((moment) => moment.index <= index),
        logTimesMs: this.#logTimesMs.slice(0, index + 1),
      },
    );
    child.firstBackupIndex = this.firstBackupIndex;
    child.#value = this.#value;
    return child;
  }

  /** So many steps, at least one backup, and everything is archived at the end. */
  async grow(stepCount: number): Promise<void> {
    for (let step = 0; step < stepCount; step++) {
      const choice = this.#random.nextBelow(20);
      if (choice < 12) await this.#write();
      else if (choice < 15) await this.#archiveSome();
      else if (choice < 17) await this.#backUpSome();
      else if (choice < 18) await this.#changeLeader();
      else this.#jumpClock();
      await this.#cluster.scheduler.advance(this.#random.nextBelow(40));
    }
    if (this.firstBackupIndex === Number.POSITIVE_INFINITY) await this.#backUpSome();
    await this.write(1);
    await this.#startAll();
    await this.archiveAll();
  }

  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.#write();
  }

  async archiveAll(): Promise<void> {
    const leader = await this.#cluster.leader();
    while (!(await this.#archiverOf(leader).tick()));
    this.#noteLogTimes(leader);
  }

  /** Of a new checkpoint of the leader. */
  async backUp(type: BackupType): Promise<string> {
    const leader = await this.#cluster.leader();
    this.#noteLogTimes(leader);
    return this.#backUp(leader, type);
  }

  close(): void {
    for (const node of this.#cluster.nodes) if (node.isRunning) node.kill();
  }

  async #write(): Promise<void> {
    const leader = await this.#cluster.leader();
    const request = this.#request();
    const result = await this.#cluster.execute(leader, request);
    const index = 'index' in result ? Number(result.index) : Number.NaN;
    this.#apply(request);
    const rows = new Map([...this.#rows].map(([name, one]) => [name, new Map(one)]));
    this.#moments.push({ index, rows, digests: await shardDigests(this.#cluster, leader) });
  }

  #request(): Request {
    const name = must(NAMES[this.#random.nextBelow(NAMES.length)]);
    const choice = this.#random.nextBelow(12);
    if (!this.#rows.has(name)) {
      const shape = { dimension: DIMENSION, metric: 'l2', shardCount: 1 + (choice % 2) } as const;
      return { id: 1, kind: 'createCollection', name, ...shape };
    }
    if (choice === 0) return { id: 1, kind: 'dropCollection', name };
    const count = choice === 1 ? ID_COUNT : 1 + this.#random.nextBelow(5);
    const ids = new Set(Array.from({ length: count }, () => this.#random.nextBelow(ID_COUNT)));
    if (choice < 5) {
      return { id: 1, kind: 'delete', collection: name, points: [...ids].map((id) => ({ id })) };
    }
    this.#value += 1;
    const points = [...ids].map((id) => ({
      id,
      vector: new Float32Array(DIMENSION).fill(this.#value),
    }));
    return { id: 1, kind: 'upsert', collection: name, points };
  }

  #apply(request: Request): void {
    if (request.kind === 'createCollection') this.#rows.set(request.name, new Map());
    if (request.kind === 'dropCollection') this.#rows.delete(request.name);
    if (request.kind === 'upsert') {
      const rows = this.#rows.get(request.collection);
      for (const { id } of request.points) rows?.set(Number(id), this.#value);
    }
    if (request.kind === 'delete') {
      const rows = this.#rows.get(request.collection);
      for (const { id } of request.points) rows?.delete(Number(id));
    }
  }

  /** Some node that runs, the leader or one that does not know better. */
  #someNode(): SimNode {
    const running = this.#cluster.nodes.filter(({ isRunning }) => isRunning);
    return must(running[this.#random.nextBelow(running.length)]);
  }

  async #archiveSome(): Promise<void> {
    await this.#cluster.leader();
    await this.#archiverOf(this.#someNode()).tick();
  }

  #archiverOf(node: SimNode): { tick: () => Promise<boolean> } {
    const known = this.#archivers.get(node);
    if (known !== undefined) return known;
    const { clusterId, parent, timeline } = this.#origin;
    const log = committedPartOf(must(node.log), () =>
      logIndex(node.node.replica.raftStatus().commit),
    );
    const made: TestArchiver = makeArchiver(this.#sink, log, {
      store: storeOf(this.#sink, timeline, clusterId),
      ...(parent === null ? {} : { parent }),
      limits: { chunkSizeBytesMax: 300 + this.#random.nextBelow(3_000) },
    });
    const archiver = {
      tick: async () => {
        const isDone = await catchUp(made, log, 10);
        const [alarm] = made.alarms;
        if (alarm !== undefined) throw alarm;
        return isDone;
      },
    };
    this.#archivers.set(node, archiver);
    return archiver;
  }

  /** Of whatever checkpoint some node makes now. */
  async #backUpSome(): Promise<void> {
    await this.#cluster.leader();
    await this.#backUp(this.#someNode(), this.#random.nextBelow(2) === 0 ? 'full' : 'incremental');
  }

  async #backUp(node: SimNode, type: BackupType): Promise<string> {
    const { scheduler } = this.#cluster;
    await scheduler.until(() => node.node.replica.applier.appliedIndex > 0, 20_000);
    await scheduler.resolve(node.node.replica.checkpoint());
    const { fileSystem } = node;
    const { root } = must(readCheckpointRoot(fileSystem, DATA_DIRECTORY));
    const { clusterId, nodeId } = readIdentity(fileSystem, DATA_DIRECTORY);
    const place = { fileSystem, dataDirectory: DATA_DIRECTORY, pause };
    const backupId = this.#hexId();
    const checkpoint = await pinCheckpoint(place, backupId, root);
    const { sealing } = this.store;
    const { timeline } = this.#origin;
    const outcome = await makeBackup(
      {
        ...{ sink: this.#sink, fileSystem, clock: new VirtualClock(), pause, budget: null },
        ...{ concurrency: 2, seal: sealing, isVerifyingExisting: false },
      },
      {
        ...{ backupId, checkpoint, baseBackupId: null, type },
        facts: new FileFactsCache((file) => examineFile(fileSystem, file, pause)),
        description: {
          ...{ clusterId, timeline, nodeId, productVersion: '0.1.0', dataFormatVersion: 1 },
          ...(await describeCheckpoint(fileSystem, checkpoint, pause)),
        },
        archive: archivedLogIn((name) => storeOf(this.#sink, name, clusterId)),
      },
    );
    checkpoint.release();
    if (outcome.kind === 'written') {
      this.firstBackupIndex = Math.min(this.firstBackupIndex, root.meta.index);
    }
    return backupId;
  }

  /** The leader dies, with or without what its disk was told; another one leads. */
  async #changeLeader(): Promise<void> {
    await this.#startAll();
    const leader = await this.#cluster.leader();
    this.#archivers.delete(leader);
    if (this.#random.nextBelow(2) === 0) leader.kill();
    else leader.cutPower({ seed: this.#random.nextBelow(1_000), keepUnsynced: 'random' });
    const isAlone = this.#cluster.nodes.length === 1;
    if (isAlone || this.#random.nextBelow(2) === 0) await this.#startAll();
    await this.#cluster.leader();
    this.#leaderChangeCount += 1;
  }

  async #startAll(): Promise<void> {
    for (const node of this.#cluster.nodes) if (!node.isRunning) await node.start();
  }

  #jumpClock(): void {
    const nodes = this.#cluster.nodes;
    const node = must(nodes[this.#random.nextBelow(nodes.length)]);
    node.jumpWall(this.#random.nextBelow(2 * HOUR_MS) - HOUR_MS);
  }

  #noteLogTimes(leader: SimNode): void {
    const log = must(leader.log);
    const end = leader.node.replica.raftStatus().commit + 1;
    while (this.#logTimesMs.length < end) {
      const entries = log.entries(logIndex(this.#logTimesMs.length), logIndex(end), 1 << 20);
      if (entries === 'compacted') throw new Error('the log of the model is whole');
      for (const entry of entries) {
        const beforeMs = must(this.#logTimesMs.at(-1));
        this.#logTimesMs.push(Math.max(beforeMs, entryTimestampMs(entry) ?? beforeMs));
      }
    }
  }

  #hexId(): string {
    const word = (): string => this.#random.nextU32().toString(16).padStart(8, '0');
    return Array.from({ length: 4 }, word).join('');
  }
}

/** What a cluster answers to a reader. */
export async function readRows(cluster: SimCluster, node: SimNode): Promise<Rows> {
  const listed = await cluster.execute(node, { id: 1, kind: 'listCollections' });
  if (!('collections' in listed)) throw new Error('a listing has collections');
  const rows = new Map<string, ReadonlyMap<number, number>>();
  const ids = Array.from({ length: ID_COUNT }, (_row, id) => id);
  for (const { name } of listed.collections) {
    const get = { id: 1, kind: 'get', collection: name, ids, withVector: true } as const;
    const got = await cluster.execute(node, get);
    if (!('points' in got)) throw new Error('an answer has points');
    const points = got.points as readonly {
      readonly id: unknown;
      readonly vector?: Float32Array;
    }[];
    rows.set(name, new Map(points.map(({ id, vector }) => [Number(id), must(vector?.[0])])));
  }
  return rows;
}

/** For comparisons. */
export const sortedRows = (rows: Rows): string =>
  JSON.stringify(
    [...rows].map(([name, one]) => [name, [...one].sort((a, b) => a[0] - b[0])]).sort(),
  );
