/**
 * `holdfast restore plan|run`: a plan is made once and decides everything; each node of the new
 * cluster carries it out on its own disk.
 */
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { DEFAULT_GROUP_ID } from '@holdfast/base';
import { createEntryHasher, lockDataDirectory, NodeFileSystem } from '@holdfast/storage';
import type { Command } from 'commander';
import type { RestoreTarget } from '../backup/archive/archive-target.ts';
import { backupSource } from '../backup/restore/backup-source.ts';
import type { LaidDirectory, LayOptions } from '../backup/restore/lay-directory.ts';
import { layDirectory } from '../backup/restore/lay-directory.ts';
import {
  archiveOfPlan,
  backupOfPlan,
  beginRestoredTimeline,
  type FoundRestore,
  planFromStore,
  type RestoreStore,
} from '../backup/restore/plan-from-store.ts';
import { replaceDirectory } from '../backup/restore/replace-directory.ts';
import type { PlannedMember } from '../backup/restore/restore-plan.ts';
import {
  readRestorePlan,
  restorePlanDigest,
  writeRestorePlan,
} from '../backup/restore/restore-plan.ts';
import { estimateRestoreMs } from '../backup/verification/estimate-restore.ts';
import { listRestoreTests } from '../backup/verification/restore-test-store.ts';
import { parseEndpoint } from '../config/endpoint.ts';
import { CLUSTER_SECRET_FILE_NAME, readSecret, writeSecretFile } from '../config/secrets.ts';
import { SYSTEM_CLOCK } from '../system-time.ts';
import { parseTime } from './arguments.ts';
import { type CliIo, integerOption, UsageError } from './io.ts';
import { registerRestoreCollections } from './restore-collections.ts';
import { RestoreMeter } from './restore-progress.ts';
import { addRestoreVerify } from './restore-verify.ts';
import { addStoreFlags, type OpenStore, type StoreFlags, withStore } from './store-flags.ts';

interface PlanFlags extends StoreFlags {
  readonly cluster?: string;
  readonly timeline?: string;
  readonly backupId?: string;
  readonly pointInTime?: string;
  readonly index?: string;
  readonly member: readonly string[];
  readonly plan?: string;
  readonly standby?: boolean;
  readonly dryRun?: boolean;
}

interface RunFlags extends StoreFlags {
  readonly plan: string;
  readonly nodeId: string;
  readonly dataDir: string;
  readonly replace?: boolean;
}

/** Looked through for a good one. */
const ESTIMATE_TEST_COUNT_MAX = 10;

export function registerRestore(program: Command, io: CliIo): void {
  const restore = program
    .command('restore')
    .description('bring a past state back, as a new cluster on empty directories');
  addStoreFlags(
    restore
      .command('plan')
      .description('decide what is restored and who the nodes are; every node carries it out')
      .option('--cluster <ID>', 'whose state; default: the only one in the store')
      .option('--timeline <NAME>', 'of that cluster; default: the newest')
      .option('--backup-id <ID>', 'the backup to begin with; default: the newest that fits')
      .option('--point-in-time <TIME>', 'the last state at this time, such as 2026-01-31T08:00:00Z')
      .option('--index <N>', 'the state after this index of the log')
      .requiredOption('--member <ID=HOST:PORT...>', 'nodes and their peer addresses')
      .option('--plan <FILE>', 'where the plan is written')
      .option('--standby', 'the new cluster follows the archive until it is promoted; see standby')
      .option('--dry-run', 'write nothing, and say what would happen'),
  ).action((flags: PlanFlags) => plan(flags, io));
  addStoreFlags(
    restore
      .command('run')
      .description('make the data directory of one node of the plan')
      .requiredOption('--plan <FILE>', 'made by restore plan')
      .requiredOption('--node-id <ID>', 'which of its nodes this is')
      .requiredOption('--data-dir <DIR>', 'empty, or not there yet')
      .option('--replace', 'data may be there: it is kept beside the new one, under another name'),
  ).action((flags: RunFlags) => run(flags, io));
  registerRestoreCollections(restore, io);
  addRestoreVerify(restore, io);
}

const storeFor = ({ sealing, sink }: OpenStore): RestoreStore => ({
  ...{ sealing, sink },
  hasher: createEntryHasher(),
});

async function plan(flags: PlanFlags, io: CliIo): Promise<void> {
  const target = targetOf(flags);
  if (flags.standby === true && target.kind !== 'latest') {
    throw new UsageError('--standby begins at the newest state: leave --index and the time out');
  }
  const members = flags.member.map(memberOf);
  const { dryRun = false, plan: path } = flags;
  if (path === undefined && !dryRun) throw new UsageError('--plan: name the file of the plan');
  const fileSystem = new NodeFileSystem();
  if (path !== undefined && !dryRun && fileSystem.exists(path)) {
    throw new UsageError(`--plan: ${path} is there already; a plan is made once`);
  }
  await withStore(flags, io, async (open) => {
    const store = storeFor(open);
    const found = await planFromStore(store, {
      ...{ target, members, group: DEFAULT_GROUP_ID, createdMs: SYSTEM_CLOCK.wallMs() },
      ...{ clusterId: flags.cluster ?? null, timeline: flags.timeline ?? null },
      ...{ backupId: flags.backupId ?? null, isStandby: flags.standby === true },
      mintHexId: () => randomBytes(16).toString('hex'),
    });
    describe(found, io);
    await showEstimate(store, found, io);
    if (dryRun || path === undefined) {
      io.out('dry run: nothing was written\n');
      return;
    }
    writeRestorePlan(fileSystem, path, found.plan);
    await beginRestoredTimeline(store, found.plan);
    io.out(`plan ${restorePlanDigest(found.plan).slice(0, 16)} written to ${path}\n`);
    io.out(`next, on each node: holdfast restore run --plan ${path} --node-id ID --data-dir DIR\n`);
  });
}

