/**
 * One member of one raft group: the driver around the core, the state it applies, and what clients
 * wait for. Everything it touches comes in through `ReplicaParts`, so production, the embedded node
 * and the simulator build the same object.
 * Over 400 lines because it wires every part of a replica to the others, and decides nothing else.
 */
import type { HoldfastError, LogIndex, SnapshotMeta } from '@holdfast/base';
import { failpoint, HoldfastError as HoldfastFailure, logIndex, unreachable } from '@holdfast/base';
import type { LeaderHint } from '@holdfast/protocol';
import type { ApplyRequest, RaftEvent, RaftMessage, RaftStatus, SoftState } from '@holdfast/raft';
import type { LaneEvent, ShardDigest } from '@holdfast/shard-worker';
import type { CheckpointRoot, WalWrites } from '@holdfast/storage';
import type { Readmission } from '../recovery/readmission.ts';
import { LaneReader } from '../routing/lane-reader.ts';
import type { ReplicaActivity } from '../service-api.ts';
import type { ApplyResult } from '../state/apply-result.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import { asTooStale, leaseDisabled, notLeader, shuttingDown, writesBlocked } from './answers.ts';
import type { AppliedEntry } from './applier.ts';
import { Applier } from './applier.ts';
import { CheckpointRunner } from './checkpoint-runner.ts';
import { Checkpointer } from './checkpointer.ts';
import type { ClockWatch } from './clock-watch.ts';
import { Contradictions } from './contradictions.ts';
import type { DriverListener } from './driver.ts';
import { Driver } from './driver.ts';
import { FailoverLog } from './failover-log.ts';
import { FailoverTimeline } from './failover-timeline.ts';
import type { FastFailover } from './fast-failover.ts';
import { Fitness } from './fitness.ts';
import type { JoinAnnouncer } from './join-announcer.ts';
import { LeaderClock } from './leader-clock.ts';
import { LeaderReadiness } from './leader-readiness.ts';
import {
  type MemberParts,
  makeAnnouncer,
  makeClockWatch,
  makeFailover,
  makeMembership,
  makeReadmission,
} from './member-parts.ts';
import type { Membership } from './membership.ts';
import { sealCommand, sessionExpiryCommand, verifyCommand } from './own-commands.ts';
import type { OpenOperation, ProposalOrigin } from './proposals.ts';
import { Proposals } from './proposals.ts';
import { purgeCommands } from './purge-dropped.ts';
import { RaftCounters } from './raft-counters.ts';
import { ReadGate } from './read-gate.ts';
import type { ReplayWatch } from './replay-watch.ts';
import { activityOf } from './replica-activity.ts';
import {
  checkpointParts,
  type ReplicaOptions,
  type ReplicaParts,
  replayWatch,
  scheduleOf,
} from './replica-parts.ts';
import { type DiskView, SlowDiskWatch } from './slow-disk.ts';
import { compactionParts, Snapshots } from './snapshots.ts';

/** Deadlines are looked at this often: a request may be up to this late. */
const EXPIRY_INTERVAL_MS = 50;
const STALENESS_PROBE_INTERVAL_MS = 100;
const SESSION_EXPIRY_INTERVAL_MS = 5_000;
const VERIFY_TIMEOUT_MS = 5_000;
/** A read that needs more than this node has durable goes to another node after so long. */
const BLOCKED_READ_PATIENCE_MS = 250;

type SoftStateListener = (state: SoftState) => void;
type DigestListener = (index: LogIndex, digests: readonly ShardDigest[]) => void;

