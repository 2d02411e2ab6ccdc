/** What servers and embedders see of a replica. */
import type { Clock, Logger, NodeId } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import type { ShardHost } from '@holdfast/shard-worker';
import type { NodeIdentity, Wal } from '@holdfast/storage';
import { toHex, xxh128 } from '@holdfast/storage';
import type { BackupService } from '../backup/backup-api.ts';
import type { CareService } from '../heal/care-api.ts';
import type { NodeCache } from '../heal/memory-watch.ts';
import type { LogCheckService } from '../log-check/log-check-api.ts';
import type { ResultCacheOptions } from '../routing/result-cache.ts';
import { ResultCache } from '../routing/result-cache.ts';
import type {
  ExecuteContext,
  LaneStatus,
  LeaderChange,
  MemberStatus,
  MembershipState,
  NodeService,
  NodeStatus,
  PeerProgress,
  StateDigest,
} from '../service-api.ts';
import type { SiteService } from '../standby/site-api.ts';
import type { WriteGate } from '../standby/write-gate.ts';
import { type CollectionStates, collectionState } from '../state/collection-state.ts';
import type { TimedFailoverEvent } from './failover-log.ts';
import type { GraphListener } from './graph-alarms.ts';
import { GraphAlarms } from './graph-alarms.ts';
import type { Defer } from './group-host.ts';
import { roleOf } from './member-list.ts';
import { digestMeta } from './meta-file.ts';
import type { Replica } from './replica.ts';
import { RequestExecutor } from './request-executor.ts';
import { pauseBy } from './slices.ts';

/** Lane counters shown by status() are at most this old. */
const LANE_STATS_AGE_MAX_MS = 500;

export interface ReplicaServiceParts {
  readonly replica: Replica;
  readonly care: CareService;
  readonly backup: BackupService | null;
  readonly logCheck: LogCheckService;
  readonly standby: SiteService | null;
  readonly gate: WriteGate;
  readonly identity: NodeIdentity;
  readonly wal: Wal;
  readonly host: ShardHost;
  readonly clock: Clock;
  readonly defer: Defer;
  readonly logger: Logger;
  readonly searchCache: ResultCacheOptions;
  /** Public address of a member, null while unknown. */
  readonly publicAddressOf: (nodeId: NodeId) => string | null;
}

const isMember = (state: MembershipState): boolean => state !== 'joining' && state !== 'removed';

export class ReplicaService implements NodeService {
  readonly #parts: ReplicaServiceParts;
  readonly #executor: RequestExecutor;
  readonly #graphAlarms: GraphAlarms;
  readonly #searchCache: ResultCache;
  #lanes: readonly LaneStatus[] = [];
  #lanesAtMs = Number.NEGATIVE_INFINITY;
  #isRefreshing = false;
  #failure: string | null = null;

