/** `holdfast restore collections`: a past state of some collections, beside what is live. */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DEFAULT_GROUP_ID, logIndex } from '@holdfast/base';
import type { HoldfastClient } from '@holdfast/client';
import { parsePayload } from '@holdfast/protocol';
import type { CollectionDefinition, PointRecord } from '@holdfast/shard-worker';
import { createEntryHasher, isBackupId, NodeFileSystem } from '@holdfast/storage';
import type { Command } from 'commander';
import type { BesideStep, HiddenTarget, LiveCluster } from '../backup/restore/beside-live.ts';
import { checkNames } from '../backup/restore/beside-live.ts';
import type { CollectionsTarget } from '../backup/restore/collections-from-store.ts';
import { planCollections, restoreCollections } from '../backup/restore/collections-from-store.ts';
import type { RestoreStep } from '../backup/restore/lay-directory.ts';
import type { FoundRestore } from '../backup/restore/plan-from-store.ts';
import { SYSTEM_CLOCK } from '../system-time.ts';
import { parseTime } from './arguments.ts';
import { addClientFlags, type ClientFlags, withClient } from './client-flags.ts';
import { abortWhenStopped, type CliIo, integerOption, UsageError } from './io.ts';
import { addStoreFlags, onlyCluster, type StoreFlags, withStore } from './store-flags.ts';

interface Flags extends StoreFlags, ClientFlags {
  readonly cluster?: string;
  readonly timeline?: string;
  readonly target: string;
  readonly collections: string;
  readonly targetPrefix: string;
  readonly publish?: boolean;
  readonly dryRun?: boolean;
  readonly workDir?: string;
}

/** An election plus a restart fits into this, and so does comparing a large collection. */
const TIMEOUT_MS_DEFAULT = '120000';
/** A line for each so many points. */
const POINTS_PER_LINE = 50_000;

export function registerRestoreCollections(restore: Command, io: CliIo): void {
  const command = restore
    .command('collections')
    .description('restore collections of a past state beside live data, under other names')
    .requiredOption('--collections <NAME,...>', 'which, by the names they had')
    .requiredOption('--target-prefix <TEXT>', 'put in front of each name')
    .option(
      '--target <WHAT>',
      'latest, an index of the log, a time or the id of a backup',
      'latest',
    )
    .option('--cluster <ID>', 'whose state; default: the only one in the store')
    .option('--timeline <NAME>', 'of that cluster; default: the newest')
    .option('--publish', 'make them visible at the end; without it they stay hidden')
    .option('--work-dir <DIR>', 'where the past state is laid for the time; default: of the system')
    .option('--dry-run', 'write nothing, and say what would happen');
  addClientFlags(addStoreFlags(command), TIMEOUT_MS_DEFAULT).action((flags: Flags) =>
    run(flags, io),
  );
}

async function run(flags: Flags, io: CliIo): Promise<void> {
  const names = flags.collections.split(',').map((name) => name.trim());
  const target = targetOf(flags.target);
  const { targetPrefix: prefix } = flags;
  await withStore(flags, io, async (open) => {
    const store = { ...open, hasher: createEntryHasher() };
    const found = await planCollections(store, {
      ...{ target, group: DEFAULT_GROUP_ID, createdMs: SYSTEM_CLOCK.wallMs() },
      clusterId: await onlyCluster(open, flags.cluster),
      timeline: flags.timeline ?? null,
      mintHexId: hexId,
    });
    describe(found, io);
    await withClient(flags, io, async (client) => {
      const cluster = liveCluster(client);
      const targets = await checkNames(cluster, names, prefix);
      if (flags.dryRun === true) {
        io.out(`would make ${targets.join(', ')}; dry run: nothing was written\n`);
        return;
      }
      const directory = join(resolve(flags.workDir ?? tmpdir()), `holdfast-restore-${hexId()}`);
      io.err(`the past state is laid in ${directory} for the time\n`);
      const made = await restoreCollections({
        ...{ store, found, names, prefix, cluster, directory },
        ...{ isPublished: flags.publish === true, fileSystem: new NodeFileSystem() },
        clock: SYSTEM_CLOCK,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        onStep: showSteps(io),
        signal: abortWhenStopped(io),
      });
      if (flags.publish === true) return;
      const uids = made.map(({ uid }) => uid).join(' ');
      io.out(`hidden until: holdfast collections publish ${uids}\n`);
    });
  });
}

