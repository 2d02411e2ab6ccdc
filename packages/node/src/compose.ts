/**
 * The one file that builds concrete I/O: real clock, disk, log thread, lane threads, sockets.
 * Order of start: lock, identity, log recovery, lanes and state, peer port, public port, driver.
 * Order of stop is the reverse: clients are drained first, the lock is released last.
 */
import { randomBytes } from 'node:crypto';
import type { HoldfastError, Logger } from '@holdfast/base';
import { HoldfastError as HoldfastFailure, incarnation, SeededRandom } from '@holdfast/base';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import { PiscinaHost } from '@holdfast/shard-worker';
import type { NodeIdentity, WriteRetryOptions } from '@holdfast/storage';
import {
  createEntryHasher,
  isUnsafeSyncMode,
  joinPath,
  lockDataDirectory,
  NodeFileSystem,
  readIdentity,
  removeTemporaryFiles,
  ThreadWal,
} from '@holdfast/storage';
import type { AssembledNode } from './assemble.ts';
import { assembleNode } from './assemble.ts';
import { knownRestore, type RestoredRecord } from './backup/restore/restored-record.ts';
import { refuseRestoring } from './backup/restore/restoring-marker.ts';
import { ClosingStack } from './closing-stack.ts';
import { openBackupPlace } from './compose-backup.ts';
import { joinIfEmpty, joinSeeds } from './compose-join.ts';
import { restoreIfEmpty } from './compose-restore.ts';
import { makeRestores } from './compose-restores.ts';
import { formatEndpoint } from './config/endpoint.ts';
import type { NodeConfig } from './config/options.ts';
import { readApiKey, readClusterSecret } from './config/secrets.ts';
import { endLanes } from './end-lanes.ts';
import { FailureLatch } from './failure-latch.ts';
import type { HealLimits } from './heal/node-care.ts';
import { ScrubThread } from './heal/scrub-thread.ts';
import type { ProcessSample } from './heal/workers.ts';
import { WebSocketPeerTransport } from './peer/peer-transport.ts';
import { createPinoLogger } from './pino-logger.ts';
import { startProcessSampling } from './process-sample.ts';
import { refuseUnfinished } from './quorum-loss/carry-out.ts';
import { BootingNode } from './recovery/booting-node.ts';
import { isIdentityDamaged, keepIdentityCopy, restoreIdentity } from './recovery/identity-copy.ts';
import {
  beginNewLifeAfter,
  isNewLifeUnfinished,
  openLife,
  rememberedContacts,
  resumeNewLife,
} from './recovery/new-life.ts';
import { breakerOptions } from './replica/checkpoint-schedule.ts';
import { LaneAlarms } from './replica/lane-alarms.ts';
import { pauseBy } from './replica/slices.ts';
import type { ResultCacheOptions } from './routing/result-cache.ts';
import { checkBind } from './server/listen.ts';
import { PublicServer } from './server/public-server.ts';
import type { RunningNode } from './service-api.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from './system-time.ts';

/** A follower further behind than this is served from the files, which the system caches anyway. */
const LOG_CACHE_SIZE_BYTES = 4 * 1024 * 1024;

/** What graphs need is no hurry: searches scan meanwhile. */
const LOOK_INTERVAL_MS = 5_000;

const defer = (callback: () => void): void => void setImmediate(callback);
const pause = pauseBy(defer);
const SEAMS = { clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS };

export interface StartNodeOverrides {
  readonly logger?: Logger;
  /** False for a node that shares its process with an application. */
  readonly hasProcessMetrics?: boolean;
  /** Program of the threads of lanes; for tests, which make them fail. */
  readonly laneWorker?: URL;
}

/**
 * Starts a node on a formatted data directory; resolves when both ports listen.
 * @throws HoldfastError DATA_DIR_EMPTY, DATA_DIR_FOREIGN, DATA_DIR_LOCKED, ADDRESS_IN_USE,
 *   BIND_REFUSED, CONFIG_INVALID, DISK_FULL, WAL_CORRUPT, CHECKPOINT_CORRUPT, ...
 */