export class Replica {
  readonly lanes: LaneReader;
  readonly applier: Applier;
  readonly checkpointer: Checkpointer;
  readonly checkpoints: CheckpointRunner;
  readonly snapshots: Snapshots;
  readonly membership: Membership;
  readonly clockWatch: ClockWatch;
  readonly fitness: Fitness;
  readonly #options: ReplicaOptions;
  readonly #parts: ReplicaParts;
  readonly #driver: Driver;
  readonly #announcer: JoinAnnouncer;
  readonly #readmission: Readmission;
  readonly #failover: FastFailover;
  readonly #slowDisk = new SlowDiskWatch();
  readonly #counters = new RaftCounters();
  readonly #proposals = new Proposals();
  readonly #contradictions = new Contradictions();
  readonly #reads: ReadGate;
  readonly #readiness: LeaderReadiness;
  readonly #leaderClock: LeaderClock;
  readonly #timeline: FailoverTimeline;
  readonly failovers: FailoverLog;
  readonly #replay: ReplayWatch;
  readonly #listeners: SoftStateListener[] = [];
  #soft: SoftState;
  #nextExpiryMs = 0;
  #nextProbeMs = 0;
  #nextSessionExpiryMs = 0;
  #nextVerifyMs = 0;
  #onDigests: DigestListener | null = null;
  #isStopped = false;

