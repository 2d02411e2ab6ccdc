/**
 * Looks into the store of a simulated cluster, past its moods and without taking time: what is
 * archived, which backups there are, and what the shipped restore makes of them.
 */
import type { ClusterId } from '@holdfast/base';
import { DEFAULT_GROUP_ID, HoldfastError, logIndex, must, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { createEntryHasher, NO_KEYS } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import type { ArchiveReport } from '../backup/archive/archive-reader.ts';
import { ArchiveReader } from '../backup/archive/archive-reader.ts';
import type { LogObject } from '../backup/archive/archive-store.ts';
import { ArchiveStore } from '../backup/archive/archive-store.ts';
import { entryTimestampMs } from '../backup/archive/entry-time.ts';
import { FIRST_TIMELINE } from '../backup/archive/find-timeline.ts';
import type { BackupListing, VerifyReport } from '../backup/backup-reader.ts';
import { BackupReader } from '../backup/backup-reader.ts';
import { backupSource } from '../backup/restore/backup-source.ts';
import { layDirectory } from '../backup/restore/lay-directory.ts';
import type { RestoreStore } from '../backup/restore/plan-from-store.ts';
import { archiveOfPlan, backupOfPlan, planFromStore } from '../backup/restore/plan-from-store.ts';
import type { MemorySink } from '../backup/testing/memory-sink.ts';
import { SimCluster } from './sim-cluster.ts';
import type { SimNode } from './sim-node.ts';
import { DATA_DIRECTORY } from './sim-node.ts';

export type RestoreOutcome =
  | { readonly kind: 'restored'; readonly digests: string }
  | { readonly kind: 'refused'; readonly error: HoldfastError };

/** Of the rows of every shard, whichever node tells them. */
export async function rowDigests(node: SimNode, index: number): Promise<string> {
  const digests = await node.host.digests(logIndex(index));
  return digests
    .map(({ digest, shard, uid }) => `${uid}/${shard}/${digest}`)
    .sort()
    .join(' ');
}

export class SimArchive {
  readonly #clusterId: ClusterId;
  readonly #store: RestoreStore;
  readonly #archive: ArchiveStore;
  readonly #mintHexId: () => string;

  /** `salt`: of the ids that restores mint. */
  constructor(sink: MemorySink, clusterId: ClusterId, salt: number) {
    const random = new SeededRandom(salt);
    const hasher = createEntryHasher();
    const sealing = {
      ...{ compression: 'none' as const, keys: NO_KEYS },
      random: (sizeBytes: number) =>
        Uint8Array.from({ length: sizeBytes }, () => random.nextBelow(256)),
    };
    this.#clusterId = clusterId;
    this.#store = { sink, hasher, sealing };
    const timestampOf = entryTimestampMs;
    const timeline = FIRST_TIMELINE;
    this.#archive = new ArchiveStore({ sink, clusterId, timeline, sealing, hasher, timestampOf });
    this.#mintHexId = () =>
      Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0')).join('');
  }

  /** First index of the piece of the log that `key` names; null for any other object. */
  firstIndexOf(key: string): number | null {
    const match = /\/log\/(\d{16})$/.exec(key);
    return match === null ? null : Number(match[1]);
  }

  /** @throws HoldfastError BACKUP_CORRUPT */
  async piece(firstIndex: number): Promise<LogObject> {
    return must(await this.#archive.readLogObject(firstIndex));
  }

  backups(): Promise<BackupListing> {
    return this.#reader().list();
  }

  /** Every object of a backup. */
  async verify(backupId: string): Promise<VerifyReport> {
    const reader = this.#reader();
    return reader.verify(await reader.read(backupId));
  }

  /** From `fromIndex` on, or everything that is left. */
  verifyLog(fromIndex: number | null): Promise<ArchiveReport> {
    const reader = new ArchiveReader(this.#archive);
    if (fromIndex === null) return reader.verify(undefined, { allowsHoles: true });
    return reader.verify(logIndex(fromIndex));
  }

  /** The state after `index`, on a machine of its own, with a clock of its own. */
  async restore(index: number): Promise<RestoreOutcome> {
    try {
      const { plan } = await planFromStore(this.#store, {
        ...{ clusterId: this.#clusterId, timeline: null, backupId: null },
        ...{ target: { kind: 'index', index }, group: DEFAULT_GROUP_ID, createdMs: 0 },
        members: [{ nodeId: 'n1', address: 'n1:2', clientAddress: 'n1:1' }],
        mintHexId: this.#mintHexId,
      });
      const { manifest, reader } = await backupOfPlan(this.#store, plan);
      const fileSystem = new MemoryFileSystem();
      await layDirectory({
        ...{ fileSystem, directory: DATA_DIRECTORY, plan, nodeId: 'n1' },
        source: backupSource(reader, manifest, fileSystem),
        archive: archiveOfPlan(this.#store, plan),
        ...{ hasher: this.#store.hasher, clock: new VirtualClock() },
        wal: { fileSizeBytes: 64 * 1024 },
      });
      return { kind: 'restored', digests: await digestsOf(fileSystem) };
    } catch (thrown) {
      if (thrown instanceof HoldfastError) return { kind: 'refused', error: thrown };
      throw thrown;
    }
  }

  #reader(): BackupReader {
    return new BackupReader({ sink: this.#store.sink, clusterId: this.#clusterId, keys: NO_KEYS });
  }
}

async function digestsOf(fileSystem: MemoryFileSystem): Promise<string> {
  const wal = { fileSizeBytes: 64 * 1024 };
  const cluster = new SimCluster({ nodeCount: 1, seed: 1, laneCount: 1, wal });
  cluster.node(0).fileSystem = fileSystem;
  await cluster.start();
  const leader = await cluster.leader();
  const { appliedIndex } = await cluster.scheduler.resolve(leader.node.service.stateDigest());
  return cluster.scheduler.resolve(rowDigests(leader, appliedIndex));
}
