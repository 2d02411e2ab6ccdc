/**
 * `holdfast standby status|begin|promote|diff`: another cluster that follows this one's archive,
 * and takes over from it.
 */
import { clusterId as clusterIdOf, DEFAULT_GROUP_ID, HoldfastError } from '@holdfast/base';
import {
  createEntryHasher,
  findLockHolder,
  joinPath,
  NodeFileSystem,
  type ReadLogs,
  readIdentity,
  readLogs,
} from '@holdfast/storage';
import type { Command } from 'commander';
import { listDifferences } from '../standby/differences.ts';
import { entriesBehind } from '../standby/entries-behind.ts';
import type { Promoted } from '../standby/promotion.ts';
import type { DifferenceReport, SiteStatus } from '../standby/site-api.ts';
import { SiteStores } from '../standby/site-stores.ts';
import { OWN_EPOCH } from '../state/site.ts';
import { askNode } from './ask-node.ts';
import { addClientFlags, type ClientFlags, nodeAddresses } from './client-flags.ts';
import { type CliIo, integerOption, UsageError } from './io.ts';
import { addStoreFlags, onlyCluster, type StoreFlags, withStore } from './store-flags.ts';

const STATUS_TIMEOUT_MS = '10000';
/** A promotion catches up, and may wait for fenceAgeMaxMs. */
const PROMOTE_TIMEOUT_MS = '3600000';
const DIFF_TIMEOUT_MS = '600000';
const DIFFERENCE_COUNT_MAX = 100_000;

interface PromoteFlags extends ClientFlags {
  readonly force?: boolean;
}

interface DiffFlags extends ClientFlags, StoreFlags {
  readonly cluster?: string;
  readonly dataDir?: string;
  readonly limit: string;
  readonly json?: boolean;
}

export function registerStandby(program: Command, io: CliIo): void {
  const standby = program
    .command('standby')
    .description('a cluster that follows the archive of another one, and can take over from it');
  addClientFlags(
    standby
      .command('status')
      .description('what the cluster is, how far behind a standby is, and what is wrong')
      .option('--digest', 'with the digest of the content, equal at equal indexes of the primary'),
    STATUS_TIMEOUT_MS,
  ).action((flags: ClientFlags & { readonly digest?: boolean }) => status(flags, io));
  addClientFlags(
    standby
      .command('begin')
      .description('make an empty cluster a standby; the archive must reach back to the beginning')
      .requiredOption('--of <CLUSTER>', 'id of the primary, whose archive is in the first store'),
    DIFF_TIMEOUT_MS,
  ).action((flags: ClientFlags & { readonly of: string }) => begin(flags, io));
  addClientFlags(
    standby
      .command('promote')
      .description('take over from the primary with all that is archived')
      .option('--force', 'also when the primary seems to live, or following has stopped'),
    PROMOTE_TIMEOUT_MS,
  ).action((flags: PromoteFlags) => promote(flags, io));
  addStoreFlags(
    addClientFlags(
      standby
        .command('diff')
        .description('what an old primary has behind the entry at which it was taken over')
        .option('--cluster <ID>', 'of the old primary; default: the only one that was taken over')
        .option('--data-dir <DIR>', 'read the log of this stopped node, with --from')
        .option('--limit <N>', 'entries that are listed', '1000')
        .option('--json', 'one JSON document'),
      DIFF_TIMEOUT_MS,
    ),
  ).action((flags: DiffFlags) => diff(flags, io));
}

type StatusView = SiteStatus & {
  readonly content?: { readonly digest: string; readonly contentIndex: number };
};

function ask<Body>(
  flags: ClientFlags,
  io: CliIo,
  address: string,
  question: { readonly path: string; readonly timeoutMs: string; readonly body?: unknown },
): Promise<Body> {
  const method = question.body === undefined ? 'GET' : 'POST';
  return askNode<Body>(flags, io, { address, method, ...question });
}

async function status(
  flags: ClientFlags & { readonly digest?: boolean },
  io: CliIo,
): Promise<void> {
  const path = `/api/v1/admin/standby${flags.digest === true ? '?digest' : ''}`;
  for (const address of nodeAddresses(flags, io)) {
    const view = await ask<StatusView>(flags, io, address, { path, timeoutMs: STATUS_TIMEOUT_MS });
    io.out(`${address}: ${describeSite(view)}\n`);
    for (const line of detailsOf(view)) io.out(`  ${line}\n`);
  }
}

