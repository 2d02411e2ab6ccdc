/**
 * The configuration in force and what the leader knows about each of its members. Everything that
 * iterates does so in the order of sorted ids, so that equal histories give equal messages.
 */
import type { ConfState, LogIndex, NodeId } from '@holdfast/base';
import { assert } from '@holdfast/base';
import { jointReached, jointVote } from '../quorum/joint.ts';
import type { VoteResult } from '../quorum/majority.ts';
import { Progress, type ProgressLimits } from './progress.ts';

export class Tracker {
  readonly #limits: ProgressLimits;
  readonly #self: NodeId;
  #conf: ConfState;
  #progress: ReadonlyMap<NodeId, Progress> = new Map();
  #incoming: readonly Progress[] = [];
  #outgoing: readonly Progress[] = [];
  #peers: readonly Progress[] = [];
  #voterPeers: readonly NodeId[] = [];

  constructor(self: NodeId, conf: ConfState, limits: ProgressLimits) {
    this.#limits = limits;
    this.#self = self;
    this.#conf = conf;
    this.setConf(conf);
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
    if (this.#outgoing.length > 0 || !this.#conf.voters.includes(this.#self)) return this.#peers;
    const neededCount = Math.floor(this.#incoming.length / 2);
    const candidates = this.#incoming.filter((member) => member.id !== this.#self);
    if (candidates.length <= neededCount) return candidates;
    // Sorting is stable: members that confirmed equally stay in the order of their ids.
    candidates.sort((left, right) => right.confirmedRound - left.confirmedRound);
    return candidates.slice(0, neededCount);
  }

  /** Members keep what is known of them; newcomers start unknown. */
  setConf(conf: ConfState): void {
    const ids = new Set([...conf.voters, ...conf.votersOutgoing, ...conf.learners]);
    const progress = new Map<NodeId, Progress>();
    for (const id of [...ids].sort())
      progress.set(id, this.#progress.get(id) ?? new Progress(id, this.#limits));
    this.#conf = conf;
    this.#progress = progress;
    this.#incoming = conf.voters.map((id) => this.#get(id));
    this.#outgoing = conf.votersOutgoing.map((id) => this.#get(id));
    this.#peers = [...progress.values()].filter((member) => member.id !== this.#self);
    this.#voterPeers = this.#peers.map((peer) => peer.id).filter((id) => this.isVoter(id));
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
    return this.#reached((member) => (member.id === this.#self ? ownRound : member.confirmedRound));
  }

  /** True when a quorum, this replica counted, was heard from at or after `sinceTick`. */
  isQuorumActive(sinceTick: number): boolean {
    const heard = (member: Progress) =>
      member.id === this.#self ? Number.POSITIVE_INFINITY : member.lastHeardTick;
    return this.#reached(heard) >= sinceTick;
  }

  voteResult(votes: ReadonlyMap<NodeId, boolean>): VoteResult {
    return jointVote(
      this.#incoming.map((member) => votes.get(member.id)),
      this.#outgoing.map((member) => votes.get(member.id)),
    );
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
