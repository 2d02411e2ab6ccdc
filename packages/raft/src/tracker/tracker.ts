/**
 * The configuration in force and what the leader knows about each of its members. Everything that
 * iterates does so in the order of sorted ids, so that equal histories give equal messages.
 */
import type { ConfState, Incarnation, LogIndex, NodeId } from '@holdfast/base';
import { assert } from '@holdfast/base';
import { jointReached, jointVote } from '../quorum/joint.ts';
import type { VoteResult } from '../quorum/majority.ts';
import { Progress, type ProgressLimits } from './progress.ts';

/** This replica: one life of one node. */
export interface Self {
  readonly id: NodeId;
  readonly incarnation: Incarnation;
}

export class Tracker {
  readonly #limits: ProgressLimits;
  readonly #self: NodeId;
  readonly #ownIncarnation: Incarnation;
  #conf: ConfState;
  #progress: ReadonlyMap<NodeId, Progress> = new Map();
  #incoming: readonly Progress[] = [];
  #outgoing: readonly Progress[] = [];
  #peers: readonly Progress[] = [];
  #voterPeers: readonly NodeId[] = [];
  #isLeaseInterrupted = false;

  constructor(self: Self, conf: ConfState, limits: ProgressLimits) {
    this.#limits = limits;
    this.#self = self.id;
    this.#ownIncarnation = self.incarnation;
    this.#conf = conf;
    this.setConf(conf, { lastIndex: 0 as LogIndex, tick: 0 });
  }

  get conf(): ConfState {
    return this.#conf;
  }

  /** Every member but this replica, sorted by id: voters, outgoing voters and learners. */
  get peers(): readonly Progress[] {
    return this.#peers;
  }

  /** Voters of either set but this replica, sorted. */
  get voterPeers(): readonly NodeId[] {
    return this.#voterPeers;
  }

  /**
   * Just enough voters to confirm a round together with this replica: those that confirmed the
   * newest rounds. In a joint configuration, and for a leader that does not vote, all members.
   */
  get confirmingPeers(): readonly Progress[] {
    if (this.#outgoing.length > 0 || !this.isSelfVoter) return this.#peers;
    const neededCount = Math.floor(this.#incoming.length / 2);
    const candidates = this.#incoming.filter((member) => !this.#isSelf(member));
    if (candidates.length <= neededCount) return candidates;
    // Sorting is stable: members that confirmed equally stay in the order of their ids.
    candidates.sort((left, right) => right.confirmedRound - left.confirmedRound);
    return candidates.slice(0, neededCount);
  }

  /**
   * Members keep what is known of them. Newcomers start unknown, probed from `lastIndex` on; so
   * does a new incarnation of a known node: what the old one acknowledged is lost.
   */
  setConf(conf: ConfState, at: { readonly lastIndex: LogIndex; readonly tick: number }): void {
    const progress = new Map<NodeId, Progress>();
    for (const { nodeId, incarnation } of conf.members) {
      const known = this.#progress.get(nodeId);
      if (known?.incarnation === incarnation) {
        progress.set(nodeId, known);
        continue;
      }
      const fresh = new Progress(nodeId, incarnation, this.#limits);
      fresh.reset(at.lastIndex, at.tick);
      progress.set(nodeId, fresh);
    }
    const promoted = new Set(conf.promotions.map(({ nodeId }) => nodeId));
    for (const member of progress.values()) if (!promoted.has(member.id)) member.catchUp = null;
    this.#conf = conf;
    if (!conf.isLeaseEnabled) this.#isLeaseInterrupted = true;
    this.#progress = progress;
    this.#incoming = conf.voters.map((id) => this.#get(id));
    this.#outgoing = conf.votersOutgoing.map((id) => this.#get(id));
    this.#peers = [...progress.values()].filter((member) => !this.#isSelf(member));
    this.#voterPeers = this.#peers.map((peer) => peer.id).filter((id) => this.isVoter(id));
  }

  /** This replica's own progress; undefined when it is not a member in this life. */
  get own(): Progress | undefined {
    const own = this.#progress.get(this.#self);
    return own !== undefined && this.#isSelf(own) ? own : undefined;
  }

  /** This replica counts for quorums. */
  get isSelfVoter(): boolean {
    return this.own !== undefined && this.isVoter(this.#self);
  }

  progress(id: NodeId): Progress | undefined {
    return this.#progress.get(id);
  }

  isVoter(id: NodeId): boolean {
    return this.#conf.voters.includes(id) || this.#conf.votersOutgoing.includes(id);
  }

  reset(lastIndex: LogIndex, tick: number): void {
    for (const member of this.#progress.values()) member.reset(lastIndex, tick);
  }

  /** Largest index that a quorum is known to hold durably. */
  quorumMatchIndex(): LogIndex {
    return this.#reached((member) => member.matchIndex) as LogIndex;
  }

  /** Highest ReadIndex round that a quorum confirmed; this replica confirms every round. */
  quorumConfirmedRound(ownRound: number): number {
    return this.#reached((member) => (this.#isSelf(member) ? ownRound : member.confirmedRound));
  }

  /** When the heartbeat left that a quorum, this replica counted, has answered by a grant. */
  quorumLeaseSentAtMs(): number {
    return this.#reached((member) =>
      this.#isSelf(member) ? Number.POSITIVE_INFINITY : member.leaseSentAtMs,
    );
  }

  forgetLeases(): void {
    for (const member of this.#progress.values()) member.leaseSentAtMs = Number.NEGATIVE_INFINITY;
  }

  /** True once after a configuration without leases was in force. */
  takeLeaseInterruption(): boolean {
    const isInterrupted = this.#isLeaseInterrupted;
    this.#isLeaseInterrupted = false;
    return isInterrupted;
  }

  /** True when a quorum, this replica counted, was heard from at or after `sinceTick`. */
  isQuorumActive(sinceTick: number): boolean {
    const heard = (member: Progress) =>
      this.#isSelf(member) ? Number.POSITIVE_INFINITY : member.lastHeardTick;
    return this.#reached(heard) >= sinceTick;
  }

  voteResult(votes: ReadonlyMap<NodeId, boolean>): VoteResult {
    return jointVote(
      this.#incoming.map((member) => votes.get(member.id)),
      this.#outgoing.map((member) => votes.get(member.id)),
    );
  }

  #isSelf(member: Progress): boolean {
    return member.id === this.#self && member.incarnation === this.#ownIncarnation;
  }

  #reached(measure: (member: Progress) => number): number {
    return jointReached(this.#incoming.map(measure), this.#outgoing.map(measure));
  }

  #get(id: NodeId): Progress {
    const progress = this.#progress.get(id);
    assert(progress !== undefined, 'tracker: member without progress', { id });
    return progress;
  }
}
