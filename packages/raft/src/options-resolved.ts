/**
 * Options with every default filled in, checked once against each other, then frozen. A bad option
 * is a bug of the host that composed it: it asserts.
 */
import { assert } from '@holdfast/base';
import type { RaftOptions } from './options.ts';

export type ResolvedOptions = Required<RaftOptions>;

const KIB = 1024;
const MIB = 1024 * KIB;

/** 30 ticks of 20 ms: several round trips and one slow fsync fit into an election timeout. */
const ELECTION_TIMEOUT_TICKS = 30;
/** Six heartbeats per election timeout: losing a few costs no election. */
const HEARTBEAT_INTERVAL_TICKS = 5;
const TICK_INTERVAL_MS = 20;
/** A healthy disk answers in milliseconds; two seconds are several election timeouts. */
const DISK_STALL_MS = 2_000;
/** Clocks disciplined by NTP are slewed by at most 500 ppm; twice that. */
const LEASE_DRIFT_PPM = 1_000;
/** A lease is 90 % of a bond, which covers two clocks that drift apart by this much each. */
const LEASE_DRIFT_PPM_MAX = 50_000;
/** Where the fsync cost per byte starts to show; larger messages only add latency. */
const APPEND_SIZE_BYTES_MAX = 256 * KIB;
/** A window of 64 messages covers the bandwidth-delay product of a WAN link at 256 KiB each. */
const INFLIGHT_COUNT_MAX = 64;
/** Memory a slow peer may pin on both sides. */
const INFLIGHT_SIZE_BYTES_MAX = 8 * MIB;
/** What a leader cut off from its quorum may pile up before it refuses. */
const UNCOMMITTED_SIZE_BYTES_MAX = 64 * MIB;
/** A batch of 1,024 points with 1,536 dimensions and payloads fits. */
const ENTRY_SIZE_BYTES_MAX = 16 * MIB;
/** Keeps the state machine's queue short enough to answer reads behind it. */
const APPLYING_SIZE_BYTES_MAX = 32 * MIB;
/** One waiting read costs some 100 bytes. */
const PENDING_READ_COUNT_MAX = 65_536;
/** Thesis section 4.2.1: more rounds than this and the learner does not keep up. */
const LEARNER_ROUNDS_MAX = 10;

export function resolveOptions(options: RaftOptions): ResolvedOptions {
  const tickIntervalMs = options.tickIntervalMs ?? TICK_INTERVAL_MS;
  const resolved: ResolvedOptions = {
    id: options.id,
    group: options.group,
    incarnation: options.incarnation,
    random: options.random,
    hash: options.hash,
    electionTimeoutTicks: options.electionTimeoutTicks ?? ELECTION_TIMEOUT_TICKS,
    heartbeatIntervalTicks: options.heartbeatIntervalTicks ?? HEARTBEAT_INTERVAL_TICKS,
    tickIntervalMs,
    preVote: options.preVote ?? true,
    checkQuorum: options.checkQuorum ?? true,
    appendSizeBytesMax: options.appendSizeBytesMax ?? APPEND_SIZE_BYTES_MAX,
    inflightCountMax: options.inflightCountMax ?? INFLIGHT_COUNT_MAX,
    inflightSizeBytesMax: options.inflightSizeBytesMax ?? INFLIGHT_SIZE_BYTES_MAX,
    uncommittedSizeBytesMax: options.uncommittedSizeBytesMax ?? UNCOMMITTED_SIZE_BYTES_MAX,
    entrySizeBytesMax: options.entrySizeBytesMax ?? ENTRY_SIZE_BYTES_MAX,
    applyingSizeBytesMax: options.applyingSizeBytesMax ?? APPLYING_SIZE_BYTES_MAX,
    pendingReadCountMax: options.pendingReadCountMax ?? PENDING_READ_COUNT_MAX,
    learnerRoundsMax: options.learnerRoundsMax ?? LEARNER_ROUNDS_MAX,
    diskStallTicks: options.diskStallTicks ?? Math.ceil(DISK_STALL_MS / tickIntervalMs),
    leaseDriftPpm: options.leaseDriftPpm ?? LEASE_DRIFT_PPM,
  };
  assertOptions(resolved);
  return Object.freeze(resolved);
}

function assertOptions(options: ResolvedOptions): void {
  const counts = {
    electionTimeoutTicks: options.electionTimeoutTicks,
    heartbeatIntervalTicks: options.heartbeatIntervalTicks,
    appendSizeBytesMax: options.appendSizeBytesMax,
    inflightCountMax: options.inflightCountMax,
    inflightSizeBytesMax: options.inflightSizeBytesMax,
    uncommittedSizeBytesMax: options.uncommittedSizeBytesMax,
    entrySizeBytesMax: options.entrySizeBytesMax,
    applyingSizeBytesMax: options.applyingSizeBytesMax,
    pendingReadCountMax: options.pendingReadCountMax,
    learnerRoundsMax: options.learnerRoundsMax,
    diskStallTicks: options.diskStallTicks,
  };
  for (const [name, value] of Object.entries(counts))
    assert(Number.isSafeInteger(value) && value >= 1, `option ${name} must be a positive integer`, {
      value,
    });
  assert(options.tickIntervalMs > 0, 'option tickIntervalMs must be positive', {
    value: options.tickIntervalMs,
  });
  const { leaseDriftPpm } = options;
  assert(
    leaseDriftPpm >= 0 && leaseDriftPpm <= LEASE_DRIFT_PPM_MAX,
    'option leaseDriftPpm is more than a lease allows for',
    { leaseDriftPpm, max: LEASE_DRIFT_PPM_MAX },
  );
  assert(
    options.electionTimeoutTicks > 2 * options.heartbeatIntervalTicks,
    'electionTimeoutTicks must exceed twice heartbeatIntervalTicks',
    counts,
  );
  assert(
    options.entrySizeBytesMax <= options.uncommittedSizeBytesMax,
    'uncommittedSizeBytesMax must hold at least one entry of entrySizeBytesMax',
    counts,
  );
}
