/**
 * Prometheus metrics. Counters and histograms are fed by the server; everything the replica knows
 * is read from its status when the page is scraped, so that nothing is counted twice.
 */
import { isUnsafeSyncMode } from '@holdfast/storage';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RestoredRecord } from '../backup/restore/restored-record.ts';
import type {
  LaneStatus,
  NodeRole,
  NodeService,
  NodeStatus,
  PeerTransportStats,
} from '../service-api.ts';
import type { Admission } from './admission.ts';
import { registerBackupMetrics } from './backup-metrics.ts';
import { registerCareMetrics } from './care-metrics.ts';
import { registerGraphMetrics } from './graph-metrics.ts';
import { registerLaneMetrics } from './lane-metrics.ts';
import { registerLogCheckMetrics } from './log-check-metrics.ts';
import { registerLogMetrics } from './log-metrics.ts';
import { registerReplicaMetrics } from './replica-metrics.ts';
import { registerRestoreMetrics } from './restore-metrics.ts';
import { registerSearchMetrics } from './search-metrics.ts';
import { registerStandbyMetrics } from './standby-metrics.ts';

const ROLES: readonly NodeRole[] = ['follower', 'preCandidate', 'candidate', 'leader', 'repairing'];
/** 0.1 ms (a cached read) to 10 s (the default request timeout). */
const DURATION_BUCKETS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

export interface MetricsSources {
  readonly service: NodeService;
  readonly admission: Admission;
  readonly peerStats?: () => PeerTransportStats;
  /** What the data directory was restored from; null or left out: it was not. */
  readonly restored?: RestoredRecord | null;
  /** Process metrics (CPU, memory, event loop) are per process: off for embedded nodes. */
  readonly hasProcessMetrics: boolean;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'kind' | 'code'>;
  readonly #durations: Histogram<'kind'>;
  readonly #refusedConnections: Counter<'code'>;
  readonly #pushes: Counter<'direction'>;