export async function startNode(
  config: NodeConfig,
  overrides: StartNodeOverrides = {},
): Promise<RunningNode> {
  const opened = new ClosingStack();
  try {
    return await openNode(config, overrides, opened);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openNode(
  config: NodeConfig,
  overrides: StartNodeOverrides,
  opened: ClosingStack,
): Promise<RunningNode> {
  const logger = overrides.logger ?? createPinoLogger(config.logLevel, { node: config.nodeId });
  const fileSystem = new NodeFileSystem();
  const { apiKey, identity: found } = await checkStart(fileSystem, config, logger);
  const lock = lockDataDirectory(fileSystem, config.data);
  opened.push('data lock', async () => lock.release());
  removeTemporaryFiles(fileSystem, config.data);
  const life = lifeOf(fileSystem, config, found, logger);
  const { wal, identity } = await openLife(life);
  opened.push('log', () => wal.close());
  keepIdentityCopy(fileSystem, config.data, identity);
  const restored = knownRestore(fileSystem, config.data, logger);
  const failure = new FailureLatch();
  const { host, alarms } = openLanes(config, overrides, logger, failure);
  opened.push('lanes', () => host.close());
  let publicAddress = formatEndpoint(config.advertiseAddress ?? config.listen);
  const common = { ...SEAMS, random: new SeededRandom(randomBytes(4).readUInt32LE()), logger };
  const transport = new WebSocketPeerTransport({
    ...{ ...common, ...peerOptions(config, identity, restored) },
    publicAddress: () => publicAddress,
    peerAddress: () => ownPeerAddress(config, identity) ?? transport.address,
  });
  const backup = await openBackupPlace(config, { ...common, fileSystem }, opened);
  const onFailure = (error: HoldfastError): void => {
    beginNewLifeAfter(error, { ...life, identity });
    failure.set(error);
  };
  const node = new BootingNode(identity, (onRecovery) =>
    assembleNode(
      {
        ...{ ...assembleOptionsOf(config), identity, publicAddress: () => publicAddress },
        joinAddresses: joinAddresses(fileSystem, config),
      },
      {
        ...{ ...common, ...backup, fileSystem, wal, host, transport, defer, onRecovery, onFailure },
        ...{ hash: createEntryHasher(), processSample: sampleProcess(opened) },
        scrubReader: (bytesPerSecMax) => new ScrubThread({ ...common, pause, bytesPerSecMax }),
      },
    ).catch((thrown: unknown) => {
      beginNewLifeAfter(thrown, { ...life, identity });
      throw thrown;
    }),
  );
  await node.servable();
  const place = { ...backup, service: node.service, address: () => server.address };
  const restores = makeRestores(config, { ...common, fileSystem }, place);
  const server: PublicServer = new PublicServer({
    ...{ ...common, config, apiKey, service: node.service, restored, restores },
    peerStats: () => transport.stats(),
    hasProcessMetrics: overrides.hasProcessMetrics ?? true,
  });
  opened.push('peer port', () => transport.stop());
  await transport.start();
  opened.push('public port', () => server.stop());
  await server.start();
  if (config.advertiseAddress === undefined) publicAddress = server.address;
  node.start((started) => tellNode(started, failure, alarms), failure.set);
  // Clients are drained while the replica still answers; then it stops taking part.
  opened.pushBelow('public port', 'replica', () => node.stop());
  // First of all: while clients are still served, another takes over the leadership.
  opened.push('leadership', () => node.handOver());
  opened.push('restores', async () => restores?.stop());
  const addresses = { public: server.address, peer: transport.address };
  logger.info(addresses, 'the node is up');
  return runningNode(addresses, node, failure, { host, opened });
}

const assembleOptionsOf = (config: NodeConfig) => ({
  ...{ ...config, dataDirectory: config.data, limits: config, ...healOf(config) },
  retainedEntryCount: config.logRetentionEntryCount,
  ...{ searchCache: searchCacheOf(config), writeRetry: writeRetryOf(config) },
});

function sampleProcess(opened: ClosingStack): () => ProcessSample {
  const sampling = startProcessSampling();
  opened.push('process samples', async () => sampling.stop());
  return sampling.sample;
}

function runningNode(
  addresses: RunningNode['addresses'],
  node: BootingNode,
  failure: FailureLatch,
  { host, opened }: { readonly host: PiscinaHost; readonly opened: ClosingStack },
): RunningNode {
  return {
    addresses,
    membership: () => node.service.status().membership,
    onFailure: (listener) => failure.listen(listener),
    endThreads: () => endLanes(host, SYSTEM_TIMERS),
    stop: () => opened.close(),
  };
}

function healOf(config: NodeConfig): { readonly heal: HealLimits } {
  const heal = {
    scrubIntervalMs: config.scrubIntervalMs,
    scrubBytesPerSecMax: config.scrubThrottleMbps * 1_000_000,
    repairBytesPerSecMax: config.repairBytesPerSecMax,
    recoveryConcurrencyMax: config.recoveryConcurrencyMax,
    isAutoRecoveryEnabled: config.autoRecoveryEnabled,
    isAutoRepairEnabled: config.autoRepairEnabled,
    repairRetryCountMax: config.repairRetryCountMax,
    lookIntervalMs: LOOK_INTERVAL_MS,
    residentSizeBytesMax: config.memorySizeMbMax * 1_000_000,
  };
  return { heal };
}

/** Whom a node asks that waits to be admitted. */
function joinAddresses(fileSystem: NodeFileSystem, config: NodeConfig): readonly string[] {
  const given = joinSeeds(config);
  if (given.length > 0) return given.map(formatEndpoint);
  return rememberedContacts(fileSystem, config.data);
}

function peerOptions(config: NodeConfig, identity: NodeIdentity, restored: RestoredRecord | null) {
  return {
    ...(restored === null ? {} : { planDigest: restored.planDigest }),
    clusterId: identity.clusterId,
    nodeId: identity.nodeId,
    incarnation: identity.incarnation,
    epoch: identity.epoch,
    listen: config.peerListen,
    addresses: new Map(config.peers.map((peer) => [peer.nodeId, peer.address])),
    secret: readClusterSecret(config),
    codec: { encode: encodeRaftMessage, decode: decodeRaftMessage },
  };
}

/** Null: the port is chosen by the system, so it is known only once the node listens. */
function ownPeerAddress(config: NodeConfig, identity: NodeIdentity): string | null {
  const { peerAdvertiseAddress, peerListen } = config;
  if (peerAdvertiseAddress !== undefined) return formatEndpoint(peerAdvertiseAddress);
  const own = identity.firstConfiguration.find(({ nodeId }) => nodeId === identity.nodeId);
  return own?.address ?? (peerListen.port === 0 ? null : formatEndpoint(peerListen));
}

const searchCacheOf = (config: NodeConfig): ResultCacheOptions => ({
  entryCountMax: config.searchCacheEntryCountMax,
  timeoutMs: config.searchCacheTimeoutMs,
  breakerOpenMs: config.searchBreakerTimeoutMs,
});

function openLanes(
  config: NodeConfig,
  { laneWorker }: StartNodeOverrides,
  logger: Logger,
  failure: FailureLatch,
) {
  const { data: dataDirectory, laneCount, laneHeapSizeMbMax: heapSizeMbMax } = config;
  const layers = {
    graphTimeoutMs: config.searchGraphTimeoutMs,
    tailTimeoutMs: config.searchTailTimeoutMs,
    breakerOpenMs: config.searchBreakerTimeoutMs,
  };
  const alarms = new LaneAlarms(logger);
  const host = new PiscinaHost({
    ...{ dataDirectory, laneCount, heapSizeMbMax, layers },
    saveBreaker: breakerOptions(writeRetryOf(config)),
    ...(laneWorker === undefined ? {} : { worker: laneWorker }),
    supervision: {
      ...{ ...SEAMS, onEvent: alarms.tell, onFatal: failure.set },
      mayRestart: () => alarms.mayRestart,
    },
  });
  return { host, alarms };
}

/** What happens below it is told to the replica once there is one. */
function tellNode(
  { care, replica, service }: AssembledNode,
  failure: FailureLatch,
  alarms: LaneAlarms,
): void {
  failure.listen((error) => service.reportFailure(error.message));
  alarms.listen((event) => {
    replica.onLaneEvent(event);
    care.causes.onLane(event);
  });
  alarms.restartsAre(() => care.recoveries.options.isEnabled);
}

function lifeOf(
  fileSystem: NodeFileSystem,
  config: NodeConfig,
  identity: NodeIdentity,
  logger: Logger,
) {
  return {
    ...{ fileSystem, dataDirectory: config.data, identity, logger },
    openWal: () => openWal(config, logger),
    mintIncarnation: () => incarnation(randomBytes(16).toString('hex')),
  };
}

const writeRetryOf = (config: NodeConfig): WriteRetryOptions => ({
  retryAttempts: config.walRetryAttempts,
  circuitBreakerThreshold: config.walCircuitBreakerThreshold,
  circuitBreakerTimeoutMs: config.walCircuitBreakerTimeoutMs,
});

function openWal(config: NodeConfig, logger: Logger): ThreadWal {
  const wal = ThreadWal.open({
    directory: joinPath(config.data, 'wal'),
    options: {
      fileSizeBytes: config.walFileSizeBytes,
      cacheSizeBytesMax: LOG_CACHE_SIZE_BYTES,
      writeRetry: writeRetryOf(config),
      syncMode: config.walSyncMode,
      syncIntervalMs: config.walBatchIntervalMs,
    },
    clock: SYSTEM_CLOCK,
  });
  if (isUnsafeSyncMode(config.walSyncMode)) {
    const { walSyncMode, walBatchIntervalMs } = config;
    logger.warn({ walSyncMode, walBatchIntervalMs }, 'a power cut may take acknowledged writes');
  }
  if (wal.tornTail !== null) {
    logger.warn({ tornTail: wal.tornTail }, 'an unfinished write at the end of the log was cut');
  }
  return wal;
}

/** Everything that can be refused before anything is opened. */
async function checkStart(fileSystem: NodeFileSystem, config: NodeConfig, logger: Logger) {
  const apiKey = readApiKey(config);
  checkBind(config.listen, { hasApiKey: apiKey !== null, allowRemote: config.allowRemote });
  refuseUnfinished(fileSystem, config.data);
  await restoreIfEmpty(
    config,
    { ...SEAMS, fileSystem, logger, random: new SeededRandom(1) },
    logger,
  );
  refuseRestoring(fileSystem, config.data);
  if (isNewLifeUnfinished(fileSystem, config.data)) finishNewLife(fileSystem, config.data);
  restoreLocked(fileSystem, config.data, logger);
  await joinIfEmpty(fileSystem, config, logger);
  const identity = readOwnIdentity(fileSystem, config);
  checkFreeSpace(fileSystem, config);
  return { apiKey, identity };
}

/** The directory is locked for it only where it is needed: another node's name is told first. */
function restoreLocked(fileSystem: NodeFileSystem, dataDirectory: string, logger: Logger): void {
  if (!isIdentityDamaged(fileSystem, dataDirectory)) return;
  const lock = lockDataDirectory(fileSystem, dataDirectory);
  try {
    restoreIdentity(fileSystem, dataDirectory, logger);
  } finally {
    lock.release();
  }
}

function finishNewLife(fileSystem: NodeFileSystem, dataDirectory: string): void {
  const lock = lockDataDirectory(fileSystem, dataDirectory);
  try {
    resumeNewLife(fileSystem, dataDirectory);
  } finally {
    lock.release();
  }
}

function readOwnIdentity(fileSystem: NodeFileSystem, config: NodeConfig): NodeIdentity {
  const identity = readIdentity(fileSystem, config.data);
  if (identity.nodeId !== config.nodeId) {
    throw new HoldfastFailure(
      'DATA_DIR_FOREIGN',
      `${config.data} belongs to node '${identity.nodeId}', not to '${config.nodeId}': ` +
        'pass the right --node-id or --data',
      { details: { directory: config.data, owner: identity.nodeId } },
    );
  }
  return identity;
}

/** A node that cannot even write its next log file must not join and stall its group. */
function checkFreeSpace(fileSystem: NodeFileSystem, config: NodeConfig): void {
  const freeBytes = fileSystem.freeBytes(config.data);
  const neededBytes = 2 * config.walFileSizeBytes;
  if (freeBytes >= neededBytes) return;
  throw new HoldfastFailure(
    'DISK_FULL',
    `the disk of ${config.data} has ${freeBytes} bytes free, starting needs ${neededBytes}: ` +
      'free space',
    { details: { directory: config.data, freeBytes, neededBytes } },
  );
}
