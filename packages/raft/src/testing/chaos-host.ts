/**
 * The part of a storm that happens to hosts: processes are stopped and go on later, disks stop to
 * answer, clocks drift, and leaders are cut off while the others try to replace them at once. Lease
 * reads are asked of everyone, above all of leaders deposed behind their back.
 */
import type { NodeId, Random } from '@holdfast/base';
import type { RaftMessage } from '../messages.ts';
import type { CoreCluster } from './core-cluster.ts';
import type { StormTime } from './storm-time.ts';

/** What waits in the sockets of a stopped process. */
const PAUSED_INBOX_COUNT_MAX = 40;

export class HostFaults {
  readonly #cluster: CoreCluster;
  readonly #time: StormTime;
  readonly #random: Random;
  /** Disks that do not answer. */
  readonly #stalledDisks = new Set<NodeId>();
  /** Stopped processes and what has arrived for them since. */
  readonly #paused = new Map<NodeId, RaftMessage[]>();
  pauseCount = 0;

  constructor(cluster: CoreCluster, time: StormTime, random: Random) {
    this.#cluster = cluster;
    this.#time = time;
    this.#random = random;
  }

  /** Up and not stopped. */
  get running(): readonly NodeId[] {
    return this.#cluster.up.filter((id) => !this.#paused.has(id));
  }

  isStalled(id: NodeId): boolean {
    return this.#stalledDisks.has(id);
  }

  /** A new process runs, with a disk that answers. */
  forget(id: NodeId): void {
    this.#paused.delete(id);
    this.#stalledDisks.delete(id);
  }

  healDisks(): void {
    this.#stalledDisks.clear();
  }

  stallDisk(id: NodeId): void {
    this.#stalledDisks.add(id);
  }

  pause(id: NodeId): void {
    if (this.#paused.has(id)) return;
    this.pauseCount += 1;
    this.#paused.set(id, []);
  }

  /** True when the receiver is stopped: the message waits in its socket, or is lost. */
  holdBack(message: RaftMessage): boolean {
    const inbox = this.#paused.get(message.to);
    if (inbox !== undefined && inbox.length < PAUSED_INBOX_COUNT_MAX) inbox.push(message);
    return inbox !== undefined;
  }

  resumeOne(): void {
    const ids = [...this.#paused.keys()];
    if (ids.length > 0) this.#resume(ids[this.#random.nextBelow(ids.length)]!);
  }

  resumeAll(): void {
    for (const id of this.#paused.keys()) this.#resume(id);
  }

  leaseReads(): void {
    for (const id of this.running) this.#cluster.leaseRead(id, this.#time.clockMs(id));
  }

  /** Mostly to the voter that is fit for it, sometimes to anybody. */
  transfer(anybody: NodeId): void {
    const leader = this.#cluster.leader();
    if (leader === null || this.#paused.has(leader.id)) return;
    const [best] = leader.core.transferTargets();
    leader.core.transfer(this.#random.nextBelow(4) > 0 ? (best ?? anybody) : anybody);
    this.#cluster.after(leader.id);
  }

  /** The leader is cut off, and the others, some of them restarted, try to replace it at once. */
  coup(): void {
    const leader = this.#cluster.leader();
    if (leader === null) return;
    this.#cluster.isolate(leader.id);
    for (const id of this.running) {
      if (id === leader.id) continue;
      if (this.#random.nextBelow(3) === 0) {
        this.forget(id);
        this.#cluster.crash(id);
        this.#cluster.restart(id);
      }
      const { core } = this.#cluster.replica(id);
      core.forgetLeader();
      if (this.#random.nextBelow(2) === 0) core.campaign();
      this.#cluster.after(id);
    }
  }

  /** Sometimes clients are served first; then what has arrived, then one tick: none is replayed. */
  #resume(id: NodeId): void {
    const inbox = this.#paused.get(id) ?? [];
    this.#paused.delete(id);
    if (!this.#cluster.isUp(id)) return;
    if (this.#random.nextBelow(2) === 0) this.#cluster.leaseRead(id, this.#time.clockMs(id));
    for (const message of inbox) this.#cluster.deliver(message);
    this.#time.tickAll([id]);
  }
}
