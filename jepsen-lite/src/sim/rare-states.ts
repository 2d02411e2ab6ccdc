/** Counts the rare states of a run by watching messages, log lines and nodes. Decides nothing. */
import type { LogFields, NodeId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { ClusterWatch, NetworkObserver, SimCluster, SimNode } from '@holdfast/node/testing';
import { DATA_DIRECTORY, entryFacts } from '@holdfast/node/testing';
import type { RareState } from './rare-state-table.ts';
import { storageStateOf } from './storage-states.ts';

type PeerMessage = Parameters<NetworkObserver['onSend']>[1];

/** What the driver of a node logs with the message `raft`. */
interface RaftEventFields {
  readonly kind: string;
  readonly reason?: string;
  readonly isPreVote?: boolean;
  readonly role?: string;
  readonly cause?: string;
  readonly outcome?: string;
}

/** What nodes say in words only. */
const STATE_OF_LOG_LINE: ReadonlyMap<string, RareState> = new Map([
  ['snapshot was interrupted', 'snapshotInterrupted'],
  ['log entries are damaged; asking the other members for them', 'logRots'],
  [
    'damaged log entries are in the own checkpoint; the log now starts after it',
    'rotIsInCheckpoint',
  ],
  ['damaged log entries are repaired', 'damagedEntryRepaired'],
  ['damaged log entries that were never committed are gone', 'neverHadProven'],
]);
const LEADERLESS_MS_MIN = 3_000;

/** What this boot of a node has done so far. */
interface BootFacts {
  readonly boot: number;
  readonly isRestart: boolean;
  hasHeardLeader: boolean;
  campaigns: number;
  votesSinceLeader: number;
  checkpointFailures: number;
  membership: string;
}

export class RareStates {
  readonly #cluster: SimCluster;
  readonly #watch: ClusterWatch;
  readonly #counts = new Map<RareState, number>();
  readonly #boots = new Map<NodeId, BootFacts>();
  readonly #everRan = new Set<NodeId>();
  /** First log index of each stamped write. */
  readonly #stamps = new Map<string, number>();
  readonly #bases = new Map<NodeId, number>();
  readonly #checkpoints = new Map<NodeId, number>();
  readonly #rejoined = new Set<string>();
  /** Their disks refuse the log. */
  readonly #blocked = new Set<NodeId>();
  #leaderSeenMs = 0;
  #isLeaderless = false;
  #downCount = 0;

  constructor(cluster: SimCluster, watch: ClusterWatch) {
    this.#cluster = cluster;
    this.#watch = watch;
    watch.onEntry = (log, index) => {
      const facts = entryFacts(log, index);
      if (facts?.commandKind === 'expireSessions') this.count('sessionsExpired');
      if (facts === null || facts.stamp === null) return;
      const first = this.#stamps.get(facts.stamp);
      if (first === undefined) this.#stamps.set(facts.stamp, index);
      else if (first !== index && first <= watch.ledger.committedIndex) this.count('writeRepeated');
    };
  }

  counts(): Readonly<Partial<Record<RareState, number>>> {
    if (this.#watch.digestMeetingCount > 0)
      this.#counts.set('digestsMeet', this.#watch.digestMeetingCount);
    return Object.fromEntries(this.#counts);
  }

  count(state: RareState, times = 1): void {
    if (times > 0) this.#counts.set(state, (this.#counts.get(state) ?? 0) + times);
  }

  onRunning(node: SimNode): void {
    const isRestart = this.#everRan.has(node.id);
    this.#everRan.add(node.id);
    const { boot } = node;
    this.#boots.set(node.id, {
      ...{ boot, isRestart, hasHeardLeader: false },
      ...{ campaigns: 0, votesSinceLeader: 0, checkpointFailures: 0 },
      membership: node.node.replica.membership.state,
    });
    const { log } = node;
    if (!isRestart || log === null) return;
    if (log.lastIndex() > this.#watch.ledger.committedIndex)
      this.count('restartWithUncommittedTail');
    const hasCheckpoint = node.node.replica.checkpointer.root !== null;
    this.count(hasCheckpoint ? 'restartFromCheckpoint' : 'restartWithoutCheckpoint');
    if (node.wal.tornTail !== null) this.count('tornTailCut');
  }

  onHalt(node: SimNode, isPowerCut: boolean): void {
    const others = this.#cluster.nodes.filter((other) => other !== node && !other.isRunning);
    this.#countDown(others.length + 1);
    this.#blocked.delete(node.id);
    const { failure } = node;
    if (failure !== null) this.#countFailure(failure);
    if (failure?.code === 'NEW_LIFE_NEEDED') this.count('newLifeBegun');
    if (!node.hasReplica) {
      this.count('startInterrupted');
      return;
    }
    const status = node.node.replica.raftStatus();
    if (status.role === 'leader' && status.lastIndex > status.commit)
      this.count('leaderEndsWithBatchInFlight');
    if (isPowerCut && node.walStats.queueDepth > 0) this.count('powerLostWithUnsyncedBatch');
    if (node.walStats.filesRemoved > 0) this.count('logFileRemoved');
    if (node.fileSystem.exists(`${DATA_DIRECTORY}/staging`))
      this.count('receiverEndsDuringSnapshot');
  }

  onStep(node: SimNode): void {
    this.#lookAtNodes();
    if (node.state !== 'running') return;
    const base = node.log?.base().index ?? 0;
    if (base > (this.#bases.get(node.id) ?? 0)) this.count('logCompacted');
    this.#bases.set(node.id, base);
    const { commit, durable, role } = node.node.replica.raftStatus();
    if (role === 'leader' && commit > durable) this.count('leaderCommitsBeforeOwnDisk');
    this.#lookAtCheckpoint(node);
    this.#lookAtVote(node);
  }

  #lookAtCheckpoint(node: SimNode): void {
    const { root } = node.node.replica.checkpointer;
    const index = root?.meta.index ?? 0;
    if (root === null || index === this.#checkpoints.get(node.id)) return;
    this.#checkpoints.set(node.id, index);
    if (root.meta.conf.votersOutgoing.length > 0) this.count('snapshotDuringJoint');
  }

  #lookAtVote(node: SimNode): void {
    const facts = this.#boots.get(node.id);
    if (facts === undefined) return;
    const { state } = node.node.replica.membership;
    if (state === facts.membership) return;
    if (facts.membership === 'learner' && state === 'voter') {
      this.count('learnerPromoted');
      if (node.hasBeenWiped && !this.#rejoined.has(node.incarnation)) {
        this.#rejoined.add(node.incarnation);
        this.count('wipedNodeRejoins');
      }
    }
    facts.membership = state;
  }

  onResume(node: SimNode): void {
    if (!node.isRunning || node.node.replica.soft.role !== 'leader') return;
    const { leaseExpiryMs, term } = node.node.replica.raftStatus();
    if (leaseExpiryMs !== null && leaseExpiryMs < node.nowMs) this.count('leaseRunsOutInPause');
    if (this.#leaders().some((other) => other.node.replica.soft.term > term))
      this.count('pausedLeaderDeposed');
  }

  onSend(from: NodeId, message: PeerMessage): void {
    const facts = this.#boots.get(from);
    switch (message.kind) {
      case 'voteResponse':
        if (!message.isGranted) this.count('voteRefused');
        else if (facts !== undefined) this.#countVote(facts);
        return;
      case 'preVoteResponse':
        if (!message.isGranted) this.count('preVoteRefused');
        return;
      case 'appendResponse':
        if (message.rejection === null) return;
        this.count('appendRejected');
        if (message.rejection.hintIndex < message.rejection.rejectedIndex - 1)
          this.count('probeGoesBackOverTerms');
        return;
      case 'readIndex':
        this.count('followerReads');
        return;
      case 'readIndexResponse':
        if (message.index === null) this.count('readIndexRefused');
        return;
      default:
        return;
    }
  }

  onLog(node: SimNode, fields: LogFields, message: string): void {
    const state = STATE_OF_LOG_LINE.get(message) ?? storageStateOf(fields, message);
    if (state !== null) this.count(state);
    const event = fields.event as RaftEventFields | undefined;
    if (event === undefined) return;
    switch (event.kind) {
      case 'roleChanged':
        this.#roleChanged(node, event.role ?? '');
        return;
      case 'campaignStarted':
        if (event.isPreVote !== true) this.#campaigned(node);
        return;
      case 'steppedDown':
        if (event.reason === 'quorum-lost') this.count('stepDownWithoutQuorum');
        if (event.reason === 'higher-term') this.count('stepDownByHigherTerm');
        if (event.reason === 'disk-stalled') this.count('diskStallStepDown');
        if (event.reason === 'removed') this.count('leaderRemoved');
        return;
      case 'confChanged':
        if (event.cause === 'reverted') this.count('confReverted');
        return;
      case 'learnerCaughtUp':
        this.count('learnerCaughtUp');
        return;
      case 'transferEnded':
        if (event.outcome === 'completed') this.count('leadershipTransferred');
        if (event.outcome === 'timed-out') this.count('transferAborted');
        return;
      case 'logTruncated':
        this.count('tailTruncated');
        return;
      case 'snapshotNeeded':
        this.count('snapshotNeeded');
        return;
      case 'snapshotRestored':
        this.count('snapshotRestored');
        return;
      case 'messageRefused':
        this.count('messageRefused');
        return;
      default:
        return;
    }
  }

  #roleChanged(node: SimNode, role: string): void {
    const facts = this.#boots.get(node.id);
    if (role !== 'leader') return;
    if (facts?.isRestart === true) this.count('leaderOfRestartedNode');
    const { commit, conf, lastIndex } = node.node.replica.raftStatus();
    if (conf.votersOutgoing.length > 0) this.count('leaderChangeInJoint');
    // Its own no-op is the last entry.
    if (lastIndex - 1 > commit) this.count('leaderInheritsUncommittedTail');
    if (this.#leaders().some((other) => other !== node)) this.count('twoLeadersAtOnce');
  }

  #campaigned(node: SimNode): void {
    const facts = this.#boots.get(node.id);
    if (facts === undefined) return;
    if (facts.campaigns > 0) this.count('campaignLost');
    facts.campaigns += 1;
  }

  #countVote(facts: BootFacts): void {
    if (facts.isRestart && !facts.hasHeardLeader && facts.votesSinceLeader === 0)
      this.count('restartedNodeVotes');
    if (facts.votesSinceLeader > 0) this.count('voteAfterVote');
    facts.votesSinceLeader += 1;
  }

  #countFailure(failure: HoldfastError): void {
    const { details } = failure;
    const cause = failure.cause instanceof HoldfastError ? failure.cause.details : details;
    if (details.code === 'EIO' || cause.code === 'EIO') this.count('diskErrorStop');
  }

  #lookAtNodes(): void {
    const nowMs = this.#cluster.scheduler.clock.monotonicMs();
    let downCount = 0;
    let hasLeader = false;
    for (const node of this.#cluster.nodes) {
      if (!node.isRunning) {
        downCount += 1;
        continue;
      }
      this.#countWrites(node);
      const { checkpoints, soft } = node.node.replica;
      const { role, leader } = soft;
      if (role === 'leader') hasLeader = true;
      const facts = this.#boots.get(node.id);
      if (facts !== undefined) this.#countCheckpoint(facts, checkpoints.failuresInRow);
      if (leader === null || facts === undefined) continue;
      facts.hasHeardLeader = true;
      facts.campaigns = 0;
      facts.votesSinceLeader = 0;
    }
    this.#countDown(downCount);
    if (hasLeader) {
      this.#leaderSeenMs = nowMs;
      this.#isLeaderless = false;
    } else if (!this.#isLeaderless && nowMs - this.#leaderSeenMs >= LEADERLESS_MS_MIN) {
      this.#isLeaderless = true;
      this.count('noLeaderForLong');
    }
  }

  #countWrites(node: SimNode): void {
    const isBlocked = node.wal.writes().state !== 'closed';
    if (isBlocked) this.count('writesBlocked');
    else if (this.#blocked.has(node.id)) this.count('writesResumed');
    if (isBlocked) this.#blocked.add(node.id);
    else this.#blocked.delete(node.id);
  }

  #countCheckpoint(facts: BootFacts, failuresInRow: number): void {
    if (failuresInRow > facts.checkpointFailures) this.count('checkpointFailed');
    facts.checkpointFailures = failuresInRow;
  }

  #countDown(downCount: number): void {
    if (downCount === this.#downCount) return;
    const { length } = this.#cluster.nodes;
    const isMajority = (count: number): boolean => count * 2 > length;
    if (isMajority(downCount) && !isMajority(this.#downCount)) this.count('majorityDown');
    if (downCount === length) this.count('allNodesDown');
    this.#downCount = downCount;
  }

  #leaders(): readonly SimNode[] {
    return this.#cluster.nodes.filter(
      (node) => node.isRunning && node.node.replica.soft.role === 'leader',
    );
  }
}