  constructor(parts: ReplicaServiceParts) {
    const { replica, host } = parts;
    this.#parts = parts;
    this.#graphAlarms = new GraphAlarms(parts.logger);
    this.#searchCache = new ResultCache(parts.searchCache, parts.clock);
    this.#executor = new RequestExecutor({
      host,
      lanes: replica.lanes,
      searchCache: this.#searchCache,
      nowMs: () => parts.clock.monotonicMs(),
      get meta() {
        return replica.meta;
      },
      membership: replica.membership,
      gate: parts.gate,
      sealLimits: replica.sealLimits,
      dropRetentionMs: replica.dropRetentionMs,
      nextStampMs: () => replica.nextStampMs(),
      whenLeaderReady: (deadlineMs) => replica.whenLeaderReady(deadlineMs),
      propose: (bytes, deadlineMs, origin) => replica.propose(bytes, deadlineMs, origin),
      linearizable: (deadlineMs) => replica.linearizable(deadlineMs),
      lease: (deadlineMs) => replica.lease(deadlineMs),
      stalenessMs: () => replica.stalenessMs(),
      leaderHint: () => replica.leaderHint(),
      status: () => this.status(),
    });
  }

  get care(): CareService {
    return this.#parts.care;
  }

  get backup(): BackupService | null {
    return this.#parts.backup;
  }

  get logCheck(): LogCheckService {
    return this.#parts.logCheck;
  }

  get standby(): SiteService | null {
    return this.#parts.standby;
  }

  /** Answers that are kept only to be fast. */
  get searchCache(): NodeCache {
    return this.#searchCache;
  }

  execute(request: Request, context: ExecuteContext): Promise<ResultBody> {
    return this.#executor.execute(request, context);
  }

  status(): NodeStatus {
    const { replica, identity, wal } = this.#parts;
    const raft = replica.raftStatus();
    const { bytesWritten, batches, syncs, lastSyncMs, syncMode } = wal.stats();
    this.#refreshLanes();
    return {
      nodeId: identity.nodeId,
      clusterId: identity.clusterId,
      incarnation: identity.incarnation,
      epoch: identity.epoch,
      role: raft.role,
      membership: replica.membership.state,
      confIndex: replica.membership.confIndex,
      term: raft.term,
      leader: raft.leader,
      commitIndex: raft.commit,
      appliedIndex: replica.applier.appliedIndex,
      lastIndex: raft.lastIndex,
      durableIndex: raft.durable,
      isReady: raft.leader !== null && this.#failure === null && this.#isServing && this.#hasLanes,
      collections: replica.meta.catalogue.count,
      sessions: replica.meta.sessions.count,
      lanes: this.#lanes,
      searchCache: this.#searchCache.counts,
      wal: { bytesWritten, batches, syncs, lastSyncMs, syncMode, writes: wal.writes() },
      peers: raft.role === 'leader' ? this.#peers() : [],
      activity: replica.activity(),
      clockSkewMs: replica.clockWatch.skewMs,
      recovery: null,
      failure: this.#failure,
    };
  }

  /** A member that is not still catching up after its start. */
  get #isServing(): boolean {
    const { membership, isCaughtUp } = this.#parts.replica;
    return isMember(membership.state) && isCaughtUp;
  }

  get #hasLanes(): boolean {
    return this.#parts.host.health().every(({ state }) => state === 'up');
  }

  members(): readonly MemberStatus[] {
    const { conf } = this.#parts.replica.membership;
    return conf.members.map(
      (member): MemberStatus => ({
        nodeId: member.nodeId,
        incarnation: member.incarnation,
        role: roleOf(conf, member),
        peerAddress: member.address,
        publicAddress: this.#parts.publicAddressOf(member.nodeId),
      }),
    );
  }

  failovers(): readonly TimedFailoverEvent[] {
    return this.#parts.replica.failovers.events;
  }

  onMembersChange(listener: () => void): void {
    this.#parts.replica.membership.onChange(() => listener());
  }

  onLeaderChange(listener: (change: LeaderChange) => void): void {
    this.#parts.replica.onSoftState(({ leader, term, role }) => listener({ leader, term, role }));
  }

  /** Digest of the whole replicated state at one applied index, equal on every replica there. */
  async stateDigest(): Promise<StateDigest> {
    const { appliedIndex, digest, liveRowCount } = await this.#digest('state');
    return { digest, appliedIndex, liveRowCount };
  }

  /** Equal on a standby and its primary at an equal index of the primary. */
  async contentDigest(): Promise<{ readonly digest: string; readonly contentIndex: number }> {
    const { contentIndex, digest } = await this.#digest('content');
    return { digest, contentIndex };
  }

  #digest(of: 'state' | 'content') {
    const { replica, host, defer } = this.#parts;
    return replica.applier.barrier(async (appliedIndex) => {
      const { contentIndex } = replica.meta;
      const metaDigest = await digestMeta(replica.meta, pauseBy(defer), of);
      const shards = [...(await host.digests(appliedIndex))].sort(
        (left, right) => left.uid - right.uid || left.shard - right.shard,
      );
      const lines = shards.map((shard) => `${shard.uid}/${shard.shard}/${shard.digest}\n`);
      const digest = xxh128([new TextEncoder().encode([metaDigest, ...lines].join('\n'))]);
      const liveRowCount = shards.reduce((sum, shard) => sum + shard.liveRowCount, 0);
      return { digest: toHex(digest), appliedIndex, contentIndex, liveRowCount };
    });
  }

  collectionStates(): Promise<CollectionStates> {
    const { replica, host } = this.#parts;
    return replica.applier.barrier(async (appliedIndex) => {
      const shards = await host.digests(appliedIndex);
      const collections = replica.meta.catalogue.all().map((definition) => {
        const own = shards.filter(({ uid }) => uid === definition.uid);
        return collectionState(definition, own);
      });
      return { appliedIndex, collections };
    });
  }

  /** Hears what lanes say of their graphs, whenever they are looked at. Set once. */
  onGraphs(listener: GraphListener): void {
    this.#graphAlarms.listen(listener);
  }

  /** Asks the lanes how they are, unless that was just done. */
  look(): void {
    this.#refreshLanes();
  }

  /** Told once when the replica stopped by itself. */
  reportFailure(reason: string): void {
    this.#failure = reason;
  }

  #peers(): readonly PeerProgress[] {
    const raft = this.#parts.replica.raftStatus();
    const peers: PeerProgress[] = [];
    for (const peer of raft.peers) {
      const { id, matchIndex, isRecentlyActive } = peer;
      const lagEntries = raft.lastIndex - matchIndex;
      peers.push({ nodeId: id, matchIndex, isRecentlyActive, lagEntries });
    }
    return peers;
  }

  #refreshLanes(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#isRefreshing || nowMs - this.#lanesAtMs < LANE_STATS_AGE_MAX_MS) return;
    this.#isRefreshing = true;
    this.#parts.host.stats().then(
      (lanes) => {
        this.#lanes = lanes;
        this.#graphAlarms.report(lanes);
        this.#lanesAtMs = nowMs;
        this.#isRefreshing = false;
      },
      // A lane that cannot answer is being replaced; stats only go stale.
      () => {
        this.#isRefreshing = false;
      },
    );
  }
}
