/** `holdfast restore collections`: a past state of some collections, beside what is live. */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DEFAULT_GROUP_ID, HoldfastError } from '@holdfast/base';
import type { HoldfastClient } from '@holdfast/client';
import { parsePayload } from '@holdfast/protocol';
import type { CollectionDefinition, PointRecord } from '@holdfast/shard-worker';
import { createEntryHasher, NodeFileSystem } from '@holdfast/storage';
import type { Command } from 'commander';
import type { BesideStep, HiddenTarget, LiveCluster } from '../backup/restore/beside-live.ts';
import { checkNames } from '../backup/restore/beside-live.ts';
import type { CollectionsTarget } from '../backup/restore/collections-from-store.ts';
import { planCollections, restoreCollections } from '../backup/restore/collections-from-store.ts';
import {
  COLLECTIONS_TARGET_TEXT,
  parseCollectionsTarget,
} from '../backup/restore/collections-target.ts';
import type { RestoreStep } from '../backup/restore/lay-directory.ts';
import type { FoundRestore } from '../backup/restore/plan-from-store.ts';
import { formatStepLine } from '../backup/restore/step-lines.ts';
import { SYSTEM_CLOCK } from '../system-time.ts';
import { addClientFlags, type ClientFlags, withClient } from './client-flags.ts';
import { abortWhenStopped, type CliIo, UsageError } from './io.ts';
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
  readonly json?: boolean;
}

/** An election plus a restart fits into this, and so does comparing a large collection. */
const TIMEOUT_MS_DEFAULT = '120000';
/** A line for each so many points. */
const POINTS_PER_LINE = 50_000;
/** Whoever reads these draws what is done. */
const POINTS_PER_JSON_LINE = 5_000;

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
    .option('--dry-run', 'write nothing, and say what would happen')
    .option('--json', 'each step as a line of JSON, and nothing else');
  addClientFlags(addStoreFlags(command), TIMEOUT_MS_DEFAULT).action((flags: Flags) =>
    flags.json === true ? runForProgram(flags, io) : run(flags, io, io),
  );
}

/** The last line of what fails says why, with its code. */
async function runForProgram(flags: Flags, io: CliIo): Promise<void> {
  try {
    await run(flags, io, { out: () => undefined, err: () => undefined });
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError)) throw thrown;
    io.out(`${formatStepLine({ kind: 'failed', error: thrown })}\n`);
    throw thrown;
  }
}

/** `text`: where words for people go. */
async function run(flags: Flags, io: CliIo, text: Pick<CliIo, 'out' | 'err'>): Promise<void> {
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
    describe(found, text);
    await withClient(flags, io, async (client) => {
      const cluster = liveCluster(client);
      const targets = await checkNames(cluster, names, prefix);
      if (flags.dryRun === true) {
        text.out(`would make ${targets.join(', ')}; dry run: nothing was written\n`);
        return;
      }
      const directory = join(resolve(flags.workDir ?? tmpdir()), `holdfast-restore-${hexId()}`);
      text.err(`the past state is laid in ${directory} for the time\n`);
      const made = await restoreCollections({
        ...{ store, found, names, prefix, cluster, directory },
        ...{ isPublished: flags.publish === true, fileSystem: new NodeFileSystem() },
        clock: SYSTEM_CLOCK,
        pause: () => new Promise((resolve) => setImmediate(resolve)),
        onStep: flags.json === true ? printSteps(io) : showSteps(io),
        signal: abortWhenStopped(io),
      });
      if (flags.publish === true) return;
      const uids = made.map(({ uid }) => uid).join(' ');
      text.out(`hidden until: holdfast collections publish ${uids}\n`);
    });
  });
}

function describe({ backup, entryCount, plan }: FoundRestore, io: Pick<CliIo, 'out'>): void {
  const { parent } = plan;
  const time = new Date(parent.timestampMs).toISOString();
  io.out(
    `state of cluster ${parent.clusterId} after index ${parent.index}, ${time}\n` +
      `from backup ${backup.backupId} of index ${plan.backupIndex} ` +
      `(${backup.files.length} files, ${backup.storedSizeBytes} bytes to fetch), ` +
      `and ${entryCount} entries of the archive\n`,
  );
}

function printSteps(io: CliIo): (step: RestoreStep | BesideStep) => void {
  let toldCount = 0;
  return (step) => {
    if (step.kind === 'created') toldCount = 0;
    if (step.kind === 'rows') {
      if (step.pointCount - toldCount < POINTS_PER_JSON_LINE) return;
      toldCount = step.pointCount;
    }
    io.out(`${formatStepLine({ kind: 'step', step })}\n`);
  };
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
      case 'opened':
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
  const target = parseCollectionsTarget(text);
  if (target !== null) return target;
  throw new UsageError(`--target: must be ${COLLECTIONS_TARGET_TEXT}, got '${text}'`);
}