function describe({ backup, entryCount, plan }: FoundRestore, io: CliIo): void {
  const { parent } = plan;
  const time = new Date(parent.timestampMs).toISOString();
  io.out(`state of cluster ${parent.clusterId} after index ${parent.index}, ${time}\n`);
  io.out(
    `from backup ${backup.backupId} of index ${plan.backupIndex} ` +
      `(${backup.files.length} files, ${backup.storedSizeBytes} bytes to fetch, ` +
      `${backup.vectorCount} vectors), and ${entryCount} entries of the archive\n`,
  );
  const nodes = plan.members.map(({ address, nodeId }) => `${nodeId}=${address}`).join(', ');
  const kind =
    plan.follows === null ? `timeline ${plan.timeline}` : `a standby of ${plan.follows.clusterId}`;
  io.out(`into new cluster ${plan.clusterId}, ${kind}: ${nodes}\n`);
}

/** From the newest restore that was tried with success; without one from modest assumptions. */
async function showEstimate(
  { sealing, sink }: RestoreStore,
  { backup, entryCount, plan }: FoundRestore,
  io: CliIo,
): Promise<void> {
  const { clusterId } = plan.parent;
  const tests = await listRestoreTests({ sink, sealing, clusterId }, ESTIMATE_TEST_COUNT_MAX);
  const good = tests.find(({ failure }) => failure === null) ?? null;
  const estimateMs = estimateRestoreMs({ sizeBytes: backup.storedSizeBytes, entryCount }, good);
  const source =
    good === null ? 'assumed' : `as the test of ${new Date(good.startedMs).toISOString()}`;
  io.out(`estimated time: ${Math.ceil(estimateMs / 1_000)} s (${source})\n`);
}

async function run(flags: RunFlags, io: CliIo): Promise<void> {
  const fileSystem = new NodeFileSystem();
  if (!fileSystem.exists(flags.plan)) throw new UsageError(`--plan: there is no ${flags.plan}`);
  const restorePlan = readRestorePlan(fileSystem, flags.plan);
  await withStore(flags, io, async (open) => {
    const store = storeFor(open);
    const meter = new RestoreMeter(io, SYSTEM_CLOCK);
    const { manifest, reader } = await backupOfPlan(store, restorePlan);
    const options: LayOptions = {
      ...{ fileSystem, directory: resolve(flags.dataDir), plan: restorePlan, nodeId: flags.nodeId },
      clock: SYSTEM_CLOCK,
      source: backupSource(reader, manifest, fileSystem),
      archive: archiveOfPlan(store, restorePlan),
      hasher: store.hasher,
      onStep: (step) => meter.show(step),
    };
    if (flags.replace === true) await replace(options, io);
    else sayLaid(await layDirectory(options), options, io);
  });
}

/** No node may start on the old directory while its place is being taken. */
async function replace(options: LayOptions, io: CliIo): Promise<void> {
  const { directory, fileSystem, nodeId } = options;
  const lock = fileSystem.exists(directory) ? lockDataDirectory(fileSystem, directory) : null;
  try {
    const { aside, laid } = await replaceDirectory(options);
    if (laid === null) io.out(`${directory}: node ${nodeId} was laid by an earlier call\n`);
    else sayLaid(laid, options, io);
    if (aside === null) return;
    carrySecret(fileSystem, aside, directory);
    io.out(`what was there before is in ${aside}; nothing of it was removed\n`);
  } finally {
    lock?.release();
  }
}

/** The secret between the nodes is in no backup: the one that was there goes on. */
function carrySecret(fileSystem: LayOptions['fileSystem'], from: string, to: string): void {
  const source = join(from, CLUSTER_SECRET_FILE_NAME);
  const target = join(to, CLUSTER_SECRET_FILE_NAME);
  if (!fileSystem.exists(source) || fileSystem.exists(target)) return;
  writeSecretFile(target, readSecret(source, 'clusterSecretFile'));
}

function sayLaid(
  { entryCount, lastIndex, lastSum }: LaidDirectory,
  { directory, nodeId }: LayOptions,
  io: CliIo,
): void {
  io.out(
    `${directory}: node ${nodeId} at index ${lastIndex}, ${entryCount} entries ` +
      `replayed, log sum ${lastSum}; it must be the same on every node\n`,
  );
}

function targetOf({ index, pointInTime }: PlanFlags): RestoreTarget {
  if (index !== undefined && pointInTime !== undefined) {
    throw new UsageError('give --index or --point-in-time, not both');
  }
  if (index !== undefined) {
    return { kind: 'index', index: integerOption(index, '--index', 0, Number.MAX_SAFE_INTEGER) };
  }
  if (pointInTime === undefined) return { kind: 'latest' };
  return { kind: 'time', timestampMs: parseTime(pointInTime, '--point-in-time') };
}

/** `n1=10.0.0.1:7102` */
function memberOf(text: string): PlannedMember {
  const [nodeId = '', address = '', ...rest] = text.split('=');
  if (rest.length === 0 && nodeId !== '' && parseEndpoint(address) !== null) {
    return { nodeId, address, clientAddress: null };
  }
  throw new UsageError(`--member: must be ID=HOST:PORT, got '${text}'`);
}
