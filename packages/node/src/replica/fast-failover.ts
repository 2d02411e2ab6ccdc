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
 * heard the leader by then.
 */
import type { NodeId, Random, TimerHandle, Timers } from '@holdfast/base';
import type { RaftCore } from '@holdfast/raft';

const FIRST_DELAY_MS_MIN = 20;
const FIRST_DELAY_MS_MAX = 80;
/** Longer than the interval of heartbeats; apart, so that not all campaign at one time. */
const START_DELAY_MS_MIN = 110;
const START_DELAY_MS_MAX = 260;
const REPEAT_DELAY_MS_MIN = 50;
const REPEAT_DELAY_MS_MAX = 100;

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
      const { conf, leader, role } = core.status();
      const { electionTimeoutMs, nodeId } = this.#options;
      const isThere = (id: NodeId): boolean => id === nodeId || reached.has(id);
      if (conf.voters.filter(isThere).length * 2 <= conf.voters.length) return;
      this.#reached = null;
      if (leader !== null || role !== 'follower' || this.#timer !== null) return;
      this.#remainingMs = electionTimeoutMs;
      this.#arm(START_DELAY_MS_MIN, START_DELAY_MS_MAX);
    });
  }

  onPeerLost(peer: NodeId): void {
    this.#reached?.delete(peer);
    this.#options.withCore((core) => {
      const { leader, role } = core.status();
      if (leader !== peer || role !== 'follower') return;
      // Bound by a lease it cannot yet; the bond ends an election timeout after the last heartbeat.
      this.#bondedTo = core.forgetLeader() ? null : peer;
      const timeoutCount = this.#bondedTo === null ? 1 : 2;
      this.#remainingMs = timeoutCount * this.#options.electionTimeoutMs;
      this.#arm(FIRST_DELAY_MS_MIN, FIRST_DELAY_MS_MAX);
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
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
    const { conf, leader, role } = core.status();
    const isElectable = role === 'follower' || role === 'preCandidate';
    if (leader !== null || !isElectable || !conf.voters.includes(this.#options.nodeId)) return;
    if (this.#options.isHurried()) core.campaign();
    this.#arm(REPEAT_DELAY_MS_MIN, REPEAT_DELAY_MS_MAX);
  }
}