  constructor(sources: MetricsSources) {
    const registers = [this.#registry];
    if (sources.hasProcessMetrics) collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Counter({
      name: 'holdfast_requests_total',
      help: 'Requests answered, by kind and by result code (OK or an error code).',
      labelNames: ['kind', 'code'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'holdfast_request_duration_seconds',
      help: 'From the decoded request to its answer.',
      labelNames: ['kind'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    });
    this.#refusedConnections = new Counter({
      name: 'holdfast_connections_closed_total',
      help: 'Connections that the server refused or closed, by code.',
      labelNames: ['code'],
      registers,
    });
    this.#pushes = new Counter({
      name: 'holdfast_client_bytes_total',
      help: 'Bytes of client frames, received and sent.',
      labelNames: ['direction'],
      registers,
    });
    registerStatusGauges(this.#registry, sources.service);
    registerReplicaMetrics(this.#registry, sources.service);
    registerGraphMetrics(this.#registry, sources.service);
    registerBackupMetrics(this.#registry, sources.service);
    registerStandbyMetrics(this.#registry, sources.service);
    registerCareMetrics(this.#registry, sources.service);
    registerLaneMetrics(this.#registry, sources.service);
    registerLogMetrics(this.#registry, sources.service);
    registerLogCheckMetrics(this.#registry, sources.service);
    registerRestoreMetrics(this.#registry, sources.restored ?? null);
    registerSearchMetrics(this.#registry, sources.service);
    registerServerGauges(this.#registry, sources.admission);
    if (sources.peerStats !== undefined) registerPeerMetrics(this.#registry, sources.peerStats);
  }

  /** `code` is OK or an error code: a closed set, so the label stays bounded. */
  requestDone(kind: string, code: string, durationMs: number): void {
    this.#requests.inc({ kind, code });
    this.#durations.observe({ kind }, durationMs / 1_000);
  }

  connectionClosed(code: string): void {
    this.#refusedConnections.inc({ code });
  }

  bytesReceived(count: number): void {
    this.#pushes.inc({ direction: 'received' }, count);
  }

  bytesSent(count: number): void {
    this.#pushes.inc({ direction: 'sent' }, count);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

type StatusNumber = readonly [name: string, help: string, read: (status: NodeStatus) => number];

type LaneNumber = Exclude<keyof LaneStatus, 'graphs' | 'layers'>;

const sumLanes = (status: NodeStatus, key: LaneNumber): number =>
  status.lanes.reduce((sum, lane) => sum + lane[key], 0);

const STATUS_GAUGES: readonly StatusNumber[] = [
  ['term', 'Raft term.', (s) => s.term],
  ['is_leader', '1 on the leader.', (s) => (s.role === 'leader' ? 1 : 0)],
  ['has_leader', '1 when a leader is known.', (s) => (s.leader === null ? 0 : 1)],
  ['is_ready', '1 when the node serves.', (s) => (s.isReady ? 1 : 0)],
  ['has_failed', '1 when the node stopped itself.', (s) => (s.failure === null ? 0 : 1)],
  ['commit_index', 'Highest committed log index known.', (s) => s.commitIndex],
  ['applied_index', 'Highest log index applied by every lane.', (s) => s.appliedIndex],
  ['last_index', 'Last log index.', (s) => s.lastIndex],
  ['durable_index', 'Highest log index on this disk.', (s) => s.durableIndex],
  ['collections', 'Collections.', (s) => s.collections],
  ['sessions', 'Open client sessions.', (s) => s.sessions],
  ['rows_live', 'Live rows.', (s) => sumLanes(s, 'liveRowCount')],
  [
    'payload_index_size_bytes',
    'Memory of payload indexes, estimated.',
    (s) => sumLanes(s, 'payloadIndexSizeBytes'),
  ],
  [
    'payload_index_rows_waiting',
    'Rows not in a payload index yet; filters read payloads until it is 0.',
    (s) => sumLanes(s, 'payloadIndexBacklogCount'),
  ],
  [
    'payload_indexes_given_up',
    'Payload indexes of shards that outgrew their memory and are not used.',
    (s) => sumLanes(s, 'payloadIndexGivenUpCount'),
  ],
  ['rows_tail', 'Rows not in a graph yet.', (s) => sumLanes(s, 'tailRowCount')],
  ['rows_graph', 'Rows in a graph.', (s) => sumLanes(s, 'graphRowCount')],
  [
    'rows_deleted',
    'Deleted or replaced rows still on disk.',
    (s) => sumLanes(s, 'deletedRowCount'),
  ],
  [
    'wal_unsafe_durability',
    '1 when the log acknowledges what a power cut may take.',
    ({ wal }) => (wal.syncMode !== null && isUnsafeSyncMode(wal.syncMode) ? 1 : 0),
  ],
  ['wal_last_sync_seconds', 'Duration of the last log sync.', (s) => s.wal.lastSyncMs / 1_000],
  [
    'clock_skew_seconds',
    'Own wall clock minus the median of the voters; 0 while unknown.',
    (s) => (s.clockSkewMs ?? 0) / 1_000,
  ],
];

const STATUS_COUNTERS: readonly StatusNumber[] = [
  ['wal_bytes_total', 'Bytes written to the log.', (s) => s.wal.bytesWritten],
  ['wal_batches_total', 'Log batches written.', (s) => s.wal.batches],
  ['wal_syncs_total', 'Log syncs.', (s) => s.wal.syncs],
];

function registerStatusGauges(registry: Registry, service: NodeService): void {
  const registers = [registry];
  for (const [name, help, read] of STATUS_GAUGES)
    gauge(registry, name, help, () => read(service.status()));
  for (const [name, help, read] of STATUS_COUNTERS)
    counter(registry, name, help, () => read(service.status()));
  new Gauge({
    name: 'holdfast_role',
    help: '1 for the role the node has.',
    labelNames: ['role'],
    registers,
    collect() {
      const { role } = service.status();
      for (const known of ROLES) this.set({ role: known }, known === role ? 1 : 0);
    },
  });
  new Gauge({
    name: 'holdfast_peer_lag_entries',
    help: 'On the leader: entries a peer is behind.',
    labelNames: ['peer'],
    registers,
    collect() {
      this.reset();
      for (const peer of service.status().peers) this.set({ peer: peer.nodeId }, peer.lagEntries);
    },
  });
}

function registerServerGauges(registry: Registry, admission: Admission): void {
  gauge(
    registry,
    'client_connections',
    'Open client connections.',
    () => admission.connectionCount,
  );
  gauge(registry, 'requests_inflight', 'Requests under way.', () => admission.inflightCount);
}

type PeerNumber = readonly [name: string, help: string, key: keyof PeerTransportStats];

const PEER_COUNTERS: readonly PeerNumber[] = [
  ['peer_messages_sent_total', 'Raft messages sent.', 'messagesSent'],
  ['peer_frames_sent_total', 'Frames of Raft messages sent.', 'framesSent'],
  ['peer_messages_received_total', 'Raft messages received.', 'messagesReceived'],
  ['peer_messages_dropped_total', 'Raft messages dropped before sending.', 'messagesDropped'],
  ['peer_bytes_sent_total', 'Bytes sent to peers.', 'bytesSent'],
  ['peer_bytes_received_total', 'Bytes received from peers.', 'bytesReceived'],
  ['peer_frames_corrupt_total', 'Peer frames with a bad checksum.', 'framesCorrupt'],
  ['peer_messages_malformed_total', 'Raft messages that did not decode.', 'messagesMalformed'],
  ['peer_handshakes_refused_total', 'Peer handshakes refused.', 'handshakesRefused'],
  ['peer_snapshots_sent_total', 'Snapshots sent.', 'snapshotsSent'],
  ['peer_snapshots_received_total', 'Snapshots received.', 'snapshotsReceived'],
  ['peer_snapshots_failed_total', 'Snapshot transfers that failed.', 'snapshotsFailed'],
];

function registerPeerMetrics(registry: Registry, stats: () => PeerTransportStats): void {
  gauge(registry, 'peers_connected', 'Peers connected.', () => stats().connectedPeerCount);
  for (const [name, help, key] of PEER_COUNTERS) counter(registry, name, help, () => stats()[key]);
}

function gauge(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name: `holdfast_${name}`,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** A counter whose value lives elsewhere: set anew at every scrape. */
function counter(registry: Registry, name: string, help: string, read: () => number): void {
  new Counter({
    name: `holdfast_${name}`,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}