function describeSite({ clusterId, isLeading, site }: StatusView): string {
  const who = `cluster ${clusterId}${isLeading ? ', leader' : ''}`;
  switch (site.kind) {
    case 'primary':
      if (site.promotion === null) return `${who}: primary`;
      return (
        `${who}: primary, took over from ${site.promotion.source.clusterId} behind index ` +
        `${site.promotion.source.index} (epoch ${site.promotion.epoch})`
      );
    case 'standby': {
      const { clusterId: of, index, timestampMs } = site.source;
      const time = new Date(timestampMs).toISOString();
      const frozen = site.takeover === null ? '' : ', a promotion is under way';
      return `${who}: standby of ${of} at index ${index}, ${time}${frozen}`;
    }
    case 'fenced': {
      const { byClusterId, epoch, index } = site.fence;
      return `${who}: FENCED, ${byClusterId} took over behind index ${index} (epoch ${epoch})`;
    }
  }
}

function detailsOf({ content, fenceWatch, follower, lastPromotionError }: StatusView) {
  const lines: string[] = [];
  const { isLagExceeded, lagEntryCount, lagMs, lastError, state } = follower;
  if (lagMs !== null) {
    const alarm = isLagExceeded ? ', TOO FAR BEHIND' : '';
    lines.push(`${state}: ${lagEntryCount} entries, ${Math.round(lagMs)} ms behind${alarm}`);
  }
  if (lastError !== null) lines.push(`${lastError.code}: ${lastError.message}`);
  if (!fenceWatch.isFresh) lines.push('WRITES REFUSED: the store cannot be read');
  if (fenceWatch.lastError !== null) lines.push(`store: ${fenceWatch.lastError.message}`);
  if (lastPromotionError !== null) lines.push(`promotion: ${lastPromotionError.message}`);
  if (content !== undefined)
    lines.push(`content ${content.digest} at index ${content.contentIndex}`);
  return lines;
}

/** @throws UsageError when none of the nodes leads */
async function leaderOf(flags: ClientFlags, io: CliIo): Promise<string> {
  const path = '/api/v1/admin/standby';
  for (const address of nodeAddresses(flags, io)) {
    const view = await ask<StatusView>(flags, io, address, { path, timeoutMs: STATUS_TIMEOUT_MS })
      // One that is away does not keep the others from being asked.
      .catch(() => null);
    if (view?.isLeading === true) return address;
  }
  throw new UsageError('--nodes: none of them leads its cluster right now; name all of them');
}

async function begin(flags: ClientFlags & { readonly of: string }, io: CliIo): Promise<void> {
  const address = await leaderOf(flags, io);
  const path = '/api/v1/admin/standby/begin';
  const body = { clusterId: flags.of };
  const question = { path, body, timeoutMs: DIFF_TIMEOUT_MS };
  io.out(`${describeSite(await ask<StatusView>(flags, io, address, question))}\n`);
}

async function promote(flags: PromoteFlags, io: CliIo): Promise<void> {
  const address = await leaderOf(flags, io);
  const path = '/api/v1/admin/standby/promote';
  const body = { isForced: flags.force === true };
  const question = { path, body, timeoutMs: PROMOTE_TIMEOUT_MS };
  const promoted = await ask<Promoted>(flags, io, address, question);
  const { epoch, fromClusterId, index, timeline, timestampMs } = promoted;
  io.out(
    `took over from cluster ${fromClusterId} behind index ${index}, ` +
      `${new Date(timestampMs).toISOString()}: epoch ${epoch}, timeline ${timeline}\n`,
  );
  io.out('what the old primary acknowledged behind it: holdfast standby diff\n');
}

async function diff(flags: DiffFlags, io: CliIo): Promise<void> {
  const countMax = integerOption(flags.limit, '--limit', 1, DIFFERENCE_COUNT_MAX);
  const isFromStore = flags.from !== undefined || flags.s3 !== undefined;
  if (flags.dataDir !== undefined && !isFromStore) {
    throw new UsageError('--data-dir: name the store too, with --from: it says where the cut is');
  }
  const report = isFromStore
    ? await diffFromStore(flags, io, countMax)
    : await diffFromNode(flags, io, countMax);
  if (flags.json === true) io.out(`${JSON.stringify(report, null, 2)}\n`);
  else show(report, io);
}

