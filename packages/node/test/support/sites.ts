/**
 * Two clusters that share nothing but a store: simulated nodes, each cluster on a clock of its own,
 * which the test moves.
 */
import { logIndex, must, SeededRandom } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import { NO_KEYS } from '@holdfast/storage';
import type { BackupPlace } from '../../src/assemble.ts';
import { RETENTION_DEFAULT } from '../../src/backup/retention.ts';
import { parseSchedule } from '../../src/backup/schedule.ts';
import type { BackupSink } from '../../src/backup/sinks/sink.ts';
import type { SiteLimits } from '../../src/standby/site-api.ts';
import { decodeCommand } from '../../src/state/command.ts';
import type { SimClusterOptions, SimNode } from '../../src/testing/sim-cluster.ts';
import { SimCluster } from '../../src/testing/sim-cluster.ts';

export const DIMENSION = 4;
export const COLLECTION = 'docs';
const OFF = parseSchedule('off');

export function placeFor(
  sinks: readonly BackupSink[],
  seed: number,
  site: Partial<SiteLimits> = {},
): BackupPlace {
  const random = new SeededRandom(seed);
  let backupCount = 0;
  return {
    stores: {
      ...{ sinks, keys: NO_KEYS, compression: 'none', bytesPerSecMax: 0, concurrency: 2 },
      ...{ archive: {}, retention: RETENTION_DEFAULT },
      schedules: { full: OFF, incremental: OFF, verification: OFF },
    },
    site,
    mintBackupId: () => {
      backupCount += 1;
      const number = String(seed * 1_000 + backupCount).padStart(12, '0');
      return `0b1c2d3e-0000-4000-8000-${number}`;
    },
    randomBytes: (sizeBytes) => Uint8Array.from({ length: sizeBytes }, () => random.nextBelow(256)),
  };
}

export interface SiteOptions {
  readonly seed: number;
  readonly nodeCount?: number;
  readonly site?: Partial<SiteLimits>;
  readonly cluster?: Partial<SimClusterOptions>;
}

/** One cluster and what a test asks of it. */
export class TestSite {
  readonly cluster: SimCluster;

  private constructor(cluster: SimCluster) {
    this.cluster = cluster;
  }

  static of(cluster: SimCluster): TestSite {
    return new TestSite(cluster);
  }

  static make(sinks: readonly BackupSink[], options: SiteOptions): TestSite {
    const { nodeCount = 3, seed, site = {} } = options;
    const backupPlace = placeFor(sinks, seed, site);
    return new TestSite(new SimCluster({ nodeCount, seed, backupPlace, ...options.cluster }));
  }

  static async start(sinks: readonly BackupSink[], options: SiteOptions): Promise<TestSite> {
    const site = TestSite.make(sinks, options);
    await site.cluster.start();
    await site.cluster.leader();
    return site;
  }

  get clusterId(): string {
    return this.running[0]?.node.service.status().clusterId ?? '';
  }

  get running(): readonly SimNode[] {
    return this.cluster.nodes.filter((node) => node.isRunning);
  }

  async execute(request: Omit<Request, 'id'>): Promise<ResultBody> {
    const leader = await this.cluster.leader();
    return this.cluster.execute(leader, { id: 1, ...request } as Request);
  }

  upsert(ids: readonly number[], value: number, more: object = {}): Promise<ResultBody> {
    return this.execute(upsertOf(ids, value, more));
  }

  advance(durationMs: number): Promise<void> {
    return this.cluster.scheduler.advance(durationMs);
  }

  resolve<Value>(promise: Promise<Value>): Promise<Value> {
    return this.cluster.scheduler.resolve(promise);
  }

  /** Of the leader, as it is now. */
  async leader() {
    const node = await this.cluster.leader();
    return { node, standby: must(node.node.site), backup: must(node.node.backup) };
  }

  /** Everything committed is in the archive of the first store. */
  async archived(limitMs = 60_000): Promise<void> {
    const { backup, node } = await this.leader();
    await this.cluster.scheduler.until(() => {
      const archivedIndex = backup.status().archive[0]?.archivedIndex ?? -1;
      return archivedIndex >= node.node.replica.raftStatus().commit;
    }, limitMs);
  }

  /** Every node applies all that its primary has archived. */
  async following(index: number, limitMs = 60_000): Promise<void> {
    await this.cluster.scheduler.until(
      () => this.running.every((node) => positionOf(node) >= index),
      limitMs,
    );
  }

  async begin(primary: TestSite): Promise<void> {
    const { standby } = await this.leader();
    await this.resolve(standby.begin(primary.clusterId));
  }

  /** By node: the digest of the content and the index it is of. */
  async contents(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const node of this.running) {
      const { contentIndex, digest } = await this.resolve(must(node.node.site).contentDigest());
      found.push(`${contentIndex}/${digest}`);
    }
    return found;
  }

  /** Values of the ids that are there. */
  async rows(node?: SimNode): Promise<ReadonlyMap<number, number>> {
    const asked = node ?? (await this.cluster.leader());
    const page = (await this.cluster.execute(asked, {
      ...{ id: 1, kind: 'scroll', collection: COLLECTION, limit: 1_000, withVector: true },
    } as Request)) as { points: readonly { id: number; vector: Float32Array }[] };
    return new Map(page.points.map(({ id, vector }) => [id, vector[0] ?? Number.NaN]));
  }
}

export const createDocs: Omit<Request, 'id'> = {
  ...{ kind: 'createCollection', name: COLLECTION, dimension: DIMENSION, metric: 'l2' },
  shardCount: 2,
} as Omit<Request, 'id'>;

export const upsertOf = (ids: readonly number[], value: number, more: object = {}) =>
  ({
    ...{ kind: 'upsert', collection: COLLECTION },
    points: ids.map((id) => ({ id, vector: new Float32Array(DIMENSION).fill(value) })),
    ...more,
  }) as Omit<Request, 'id'>;

export function positionOf(node: SimNode): number {
  const { site } = node.node.replica.meta;
  return site.kind === 'standby' ? site.source.index : -1;
}

/** Indexes of the primary's entries in the log of a standby, in its order. */
export function followedIn(node: SimNode): readonly number[] {
  const log = must(node.log);
  const entries = log.entries(log.firstIndex(), logIndex(log.lastIndex() + 1), 1 << 30);
  if (entries === 'compacted') return [];
  return entries.flatMap((entry) => {
    if (entry.type !== 'normal') return [];
    const { command } = decodeCommand(entry.data);
    return command.kind === 'follow' ? [command.entry.index] : [];
  });
}