function describe({ backup, entryCount, plan }: FoundRestore, io: CliIo): void {
  const { parent } = plan;
  const time = new Date(parent.timestampMs).toISOString();
  io.out(
    `state of cluster ${parent.clusterId} after index ${parent.index}, ${time}\n` +
      `from backup ${backup.backupId} of index ${plan.backupIndex} ` +
      `(${backup.files.length} files, ${backup.storedSizeBytes} bytes to fetch), ` +
      `and ${entryCount} entries of the archive\n`,
  );
}

/** What scripts wait for goes to `out`, progress to `err`. */
function showSteps(io: CliIo): (step: RestoreStep | BesideStep) => void {
  let toldCount = 0;
  return (step) => {
    switch (step.kind) {
      case 'files':
        if (step.done === step.total) io.err(`files: ${step.done} of ${step.total}\n`);
        return;
      case 'entries':
        io.err(`log: index ${step.index} of ${step.through}\n`);
        return;
      case 'done':
        return;
      case 'created':
        toldCount = 0;
        io.err(`${named(step.target)}: begun, hidden\n`);
        return;
      case 'rows':
        if (step.pointCount - toldCount < POINTS_PER_LINE) return;
        toldCount = step.pointCount;
        io.err(`${named(step.target)}: ${step.pointCount} points\n`);
        return;
      case 'compared': {
        const { digest, pointCount } = step.content;
        io.out(`${named(step.target)}: ${pointCount} points, digest ${digest}, as its source\n`);
        return;
      }
      case 'published':
        io.out(`published ${step.targets.map(({ name }) => name).join(', ')}\n`);
        return;
      case 'purged':
        io.err(`${named(step.target)}: purged\n`);
        return;
      case 'purgeFailed':
        io.err(
          `${named(step.target)}: could not be purged (${step.error.code}); it is hidden: ` +
            `holdfast collections purge ${step.target.uid}\n`,
        );
        return;
    }
  };
}

const named = ({ name, uid }: HiddenTarget): string => `${name} (uid ${uid})`;
const hexId = (): string => randomBytes(16).toString('hex');

/** The cluster through an ordinary client: sessions and retries carry it over a failover. */
function liveCluster(client: HoldfastClient): LiveCluster {
  const { collections } = client;
  return {
    names: async () => new Set((await client.listCollections()).map(({ name }) => name)),
    createHidden: async (name, definition) => {
      const { collection } = await collections.createHidden(shapeOf(name, definition));
      return collection.createdIndex;
    },
    write: async (target, points) => {
      await collections.upsertHidden(target, points.map(pointInput));
    },
    finish: async ({ uid }, content) => {
      await collections.finish(uid, content);
    },
    publish: async (uids) => {
      await collections.publish(uids);
    },
    purge: async (uid) => {
      await collections.purge(uid);
    },
  };
}

/** Limits of segments are the cluster's own. */
function shapeOf(name: string, definition: CollectionDefinition) {
  const { checksumAlgorithm, dimension, graph, hnsw, metric, shardCount } = definition;
  const payloadIndexes = definition.payloadIndexes?.map((index) => ({ ...index })) ?? [];
  return {
    ...{ name, dimension, metric, shardCount, checksumAlgorithm, payloadIndexes },
    ...{ graph: { ...graph }, hnsw: { ...hnsw } },
  };
}

function pointInput({ id, payload, vector }: PointRecord) {
  const object = payload === null ? null : parsePayload(payload);
  return {
    ...{ id, vector: vector ?? new Float32Array(0) },
    ...(object === null ? {} : { payload: object }),
  };
}

function targetOf(text: string): CollectionsTarget {
  if (text === 'latest') return { kind: 'latest' };
  // Ids of backups are longer than any index.
  if (/^\d{1,16}$/.test(text)) {
    const index = integerOption(text, '--target', 1, Number.MAX_SAFE_INTEGER);
    return { kind: 'index', index: logIndex(index) };
  }
  if (isBackupId(text)) return { kind: 'backup', backupId: text };
  if (text.includes('T')) return { kind: 'time', timestampMs: parseTime(text, '--target') };
  const message = `must be latest, an index, a time or the id of a backup, got '${text}'`;
  throw new UsageError(`--target: ${message}`);
}