  constructor(options: ReplicaOptions, parts: ReplicaParts) {
    this.#options = options;
    this.#parts = parts;
    const { clock, core, host, wal } = parts;
    const nowMs = (): number => clock.monotonicMs();
    this.#soft = softOf(core.status());
    this.#reads = new ReadGate(nowMs);
    this.#leaderClock = new LeaderClock(clock, () => this.clockWatch.medianOffsetMs());
    this.#readiness = new LeaderReadiness();
    this.failovers = new FailoverLog(clock, parts.logger);
    this.#timeline = new FailoverTimeline(nowMs, this.failovers.tell);
    this.#replay = replayWatch(options, parts);
    this.applier = new Applier({
      host,
      meta: parts.meta,
      onApplied: (entries, index) => this.#onApplied(entries, index),
      onFailure: (error) => this.#driver.fail(error),
      onDigests: (index, digests) => this.#onDigests?.(index, digests),
    });
    this.lanes = new LaneReader(host, this.applier, parts.defer);
    this.checkpointer = new Checkpointer({
      ...checkpointParts(options, parts),
      applier: this.applier,
      wal,
      compaction: compactionParts(options, parts, () => this.snapshots),
    });
    this.checkpoints = new CheckpointRunner({
      ...{ ...parts, dataDirectory: options.dataDirectory, checkpointer: this.checkpointer },
      schedule: scheduleOf(options),
      onSucceeded: () => this.#onCheckpoint(),
      onFatal: (error) => this.#driver.fail(error),
    });
    this.snapshots = new Snapshots({
      options,
      parts,
      applier: this.applier,
      checkpointer: this.checkpointer,
      driver: () => this.#driver,
    });
    this.#driver = new Driver({
      core,
      group: options.group,
      wal,
      clock,
      host: parts.groups,
      tickIntervalMs: options.tickIntervalMs,
      send: (messages) => this.#send(messages),
      listener: this.#driverListener(),
    });
    const memberParts = this.#memberParts();
    this.membership = makeMembership(memberParts);
    this.#announcer = makeAnnouncer(memberParts, this.membership);
    this.#readmission = makeReadmission(memberParts, this.membership);
    this.clockWatch = makeClockWatch(memberParts, this.membership);
    this.#failover = makeFailover(memberParts, this.clockWatch);
    this.fitness = new Fitness({
      isLeader: () => this.#soft.role === 'leader',
      handOver: () => this.handOver(),
      logger: parts.logger,
    });
    parts.transport.onPeerState((peer, state) => {
      if (state === 'disconnected') this.#failover.onPeerLost(peer);
      else this.#failover.onPeerFound(peer);
    });
    parts.transport.onSnapshot(this.snapshots.installer);
    wal.onWrites((writes) => this.#onWrites(writes));
  }

  #memberParts(): MemberParts {
    return {
      options: this.#options,
      parts: this.#parts,
      withCore: (action) => this.#driver.withCore(action),
      whenLeaderReady: (deadlineMs) => this.whenLeaderReady(deadlineMs),
      isLeader: () => this.#soft.role === 'leader',
    };
  }

  #driverListener(): DriverListener {
    return {
      onApply: (request) => this.#onApply(request),
      onReads: (states) => this.#reads.onReadStates(states, this.applier.appliedIndex),
      onSoftState: (state) => this.#onSoftState(state),
      onConf: (conf) => this.membership.onConf(conf),
      onEvents: (events) => this.#onEvents(events),
      onTurn: () => this.#onTurn(),
      onTick: (tickMs) => this.#onTick(tickMs),
      onFailure: (error) => this.#onFailure(error),
    };
  }

  get meta(): MetaMachine {
    return this.applier.meta;
  }

  get soft(): SoftState {
    return this.#soft;
  }

  raftStatus(): RaftStatus {
    return this.#parts.core.status();
  }

  onSoftState(listener: SoftStateListener): void {
    this.#listeners.push(listener);
  }

  /** Called when a `verify` entry was applied. Set once. */
  onDigests(listener: DigestListener): void {
    this.#onDigests = listener;
  }

  /** Every replica compares its digests after this; resolves when it was applied here. */
  verify(deadlineMs: number): Promise<ApplyResult> {
    return this.propose(verifyCommand(this.nextStampMs()), deadlineMs);
  }

  /**
   * What grows in any shard, and is large enough, is a segment after this, on every replica.
   * @throws HoldfastError NOT_LEADER, REQUEST_TIMEOUT, ...
   */
  sealGrowing(deadlineMs: number): Promise<ApplyResult> {
    return this.propose(sealCommand(this.nextStampMs()), deadlineMs);
  }

  /** Stops taking part for a reason that this replica found in itself. */
  fail(error: HoldfastError): void {
    this.#driver.fail(error);
  }

  start(): void {
    this.#driver.start();
    this.#announcer.start();
  }

  /**
   * Before a stop: gives the leadership away, so that writes wait for a moment instead of an
   * election. Resolves within two election timeouts, whether somebody took over or not.
   */
  handOver(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    const nowMs = this.#parts.clock.monotonicMs();
    return this.membership.handOver(nowMs + 2 * this.#options.electionTimeoutMs);
  }

  /** A lane that is away keeps this replica from applying: it should not lead meanwhile. */
  onLaneEvent({ kind, lane }: LaneEvent): void {
    if (kind === 'laneLost') this.fitness.set(`lane ${lane}`, true);
    else if (kind === 'laneRecovered') this.fitness.set(`lane ${lane}`, false);
  }

  /** Last index this replica has handed out as leader; null when it does not lead. */
  leaderLastIndex(): LogIndex | null {
    const { role, lastIndex } = this.#parts.core.status();
    return role === 'leader' ? lastIndex : null;
  }

  confIndex(): LogIndex {
    return this.#parts.core.status().confIndex;
  }

  /** Stops taking part; nothing is acknowledged afterwards. The WAL and lanes stay open. */
  async stop(): Promise<void> {
    if (!this.#isStopped) {
      this.#isStopped = true;
      this.#abandon(shuttingDown());
      this.applier.refuseBarriers(shuttingDown());
      this.#failover.stop();
      this.snapshots.exchange.cancel('this node is shutting down');
      this.#announcer.stop();
      this.#driver.stop();
    }
    // Also after a failure: what is under way still writes to the directory.
    await this.checkpointer.idle();
  }

  /** Writes under way on this node as leader, and how many there are beside those told. */
  operations(countMax: number): { count: number; oldest: readonly OpenOperation[] } {
    const nowMs = this.#parts.clock.monotonicMs();
    const oldest = this.#proposals.open(nowMs, this.raftStatus().commit, countMax);
    return { count: this.#proposals.pendingCount, oldest };
  }

  /** Proposes an encoded command; resolves when it was applied here. */
  propose(bytes: Uint8Array, deadlineMs: number, origin?: ProposalOrigin): Promise<ApplyResult> {
    if (this.#isStopped) return Promise.reject(shuttingDown());
    const writes = this.#parts.wal.writes();
    if (writes.state !== 'closed') return Promise.reject(writesBlocked(writes));
    const result = this.#proposals.add(bytes, deadlineMs, origin);
    this.#driver.wake();
    return result;
  }

  /** Resolves when this replica may answer a read that begins now. */
  linearizable(deadlineMs: number): Promise<LogIndex> {
    if (this.#isStopped) return Promise.reject(shuttingDown());
    const isBlocked = this.#parts.wal.writes().state !== 'closed';
    // What is not durable here is not applied here: this replica may soon lag behind for long.
    const patienceMs = this.#parts.clock.monotonicMs() + BLOCKED_READ_PATIENCE_MS;
    const index = this.#reads.linearizable(
      isBlocked ? Math.min(patienceMs, deadlineMs) : deadlineMs,
    );
    this.#driver.wake();
    return isBlocked ? index.catch(asTooStale) : index;
  }

  /**
   * As `linearizable`, without asking anyone while this replica leads and its lease holds.
   * Rejects LEASE_DISABLED when the group does not allow leases.
   */
  lease(deadlineMs: number): Promise<LogIndex> {
    if (this.#isStopped) return Promise.reject(shuttingDown());
    const { clock, core } = this.#parts;
    const outcome = core.leaseRead(clock.monotonicMs());
    if (outcome.ok) {
      return this.#reads.whenApplied(outcome.index, this.applier.appliedIndex, deadlineMs);
    }
    if (!this.membership.conf.isLeaseEnabled) return Promise.reject(leaseDisabled());
    return this.linearizable(deadlineMs);
  }

  /** Since its start it has once held everything that was committed at a moment before. */
  get isCaughtUp(): boolean {
    return Number.isFinite(this.#reads.stalenessMs());
  }

  stalenessMs(): number {
    return this.#reads.stalenessMs();
  }

  whenLeaderReady(deadlineMs: number): Promise<void> {
    if (this.#isStopped) return Promise.reject(shuttingDown());
    if (this.#soft.role !== 'leader') return Promise.reject(notLeader(this.leaderHint()));
    return this.#readiness.wait(deadlineMs);
  }

  get sealLimits(): ReplicaOptions['limits'] {
    return this.#options.limits;
  }

  get dropRetentionMs(): number {
    return this.#options.dropRetentionMs;
  }

  nextStampMs(): number {
    return this.#leaderClock.nextStampMs();
  }

  leaderHint(): LeaderHint | null {
    const { leader } = this.#soft;
    if (leader === null) return null;
    return { nodeId: leader, address: this.#parts.publicAddressOf(leader) ?? '' };
  }

  activity(): ReplicaActivity {
    const { checkpointer, checkpoints, snapshots } = this;
    const log = this.#parts.wal.groupLog(this.#options.group);
    const lanes = this.#parts.host.health();
    const raft = this.#counters.counts;
    return activityOf({ log, lanes, raft, checkpointer, checkpoints, snapshots });
  }

  /**
   * Asks for a checkpoint now; resolves with it. Rejects: the node stops, or tries again later.
   * @throws HoldfastError REPAIRING while it has nothing: it is new, or was wiped
   */
  async checkpoint(): Promise<CheckpointRoot> {
    if (this.meta.appliedIndex === 0 && this.checkpointer.root === null) {
      const message =
        'this node has no entry of the log yet: ask another one, or wait until it has caught up';
      throw new HoldfastFailure('REPAIRING', message);
    }
    return this.checkpoints.run();
  }

  #send(messages: readonly RaftMessage[]): void {
    const direct = messages.filter((message) => message.kind !== 'snapshot');
    if (direct.length > 0) this.#parts.transport.send(direct);
    if (direct.length === messages.length) return;
    for (const message of messages)
      if (message.kind === 'snapshot') this.snapshots.exchange.send(message);
  }

  #onTurn(): void {
    const { core } = this.#parts;
    this.#proposals.flush((payloads) => core.propose(payloads));
    this.#reads.flush(() => core.readIndex());
  }

  #onTick(nowMs: number): void {
    if (nowMs >= this.#nextExpiryMs) {
      this.#nextExpiryMs = nowMs + EXPIRY_INTERVAL_MS;
      this.#proposals.expire(nowMs);
      this.#reads.expire(nowMs);
      this.lanes.expire(nowMs);
      this.#readiness.expire(nowMs);
      this.membership.expire(nowMs);
      this.#readmission.onTick(nowMs);
    }
    if (nowMs >= this.#nextProbeMs) {
      this.#nextProbeMs = nowMs + STALENESS_PROBE_INTERVAL_MS;
      this.#reads.probe();
    }
    if (nowMs >= this.#nextSessionExpiryMs) {
      this.#nextSessionExpiryMs = nowMs + SESSION_EXPIRY_INTERVAL_MS;
      this.#expire(nowMs);
    }
    if (nowMs >= this.#nextVerifyMs) this.#verifyInBackground(nowMs);
    this.snapshots.exchange.onTick(nowMs);
    this.checkpoints.onTick(nowMs, this.applier.appliedIndex);
    this.clockWatch.onTick(nowMs);
    this.fitness.set(
      'slow disk',
      this.#slowDisk.isTooSlow(nowMs, () => this.#diskView()),
    );
    this.fitness.onTick(nowMs);
  }

  #diskView(): DiskView {
    const { commit, durable } = this.#parts.core.status();
    return { isLeader: this.#soft.role === 'leader', commitIndex: commit, durableIndex: durable };
  }

  /** A replica whose log finds no room follows without acknowledging, and should not lead. */
  #onWrites(writes: WalWrites): void {
    const isBlocked = writes.state !== 'closed';
    const { logger } = this.#parts;
    if (isBlocked)
      logger.error({ writes }, 'the disk refuses the log; free space or mend the disk');
    else logger.info({ writes }, 'the disk takes the log again');
    this.fitness.set('log', isBlocked);
    if (isBlocked) this.#proposals.refuseWaiting(writesBlocked(writes));
  }

  #onCheckpoint(): void {
    // Of two generations the older one: a lane may just be coming back from it.
    const [, previous] = this.checkpointer.roots;
    if (previous !== undefined) this.applier.votes.forgetThrough(previous.meta.index);
    this.snapshots.installer.sweep();
  }

  #onApply(request: ApplyRequest): void {
    switch (request.kind) {
      case 'entries':
        this.#timeline.onCommitted(request.entries.at(-1)?.index ?? logIndex(0));
        this.applier.enqueue(request.entries);
        return;
      case 'snapshot':
        this.#restore(request.meta);
        return;
      default:
        unreachable(request);
    }
  }

  #onApplied(entries: readonly AppliedEntry[], appliedIndex: LogIndex): void {
    this.#proposals.settle(entries);
    this.membership.onApplied(entries, appliedIndex);
    this.#reads.onApplied(appliedIndex);
    this.#readiness.onApplied(appliedIndex, () => {
      this.#leaderClock.startTerm(this.meta.logTimeMs);
      this.#timeline.onResumed();
    });
    this.#driver.applied(appliedIndex);
    this.#replay.onApplied(appliedIndex);
  }

  #restore(meta: SnapshotMeta): void {
    this.snapshots.exchange.restore(meta).then(
      (index) => {
        this.#proposals.abandon();
        this.membership.onApplied([], index);
        this.#reads.onApplied(index);
        this.#driver.applied(index);
      },
      (error: unknown) => this.#driver.fail(error),
    );
  }

  #onSoftState(state: SoftState): void {
    const wasLeader = this.#soft.role === 'leader' && this.#soft.term === state.term;
    this.#soft = state;
    const isNewLeader = state.role === 'leader' && !wasLeader;
    // The no-op of this term: applied means everything acknowledged before is applied too.
    const firstIndex = isNewLeader ? this.#parts.core.status().lastIndex : null;
    this.#timeline.onSoftState(state, firstIndex);
    if (firstIndex !== null) {
      failpoint('replica.became-leader');
      this.#readiness.begin(firstIndex);
    } else if (state.role !== 'leader') {
      if (wasLeader) failpoint('replica.lost-leadership');
      this.#proposals.abandon();
      this.#proposals.refuseWaiting(notLeader(this.leaderHint()));
      this.#readiness.end(notLeader(this.leaderHint()));
      this.snapshots.exchange.cancel('this node leads no more');
    }
    this.membership.onSoftState(state);
    for (const listener of this.#listeners) listener(state);
  }

  #onEvents(events: readonly RaftEvent[]): void {
    this.#counters.count(events);
    for (const event of events) {
      if (event.kind === 'contradictionSeen') this.#onContradiction(event);
      else if (event.kind === 'messageRefused') this.#parts.logger.debug({ event }, 'raft');
      else this.#parts.logger.info({ event }, 'raft');
      this.membership.onEvent(event);
      if (event.kind === 'snapshotNeeded' && this.checkpointer.root === null) {
        this.checkpoints.runInBackground();
      }
    }
  }

  #onContradiction(event: RaftEvent & { readonly kind: 'contradictionSeen' }): void {
    this.#parts.logger.error({ event }, 'a peer contradicts this replica; compare their logs');
    const verdict = this.#contradictions.note(event, this.#parts.clock.monotonicMs());
    if (verdict !== null) this.#driver.fail(verdict);
  }

  /** The first one comes an interval after the start. */
  #verifyInBackground(nowMs: number): void {
    const { digestVerifyIntervalMs } = this.#options;
    const isFirst = this.#nextVerifyMs === 0;
    this.#nextVerifyMs = nowMs + (digestVerifyIntervalMs || Number.POSITIVE_INFINITY);
    if (isFirst || this.#soft.role !== 'leader' || !this.#readiness.isReady) return;
    // Losing this proposal is fine: the next round makes another.
    this.verify(nowMs + VERIFY_TIMEOUT_MS).catch(() => undefined);
  }

  /** Of sessions that were silent, and of hidden collections whose time is over. */
  #expire(nowMs: number): void {
    // Elsewhere commands of clients are refused, and all is as the primary has it.
    if (this.meta.site.kind !== 'primary') return;
    if (this.#soft.role !== 'leader' || !this.#readiness.isReady) return;
    const stampMs = this.#leaderClock.nextStampMs();
    const command = sessionExpiryCommand(this.meta, stampMs, this.#options.sessionIdleTimeoutMs);
    const commands = purgeCommands(this.meta, stampMs);
    // Losing these proposals is fine: the next round finds the same sessions and collections.
    for (const each of command === null ? commands : [command, ...commands])
      this.propose(each, nowMs + SESSION_EXPIRY_INTERVAL_MS).catch(() => undefined);
  }

  #onFailure(error: HoldfastError): void {
    this.#isStopped = true;
    this.#failover.stop();
    this.#announcer.stop();
    this.#parts.logger.error({ code: error.code, details: error.details }, error.message);
    this.#abandon(
      new HoldfastFailure('SHUTTING_DOWN', `this node stopped: ${error.message}; use another`),
    );
    this.#parts.onFailure(error);
  }

  #abandon(error: HoldfastError): void {
    this.#proposals.abandon();
    this.#proposals.refuseWaiting(error);
    this.#reads.abandon(error);
    this.lanes.abandon(error);
    this.membership.abandon(error);
    this.#readiness.end(error);
  }
}

const softOf = ({ role, term, leader }: RaftStatus): SoftState => ({ role, term, leader });