function diffFromNode(flags: DiffFlags, io: CliIo, countMax: number): Promise<DifferenceReport> {
  const [address] = nodeAddresses(flags, io);
  if (address === undefined) throw new UsageError('--nodes: name a node of the old primary');
  const path = `/api/v1/admin/standby/diff?limit=${countMax}`;
  return ask<DifferenceReport>(flags, io, address, { path, timeoutMs: DIFF_TIMEOUT_MS });
}

/** Without a data directory: what of it was archived. */
async function diffFromStore(
  flags: DiffFlags,
  io: CliIo,
  countMax: number,
): Promise<DifferenceReport> {
  const { signal } = new AbortController();
  return withStore(flags, io, async ({ sealing, sink }) => {
    const stores = new SiteStores({ sinks: [sink], sealing, hasher: createEntryHasher() });
    const clusterId = clusterIdOf(await oldCluster(flags, { sealing, sink }));
    const epoch = await stores.newestEpoch(sink, clusterId, OWN_EPOCH, signal);
    if (epoch === null) {
      const message = `${sink.name}: nobody has taken over from cluster ${clusterId}`;
      throw new HoldfastError('REQUEST_INVALID', message, { details: { clusterId } });
    }
    const logs = flags.dataDir === undefined ? null : openLogs(flags.dataDir, clusterId);
    try {
      const log = logs?.groups.get(DEFAULT_GROUP_ID) ?? null;
      const archive = () => stores.archiveIn(sink, clusterId, epoch.timeline, signal);
      // What one stopped node has may or may not have been on a majority.
      const commitIndex =
        log === null ? Number.MAX_SAFE_INTEGER : (log.hardState()?.commit ?? epoch.index);
      const { differences, isCut, throughIndex } = await listDifferences({
        entries: entriesBehind(epoch, log, archive),
        ...{ cutIndex: epoch.index, commitIndex, countMax, nameOf: () => null },
      });
      const { byClusterId, epoch: number, index: cutIndex } = epoch;
      const about = { clusterId, byClusterId, epoch: number, cutIndex };
      return { ...about, throughIndex, differences, isCut };
    } finally {
      logs?.close();
    }
  });
}

async function oldCluster(
  flags: DiffFlags,
  store: Parameters<typeof onlyCluster>[0],
): Promise<string> {
  if (flags.cluster !== undefined) return flags.cluster;
  if (flags.dataDir !== undefined) {
    return readIdentity(new NodeFileSystem(), flags.dataDir).clusterId;
  }
  return onlyCluster(store, undefined);
}

function openLogs(directory: string, clusterId: string): ReadLogs {
  const fileSystem = new NodeFileSystem();
  const holder = findLockHolder(fileSystem, directory);
  if (holder !== null) {
    const message = `process ${holder} uses ${directory}: stop the node first, or ask it (--nodes)`;
    throw new HoldfastError('DATA_DIR_LOCKED', message, { details: { directory, pid: holder } });
  }
  const identity = readIdentity(fileSystem, directory);
  if (identity.clusterId !== clusterId) {
    const message = `${directory} is of cluster ${identity.clusterId}, not of ${clusterId}`;
    throw new HoldfastError('DATA_DIR_FOREIGN', message, { details: { directory } });
  }
  return readLogs(fileSystem, joinPath(directory, 'wal'));
}

function show(report: DifferenceReport, io: CliIo): void {
  const { byClusterId, clusterId, cutIndex, differences, epoch, isCut, throughIndex } = report;
  io.out(
    `cluster ${byClusterId} took over from ${clusterId} behind index ${cutIndex} ` +
      `(epoch ${epoch}); looked at entries up to ${throughIndex}\n`,
  );
  for (const one of differences) {
    const { collection, ids, index, isCommitted, kind, pointCount, timestampMs } = one;
    const more = pointCount > ids.length ? ', ...' : '';
    const points = pointCount === 0 ? '' : ` ${pointCount} points: ${ids.join(', ')}${more}`;
    const doubt = isCommitted ? '' : ' (not known to be committed)';
    const time = new Date(timestampMs).toISOString();
    io.out(`  ${index}  ${time}  ${kind} ${collection}${points}${doubt}\n`);
  }
  const count = isCut ? `more than ${differences.length}` : `${differences.length}`;
  io.out(`${count} requests of clients are in the old cluster only\n`);
}
