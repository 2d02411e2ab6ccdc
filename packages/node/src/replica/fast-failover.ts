/**
 * Electing at once when the leader's process is gone, instead of after the election timeout.
 *
 * The transport reports a peer as disconnected only after an immediate reconnect failed. If that
 * peer was the leader, this replica forgets it (role and term unchanged), so it may grant votes
 * under the log rule, and starts a pre-vote after a random delay; refused ones are repeated until
 * the ordinary election timeout takes over. A replica that still hears the leader refuses, so one
 * broken link deposes nobody, and the next heartbeat of the same term restores the leader. A
 * replica that is bound by a lease forgets nobody before the bond ends.
 *
 * The same after a start: where a majority of the voters can be reached and nobody has told of a
 * leader, all of them were down, and there is nothing to wait for. A node that comes back alone has
 * heard the leader by then. Of the nodes that are there each waits for those before it.
 *
 * Who has voted for another meanwhile lets that one finish, and repetitions grow rarer: on machines
 * where a message takes as long as the delays apart, candidates would end each other's terms.
 */
import type { NodeId, Random, Term, TimerHandle, Timers } from '@holdfast/base';
import { term } from '@holdfast/base';
import type { RaftCore } from '@holdfast/raft';

const FIRST_DELAY_MS_MIN = 20;
const FIRST_DELAY_MS_MAX = 80;
/** Longer than the interval of heartbeats, and more for every reachable voter before this one. */
const START_DELAY_MS_MIN = 110;
const START_DELAY_MS_MAX = 150;
const START_DELAY_MS_PER_VOTER = 60;
const REPEAT_DELAY_MS_MIN = 50;
const REPEAT_DELAY_MS_MAX = 100;
const REPEAT_GROWTH = 1.5;
const REPEAT_FACTOR_MAX = 5;
/** What the election of another is given, after a vote for it. */
const HOLD_DELAY_MS_MIN = 200;
const HOLD_DELAY_MS_MAX = 300;

export interface FastFailoverOptions {
  readonly nodeId: NodeId;
  readonly timers: Timers;
  readonly random: Random;
  /** After this long the core's own timer is the one that campaigns. */
  readonly electionTimeoutMs: number;
  /** False: this replica leaves it to the others, and to the core's own timer. */
  readonly isHurried: () => boolean;
  readonly withCore: (action: (core: RaftCore) => void) => void;
}

export class FastFailover {
  readonly #options: FastFailoverOptions;
  #timer: TimerHandle | null = null;
  #remainingMs = 0;
  #repeatFactor = 1;
  /** The newest term that was looked at. */
  #term: Term = term(0);
  /** The lost leader, while a lease binds this replica not to forget it. */
  #bondedTo: NodeId | null = null;
  /** To look once whether everybody was down; null: that was done. */
  #reached: Set<NodeId> | null = new Set();

  constructor(options: FastFailoverOptions) {
    this.#options = options;
  }

  onPeerFound(peer: NodeId): void {
    const reached = this.#reached;
    if (reached === null) return;
    reached.add(peer);
    this.#options.withCore((core) => {
      const { conf, leader, role, term } = core.status();
      const { electionTimeoutMs, nodeId } = this.#options;
      const there = conf.voters.filter((id) => id === nodeId || reached.has(id));
      if (there.length * 2 <= conf.voters.length) return;
      this.#reached = null;
      if (leader !== null || role !== 'follower' || this.#timer !== null) return;
      const waitMs = START_DELAY_MS_PER_VOTER * there.filter((id) => id < nodeId).length;
      this.#begin(term, electionTimeoutMs);
      this.#arm(START_DELAY_MS_MIN + waitMs, START_DELAY_MS_MAX + waitMs);
    });
  }

  onPeerLost(peer: NodeId): void {
    this.#reached?.delete(peer);
    this.#options.withCore((core) => {
      const { leader, role, term } = core.status();
      if (leader !== peer || role !== 'follower') return;
      // Bound by a lease it cannot yet; the bond ends an election timeout after the last heartbeat.
      this.#bondedTo = core.forgetLeader() ? null : peer;
      const timeoutCount = this.#bondedTo === null ? 1 : 2;
      this.#begin(term, timeoutCount * this.#options.electionTimeoutMs);
      this.#arm(FIRST_DELAY_MS_MIN, FIRST_DELAY_MS_MAX);
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #begin(term: Term, remainingMs: number): void {
    this.#term = term;
    this.#remainingMs = remainingMs;
    this.#repeatFactor = 1;
  }

  #arm(delayMsMin: number, delayMsMax: number): void {
    const { timers, random } = this.#options;
    const delayMs = delayMsMin + random.nextFloat() * (delayMsMax - delayMsMin);
    this.stop();
    this.#remainingMs -= delayMs;
    if (this.#remainingMs <= 0) return;
    this.#timer = timers.after(delayMs, () => {
      this.#options.withCore((core) => this.#campaign(core));
    });
  }

  #campaign(core: RaftCore): void {
    if (this.#bondedTo !== null && core.status().leader === this.#bondedTo) {
      if (core.forgetLeader()) this.#bondedTo = null;
      else {
        this.#arm(REPEAT_DELAY_MS_MIN, REPEAT_DELAY_MS_MAX);
        return;
      }
    }
    const { nodeId } = this.#options;
    const { conf, leader, role, term, vote } = core.status();
    const isElectable = role === 'follower' || role === 'preCandidate';
    if (leader !== null || !isElectable || !conf.voters.includes(nodeId)) return;
    const isVoteNew = term > this.#term && vote !== null && vote !== nodeId;
    this.#term = term;
    if (isVoteNew) {
      this.#arm(HOLD_DELAY_MS_MIN, HOLD_DELAY_MS_MAX);
      return;
    }
    if (this.#options.isHurried()) core.campaign();
    const factor = this.#repeatFactor;
    this.#repeatFactor = Math.min(REPEAT_FACTOR_MAX, factor * REPEAT_GROWTH);
    this.#arm(REPEAT_DELAY_MS_MIN * factor, REPEAT_DELAY_MS_MAX * factor);
  }
}
