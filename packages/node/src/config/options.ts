/**
 * Every setting of a node: schema, default and help in one object. Flags, environment names, file
 * keys, `--help` and the table in the documentation all come from it; relations between settings
 * are checked in relations.ts. Inside the program the result is a frozen plain object.
 */
import { availableParallelism } from 'node:os';
import { isNodeId, type NodeId } from '@holdfast/base';
import { DROP_RETENTION_MS_MAX } from '@holdfast/protocol';
import {
  CHECKPOINT_GENERATION_COUNT_MAX,
  CHECKPOINT_GENERATION_COUNT_MIN,
} from '@holdfast/storage';
import { z } from 'zod';
import { BACKUP_OPTIONS } from './backup-options.ts';
import { type Endpoint, parseEndpoint } from './endpoint.ts';
import type { Option } from './option-makers.ts';
import { bytes, count, flag, milliseconds, text } from './option-makers.ts';

export type { Option, OptionInput } from './option-makers.ts';

/** Where a peer is reached; its incarnation comes from the configuration of the cluster. */
export interface PeerAddress {
  readonly nodeId: NodeId;
  readonly address: Endpoint;
}

const MIB = 1024 * 1024;
/** What the protocol promises every client may send; a node may grant less, never more. */
const FRAME_SIZE_BYTES_MAX = 16 * MIB;
const HOUR_MS = 3_600_000;

const endpointSchema = z.string().transform((text, context): Endpoint => {
  const endpoint = parseEndpoint(text);
  if (endpoint !== null) return endpoint;
  context.addIssue({ code: 'custom', message: 'must be HOST:PORT, for example 127.0.0.1:7101' });
  return z.NEVER;
});

const nodeIdSchema = z.string().refine((value): value is NodeId => isNodeId(value), {
  error: '1 to 64 of a-z A-Z 0-9 . _ -, first a letter or digit',
}) as unknown as z.ZodType<NodeId>;

const peersSchema = z
  .record(nodeIdSchema as unknown as z.ZodString, endpointSchema)
  .transform((peers): readonly PeerAddress[] =>
    Object.entries(peers)
      .map(([id, address]) => ({ nodeId: id as NodeId, address }))
      .sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1)),
  );

const endpointsSchema = z.string().transform((text, context): readonly Endpoint[] => {
  const endpoints = text.split(',').map((part) => parseEndpoint(part.trim()));
  const good = endpoints.filter((endpoint) => endpoint !== null);
  if (good.length === endpoints.length) return good;
  context.addIssue({ code: 'custom', message: 'must be HOST:PORT,HOST:PORT,...' });
  return z.NEVER;
});

/** One core is left to the main thread; each lane costs about 20 MB before its first row. */
const LANE_COUNT_DEFAULT = Math.max(1, Math.min(4, availableParallelism() - 1));

