/** The concrete I/O of joining a cluster, before anything else of a node exists. */
import {
  assert,
  HoldfastError as HoldfastFailure,
  incarnation,
  type Logger,
  SeededRandom,
} from '@holdfast/base';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import type { NodeFileSystem } from '@holdfast/storage';
import { formatToJoin, isFormatted, UNKNOWN_CLUSTER_ID } from './cluster/join.ts';
import { formatEndpoint, isWildcardHost, parseEndpoint } from './config/endpoint.ts';
import type { NodeConfig } from './config/options.ts';
import { readClusterSecret } from './config/secrets.ts';
import { inquire } from './peer/dial.ts';
import { createPeerContext } from './peer/peer-context.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from './system-time.ts';

/**
 * Whom to ask for the cluster: --join, or the peers of a node that was given the cluster's secret
 * from outside its data directory. So a configured member whose disk was emptied joins again
 * without anybody's help; without a secret it is nobody's member and is refused.
 */
export function joinSeeds({ clusterSecretFile, join, nodeId, peers }: NodeConfig) {
  if (join !== undefined) return join;
  if (clusterSecretFile === undefined) return [];
  return peers.filter((peer) => peer.nodeId !== nodeId).map((peer) => peer.address);
}

/**
 * Formats an empty directory once somebody at the addresses given with --join proved to belong to a
 * cluster. Does nothing without anybody to ask, or when the directory is formatted already.
 * @throws HoldfastError JOIN_FAILED, CONFIG_INVALID, DATA_DIR_FOREIGN, FILE_IO
 */
export async function joinIfEmpty(
  fileSystem: NodeFileSystem,
  config: NodeConfig,
  logger: Logger,
): Promise<void> {
  const { data: dataDirectory, nodeId } = config;
  const seeds = joinSeeds(config);
  if (seeds.length === 0 || isFormatted(fileSystem, dataDirectory)) return;
  if (config.peerAdvertiseAddress === undefined && isWildcardHost(config.peerListen.host)) {
    const message = 'peerAdvertiseAddress: is needed to join when peerListen is every interface';
    throw new HoldfastFailure('CONFIG_INVALID', message, {
      details: { key: 'peerAdvertiseAddress' },
    });
  }
  const secret = readClusterSecret(config);
  const addresses = seeds.map(formatEndpoint);
  const context = createPeerContext({
    ...{ clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, random: new SeededRandom(1), logger },
    ...{ nodeId, clusterId: UNKNOWN_CLUSTER_ID, incarnation: incarnation('0'.repeat(32)) },
    ...{ listen: config.peerListen, secret, epoch: 0 },
    codec: { encode: encodeRaftMessage, decode: decodeRaftMessage },
    publicAddress: () => '',
    peerAddress: () => formatEndpoint(config.peerAdvertiseAddress ?? config.peerListen),
  });
  await formatToJoin(
    fileSystem,
    { nodeId, dataDirectory, secret, addresses },
    {
      askCluster: async (address) => {
        const endpoint = parseEndpoint(address);
        assert(endpoint !== null, 'addresses were checked with the configuration');
        return (await inquire(context, endpoint)).identity;
      },
      pause: (delayMs) =>
        new Promise((resolve) => {
          SYSTEM_TIMERS.after(delayMs, resolve);
        }),
      warn: (message) => logger.warn({ addresses }, message),
    },
  );
  logger.info({ directory: dataDirectory }, 'formatted to join a cluster; waiting to be added');
}
