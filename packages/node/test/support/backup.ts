/** What the tests of backups share: a small node whose checkpoints are real, and a way to ask. */
import type { LogIndex } from '@holdfast/base';
import {
  EMPTY_LOG_SUM,
  HoldfastError,
  incarnation,
  logIndex,
  makeConf,
  nodeId,
  term,
} from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { CollectionDefinition, LaneCommand, PointOp } from '@holdfast/shard-worker';
import { encodePointOps, InlineHost, splitPointOps } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem } from '@holdfast/storage';
import { createEntryHasher, joinPath, makeArchiveKey, makeKeyRing } from '@holdfast/storage';
import { describeCheckpoint } from '../../src/backup/backup-facts.ts';
import type { BackupOutcome, BackupWriterParts } from '../../src/backup/backup-writer.ts';
import type { PinnedCheckpoint } from '../../src/backup/checkpoint-source.ts';
import { pinCheckpoint } from '../../src/backup/checkpoint-source.ts';
import { examineFile, FileFactsCache } from '../../src/backup/file-facts.ts';
import type { BackupWish } from '../../src/backup/make-backup.ts';
import { makeBackup } from '../../src/backup/make-backup.ts';
import type { SealSettings } from '../../src/backup/sealed-file.ts';
import type { BackupSink } from '../../src/backup/sinks/sink.ts';
import { writeMeta } from '../../src/replica/meta-file.ts';
import { Catalogue } from '../../src/state/catalogue.ts';
import { MetaMachine } from '../../src/state/meta-machine.ts';
import { SessionTable } from '../../src/state/sessions.ts';

export const DATA = '/data';
export const CLUSTER = '0123456789abcdef'.repeat(2);
export const pause = (): Promise<void> => Promise.resolve();
export const KEY = makeArchiveKey(new Uint8Array(32).fill(3));
export const KEYS = makeKeyRing({ current: KEY });

/** Bytes that never repeat, the same in every run. */
export function countingRandom(): SealSettings['random'] {
  let count = 0;
  return (sizeBytes) => {
    count += 1;
    const bytes = new Uint8Array(sizeBytes);
    new DataView(bytes.buffer).setUint32(0, count, true);
    return bytes;
  };
}

export function sealing(changes: Partial<SealSettings> = {}): SealSettings {
  return { compression: 'none', keys: KEYS, random: countingRandom(), ...changes };
}

const DEFINITION: CollectionDefinition = {
  ...{ uid: 1, name: 'docs', dimension: 4, metric: 'l2', shardCount: 2 },
  hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
  graph: { engine: 'auto', precision: 'f32' },
  ...{ sealRowCount: 40, sealSizeBytes: 1 << 20, checksumAlgorithm: 'xxhash3' },
};

/** One collection with two shards, driven an entry at a time; no log, no replica. */
export class CheckpointMaker {
  readonly fileSystem: FileSystem;
  readonly clock = new VirtualClock();
  appliedIndex = 0;
  #generation = 0;
  #nextId = 0;
  readonly #host: InlineHost;