export const OPTIONS = {
  data: text(z.string().min(1), 'DIR', 'Data directory of this node.'),
  nodeId: text(nodeIdSchema, 'ID', 'Name of this node, as in the configuration of the cluster.'),
  listen: text(endpointSchema, 'HOST:PORT', 'Public address: HTTP and client WebSocket.', {
    host: '127.0.0.1',
    port: 7101,
  }),
  advertiseAddress: text(
    endpointSchema.optional() as z.ZodType<Endpoint | undefined>,
    'HOST:PORT',
    'Public address told to clients and peers; without it the listen address.',
  ),
  peerListen: text(endpointSchema, 'HOST:PORT', 'Address for the other nodes of the cluster.', {
    host: '127.0.0.1',
    port: 7201,
  }),
  peerAdvertiseAddress: text(
    endpointSchema.optional() as z.ZodType<Endpoint | undefined>,
    'HOST:PORT',
    'Address told to the other nodes; without it the one in the configuration, or peerListen.',
  ),
  peers: {
    schema: peersSchema as unknown as z.ZodType<readonly PeerAddress[]>,
    input: 'peers',
    default: [],
    help: 'Peer addresses of nodes; they win over the addresses in the configuration of the cluster.',
    placeholder: 'ID=HOST:PORT,...',
  },
  join: text(
    endpointsSchema.optional() as z.ZodType<readonly Endpoint[] | undefined>,
    'HOST:PORT,...',
    'Peer addresses of a running cluster: an empty data directory is formatted to join it.',
  ),
  apiKeyFile: text(
    z.string().min(1).optional() as z.ZodType<string | undefined>,
    'FILE',
    'File with the API key that clients must present; without it none is asked for.',
  ),
  clusterSecretFile: text(
    z.string().min(1).optional() as z.ZodType<string | undefined>,
    'FILE',
    'File with the secret that nodes prove to each other; default cluster.secret in the data directory.',
  ),
  allowRemote: flag('Allow listening beyond loopback without an API key.'),
  maxConnections: count(1, 100_000, 1_000, 'Client connections at one time.'),
  frameSizeBytesMax: bytes(
    64 * 1024,
    FRAME_SIZE_BYTES_MAX,
    FRAME_SIZE_BYTES_MAX,
    'Largest client frame accepted.',
  ),
  inflightRequestCountMaxPerConnection: count(
    1,
    65_536,
    256,
    'Requests one connection may have under way; more are refused OVERLOADED.',
  ),
  inflightRequestCountMax: count(
    1,
    1_000_000,
    4_096,
    'Requests under way on all connections; more are refused OVERLOADED.',
  ),
  sendBufferSizeBytesMax: bytes(
    64 * 1024,
    1024 * MIB,
    8 * MIB,
    'Unread answers of one connection; above it the connection is not read and is then closed.',
  ),
  slowReaderTimeoutMs: milliseconds(
    10,
    HOUR_MS,
    10_000,
    'How long a connection may stay above sendBufferSizeBytesMax.',
  ),
  handshakeTimeoutMs: milliseconds(
    10,
    60_000,
    5_000,
    'How long a new connection may wait with its hello.',
  ),
  shutdownTimeoutMs: milliseconds(
    0,
    HOUR_MS,
    10_000,
    'How long requests under way may take at shutdown.',
  ),
  tickIntervalMs: milliseconds(5, 1_000, 20, 'Raft tick.'),
  heartbeatIntervalMs: milliseconds(10, 10_000, 100, 'Heartbeat of the leader.'),
  electionTimeoutMs: milliseconds(
    50,
    60_000,
    600,
    'Silence of the leader before an election; randomised up to twice this.',
  ),
  walFileSizeBytes: bytes(MIB, 1024 * MIB, 16 * MIB, 'Size of one preallocated log file.'),
  walSyncMode: text(
    z.enum(['group', 'every_write', 'batch', 'none']),
    'MODE',
    'What is on disk before a write counts: group (all that has arrived shares one sync) or ' +
      'every_write (a sync each); batch and none need unsafeDurability.',
    'group',
  ),
  walBatchIntervalMs: milliseconds(
    1,
    60_000,
    100,
    'Most time between two syncs of the log in the mode batch: what a power cut may take.',
  ),
  unsafeDurability: flag(
    'Allow walSyncMode batch and none: a power cut may take acknowledged writes.',
  ),
  walRetryAttempts: count(
    0,
    100,
    5,
    'Times a write that the disk refused (log, checkpoint) is tried again before its breaker opens.',
  ),
  walCircuitBreakerThreshold: count(
    1,
    100,
    3,
    'Refusals in a row that open the breaker of log or checkpoints; a full disk opens it at once.',
  ),
  walCircuitBreakerTimeoutMs: milliseconds(
    100,
    HOUR_MS,
    60_000,
    'How long an open breaker waits with a probe; a full disk that has room again ends it.',
  ),
  laneCount: count(1, 64, LANE_COUNT_DEFAULT, 'Worker threads that hold the shards.'),
  laneHeapSizeMbMax: count(
    32,
    65_536,
    1_024,
    'JavaScript heap of one lane, without rows and graphs; one that fills it is replaced.',
  ),
  memorySizeMbMax: count(
    0,
    16_777_216,
    0,
    'Resident memory of the process over which caches are let go and an alarm is told; 0: none.',
  ),
  searchTailTimeoutMs: milliseconds(
    1,
    HOUR_MS,
    50,
    'Time to compare the points of a shard that are in no graph yet; what is left out is said.',
  ),
  searchGraphTimeoutMs: milliseconds(
    1,
    HOUR_MS,
    1_000,
    'A graph that is slower three times in a row is left out for a while and its shard is scanned.',
  ),
  searchCacheTimeoutMs: milliseconds(1, HOUR_MS, 10, 'The same for the cache of answers.'),
  searchBreakerTimeoutMs: milliseconds(
    1,
    HOUR_MS,
    10_000,
    'How long a layer of searches that was too slow is left out.',
  ),
  searchCacheEntryCountMax: count(
    0,
    1_000_000,
    0,
    'Answers to searches kept until the next write; 0 keeps none.',
  ),
  checkpointIntervalMs: milliseconds(
    1_000,
    24 * HOUR_MS,
    300_000,
    'Longest time between checkpoints.',
  ),
  checkpointLogSizeBytes: bytes(
    MIB,
    64 * 1024 * MIB,
    64 * MIB,
    'Log written since the last checkpoint that triggers the next one.',
  ),
  checkpointGenerationCount: count(
    CHECKPOINT_GENERATION_COUNT_MIN,
    CHECKPOINT_GENERATION_COUNT_MAX,
    CHECKPOINT_GENERATION_COUNT_MIN,
    'Checkpoints kept; a damaged one is left for the one before it. The log is kept for the oldest.',
  ),
  logRetentionEntryCount: count(
    0,
    100_000_000,
    10_000,
    'Entries kept behind a checkpoint, so that a slow peer needs no snapshot.',
  ),
  logRetentionSizeBytesMax: bytes(
    0,
    1024 * 1024 * MIB,
    256 * MIB,
    'And at most so many bytes of them.',
  ),
  followerLogHoldSizeBytesMax: bytes(
    0,
    1024 * 1024 * MIB,
    512 * MIB,
    'Log the leader keeps for a reachable follower that lags; further behind it gets a snapshot.',
  ),
  scrubIntervalMs: milliseconds(
    0,
    30 * 24 * HOUR_MS,
    24 * HOUR_MS,
    'From the end of one look at every file to the begin of the next; 0: only when asked for.',
  ),
  digestVerifyIntervalMs: milliseconds(
    0,
    24 * HOUR_MS,
    60_000,
    'How often the replicas compare digests of all rows; 0: only when asked for.',
  ),
  logVerifyIntervalMs: milliseconds(
    0,
    24 * HOUR_MS,
    HOUR_MS,
    'How often the leader looks at the chain of its log; 0: only when asked for.',
  ),
  scrubThrottleMbps: count(0, 100_000, 100, 'Millions of bytes a scrub reads per second; 0: all.'),
  repairBytesPerSecMax: bytes(
    64 * 1024,
    1024 * 1024 * MIB,
    64 * MIB,
    'What repairs of files fetch from peers, and what is given to theirs, per second.',
  ),
  autoRecoveryEnabled: flag('Recover by itself from what is found; false: tell it only.', true),
  autoRepairEnabled: flag('Repair damaged files by itself; false: tell it only.', true),
  repairRetryCountMax: count(0, 100, 3, 'How often an action is tried again before the next one.'),
  recoveryConcurrencyMax: count(1, 64, 3, 'Recoveries at one time.'),
  snapshotTransferBytesPerSecMax: bytes(
    64 * 1024,
    64 * 1024 * MIB,
    64 * MIB,
    'How fast snapshots leave this node, all receivers together.',
  ),
  snapshotLogHoldSizeBytesMax: bytes(
    MIB,
    1024 * 1024 * MIB,
    2_048 * MIB,
    'Log kept for a snapshot transfer under way; over it the transfer is given up.',
  ),
  ...BACKUP_OPTIONS,
  dropRetentionMs: milliseconds(
    0,
    DROP_RETENTION_MS_MAX,
    24 * HOUR_MS,
    'How long a dropped collection can be undeleted; its points take memory and disk so long. 0: not at all.',
  ),
  sessionIdleTimeoutMs: milliseconds(
    1_000,
    30 * 24 * HOUR_MS,
    HOUR_MS,
    'Silence after which a client session expires.',
  ),
  logLevel: text(
    z.enum(['debug', 'info', 'warn', 'error', 'silent']),
    'LEVEL',
    'debug, info, warn, error or silent.',
    'info',
  ),
} as const satisfies Record<string, Option<unknown>>;

export type OptionKey = keyof typeof OPTIONS;

type ValueOf<Key extends OptionKey> =
  (typeof OPTIONS)[Key] extends Option<infer Value> ? Value : never;

/** Validated and frozen. Optional settings are undefined when not given. */
export type NodeConfig = { readonly [Key in OptionKey]: ValueOf<Key> };

export const OPTION_KEYS = Object.keys(OPTIONS) as readonly OptionKey[];

/** The settings that must be given. */
export const REQUIRED_KEYS: ReadonlySet<OptionKey> = new Set(['data', 'nodeId']);

/** `walFileSizeBytes` -> `--wal-file-size-bytes` */
export const flagOf = (key: string): string => `--${kebabCase(key)}`;
/** `walFileSizeBytes` -> `HOLDFAST_WAL_FILE_SIZE_BYTES` */
export const environmentNameOf = (key: string): string =>
  `HOLDFAST_${kebabCase(key).replaceAll('-', '_').toUpperCase()}`;

const kebabCase = (key: string): string =>
  key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