  private constructor(fileSystem: FileSystem) {
    this.fileSystem = fileSystem;
    this.#host = new InlineHost({
      ...{ fs: fileSystem, dataDirectory: DATA, laneCount: 1, graphFactory: null },
    });
  }

  static async open(fileSystem: FileSystem): Promise<CheckpointMaker> {
    const maker = new CheckpointMaker(fileSystem);
    fileSystem.makeDirectory(joinPath(DATA, 'meta'));
    await maker.#host.open({ appliedIndex: logIndex(0), definitions: [], manifests: [] });
    const index = logIndex(1);
    await maker.#apply([{ kind: 'createCollection', index, definition: DEFINITION }]);
    return maker;
  }

  /** One entry with `count` new points. */
  async write(count: number): Promise<void> {
    const ops = Array.from({ length: count }, (): PointOp => {
      const id = this.#nextId++;
      const vector = new Float32Array(DEFINITION.dimension).fill(id + 0.5);
      return { type: 'upsert', id, vector, payload: null, condition: { kind: 'none' } };
    });
    const index = logIndex(this.appliedIndex + 1);
    const slices = splitPointOps(encodePointOps(ops), DEFINITION.shardCount, () => 0, 1);
    const slice = slices[0];
    const { uid } = DEFINITION;
    if (slice === null || slice === undefined) throw new Error('one lane gets all points');
    const timestampMs = index * 1_000;
    await this.#apply([{ kind: 'write', index, timestampMs, uid, mode: 'always', ops: slice }]);
  }

  /** Log time is 1,000 x the index. Nothing is removed. */
  async checkpoint(): Promise<CheckpointRoot> {
    const index = logIndex(this.appliedIndex);
    this.#generation += 1;
    const id = `c${this.#generation}`;
    const manifests = await this.#host.checkpoint(index, id);
    const path = `meta/meta-${index}-${id}.meta`;
    const catalogue = Catalogue.fromSnapshot([{ definition: DEFINITION, hiding: null }]);
    const machine = new MetaMachine(catalogue, new SessionTable(), index, index * 1_000);
    const facts = await writeMeta(this.fileSystem, joinPath(DATA, path), machine, pause);
    const member = {
      ...{ nodeId: nodeId('n1'), incarnation: incarnation(CLUSTER), address: 'n1:2' },
      clientAddress: null,
    };
    const conf = makeConf([member], []);
    return {
      generation: this.#generation,
      meta: { index, term: term(1), sum: sumAt(index), conf, confIndex: logIndex(0), id },
      metaFile: { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes },
      shards: manifests.map(({ uid, shard, manifestPath, checksum }) => ({
        ...{ collectionUid: String(uid), shard, manifestPath, checksum },
      })),
    };
  }

  async pin(root: CheckpointRoot, name = `pin-${root.generation}`): Promise<PinnedCheckpoint> {
    return pinCheckpoint({ fileSystem: this.fileSystem, dataDirectory: DATA, pause }, name, root);
  }

  async #apply(commands: readonly LaneCommand[]): Promise<void> {
    const index = logIndex(this.appliedIndex + 1);
    this.appliedIndex += 1;
    await this.#host.apply({ fromIndex: index, toIndex: index, perLane: [commands] });
  }
}

const hasher = createEntryHasher();
const sumAt = (index: LogIndex): Uint8Array =>
  hasher(EMPTY_LOG_SUM, term(1), index, 'normal', new Uint8Array(0));

let backupCount = 0;
export const nextBackupId = (): string => {
  backupCount += 1;
  return `${String(backupCount).padStart(8, '0')}-0000-4000-8000-000000000000`;
};

export type BackupChanges = Partial<BackupWriterParts> & Partial<BackupWish>;

/** A backup of `checkpoint` with what is usual, but for `changes`. */
export async function backUp(
  maker: CheckpointMaker,
  sink: BackupSink,
  checkpoint: PinnedCheckpoint,
  changes: BackupChanges = {},
): Promise<BackupOutcome> {
  const { clock } = maker;
  const fileSystem = changes.fileSystem ?? maker.fileSystem;
  const parts: BackupWriterParts = {
    ...{ sink, fileSystem, clock, pause, seal: sealing(), budget: null, concurrency: 1 },
    ...{ isVerifyingExisting: false },
    ...changes,
  };
  const examine = (file: Parameters<typeof examineFile>[1]) =>
    examineFile(fileSystem, file, pause, changes.signal);
  const wish: BackupWish = {
    ...{ backupId: nextBackupId(), type: 'full', checkpoint },
    facts: new FileFactsCache(examine),
    description: {
      ...{ clusterId: CLUSTER, timeline: 't1', nodeId: 'n1', productVersion: '0.1.0' },
      dataFormatVersion: 1,
      ...(await describeCheckpoint(fileSystem, checkpoint, pause)),
    },
    ...{ baseBackupId: null, archive: null },
    ...changes,
  };
  return makeBackup(parts, wish);
}

/** As `backUp`, for a test that goes on with the manifest. */
export async function backUpWritten(
  ...given: Parameters<typeof backUp>
): Promise<Extract<BackupOutcome, { kind: 'written' }>> {
  const outcome = await backUp(...given);
  if (outcome.kind !== 'written') throw new Error('there must be something new');
  return outcome;
}

export async function errorOf(body: () => Promise<unknown>): Promise<HoldfastError | null> {
  try {
    await body();
    return null;
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
}
