/**
 * The membership part of a storm: members come, go, change roles and lose their disks, while
 * everything else goes wrong too. What it must not do is what no protocol survives: more lost disks
 * at a time than a quorum can spare. Afterwards an operator's hand (`mend`) finishes what only an
 * operator can: lets wiped nodes in again, leaves a joint configuration that was asked for, and
 * stops nodes that were removed.
 */
import type { ConfState, Member, NodeId, Random } from '@holdfast/base';
import { memberOf } from '@holdfast/base';
import { type ConfChange, type ConfChangeStep, isJoint, nextConf } from '../membership/change.ts';
import type { DropReason, RaftEvent } from '../ready.ts';
import type { CoreCluster } from './core-cluster.ts';
import type { ReplicaObserver, SimReplica } from './sim-replica.ts';

/** Nodes beyond the first members that may join. */
const NEWCOMERS: readonly string[] = ['f', 'g', 'h'];
/** With a lost disk about, no half of a configuration may be smaller: it could not spare one. */
const VOTER_COUNT_MIN = 3;

/** What happened to the membership in one run; rare states must be reached, see the tests. */
export interface MembershipCounts {
  proposed: number;
  joint: number;
  refused: Partial<Record<DropReason, number>>;
  wiped: number;
  readmitted: number;
  /** A configuration was taken back because its entry was truncated. */
  reverted: number;
  /** A snapshot whose configuration is joint was installed. */
  jointSnapshots: number;
  /** Somebody became leader while in a joint configuration. */
  jointElections: number;
  /** Somebody without a vote in its own newest configuration was elected. */
  voicelessElections: number;
  leadersRemoved: number;
  learnersCaughtUp: number;
  /** Somebody started with a configuration in its log that it did not know committed. */
  pendingRestarts: number;
}

export const noCounts = (): MembershipCounts => ({
  proposed: 0,
  joint: 0,
  refused: {},
  wiped: 0,
  readmitted: 0,
  reverted: 0,
  jointSnapshots: 0,
  jointElections: 0,
  voicelessElections: 0,
  leadersRemoved: 0,
  learnersCaughtUp: 0,
  pendingRestarts: 0,
});

/** Counts what replicas report. */
export class MembershipWatcher implements ReplicaObserver {
  readonly counts: MembershipCounts = noCounts();

  eventSeen({ core, id }: SimReplica, event: RaftEvent): void {
    const { conf } = core.status();
    if (event.kind === 'confChanged' && event.cause === 'reverted') this.counts.reverted += 1;
    if (event.kind === 'steppedDown' && event.reason === 'removed') this.counts.leadersRemoved += 1;
    if (event.kind === 'learnerCaughtUp') this.counts.learnersCaughtUp += 1;
    if (event.kind !== 'roleChanged' || event.role !== 'leader') return;
    if (isJoint(conf)) this.counts.jointElections += 1;
    else if (!conf.voters.includes(id)) this.counts.voicelessElections += 1;
  }

  snapshotInstalled(_replica: SimReplica, { conf }: { readonly conf: ConfState }): void {
    if (isJoint(conf)) this.counts.jointSnapshots += 1;
  }
}

export class MembershipStorm {
  readonly #cluster: CoreCluster;
  readonly #random: Random;
  readonly #counts: MembershipCounts;

  constructor(cluster: CoreCluster, random: Random, counts: MembershipCounts) {
    this.#cluster = cluster;
    this.#random = random;
    this.#counts = counts;
  }

  /** Some change, asked of the leader or of anybody. */
  change(anybody: NodeId): void {
    const leader = this.#cluster.leader();
    const id = leader === null || this.#below(8) === 0 ? anybody : leader.id;
    const { conf } = this.#cluster.replica(id).core.status();
    const steps = isJoint(conf) ? [] : this.#someSteps(id, conf);
    const transition = this.#below(4) === 0 ? 'joint' : 'auto';
    this.#propose(id, { steps, transition });
  }

  /** Takes somebody's disk away, if the group can spare it. */
  wipe(id: NodeId): void {
    const confs = this.#confsInPlay();
    const isSparable = confs.every((conf) => halves(conf).every(isLargeEnough));
    if (!isSparable || confs.some((conf) => this.#lostIn(conf).length > 0)) return;
    this.#counts.wiped += 1;
    this.#cluster.wipe(id);
  }

  /** Lets a wiped member in again as its new life. */
  readmit(): void {
    const leader = this.#cluster.leader();
    if (leader === null) return;
    const { conf } = leader.core.status();
    const [lost] = this.#lostIn(conf);
    if (lost === undefined || isJoint(conf)) return;
    const promotion = conf.voters.includes(lost.nodeId) ? { replaces: null } : null;
    const member = this.#cluster.member(lost.nodeId);
    const steps: readonly ConfChangeStep[] = [
      { kind: 'remove', nodeId: lost.nodeId },
      { kind: 'addLearner', member, promotion },
    ];
    if (this.#submit(leader.id, { steps })) this.#counts.readmitted += 1;
  }

  restarted(id: NodeId): void {
    if (this.#cluster.replica(id).core.status().isConfPending) this.#counts.pendingRestarts += 1;
  }

  /** One round of what an operator does after a storm. */
  mend(): void {
    const leader = this.#cluster.leader();
    if (leader === null) return;
    const { conf, isConfPending } = leader.core.status();
    if (isConfPending) return;
    if (isJoint(conf) && !conf.autoLeave) this.#propose(leader.id, { steps: [] });
    this.readmit();
    for (const id of this.#cluster.up) if (memberOf(conf, id) === null) this.#cluster.crash(id);
  }

  /** Nothing is left to do: one plain configuration of members that are all there. */
  get isMended(): boolean {
    const { conf } = this.#cluster.checker.conf;
    return !isJoint(conf) && conf.promotions.length === 0 && this.#lostIn(conf).length === 0;
  }

  /** Members in a life that is over. */
  #lostIn(conf: ConfState): readonly Member[] {
    const isLost = (member: Member): boolean =>
      this.#cluster.ids.includes(member.nodeId) &&
      this.#cluster.member(member.nodeId).incarnation !== member.incarnation;
    return conf.members.filter(isLost);
  }

  /** The newest committed configuration and whatever somebody may hold after it. */
  #confsInPlay(): readonly ConfState[] {
    const { conf, confIndex } = this.#cluster.checker.conf;
    const newer = this.#cluster.ids
      .map((id) => this.#cluster.replica(id).core.status())
      .filter((status) => status.confIndex >= confIndex);
    return [conf, ...newer.map((status) => status.conf)];
  }

  /** Proposes it unless it could leave too few voters beside a lost disk. */
  #propose(id: NodeId, change: ConfChange): boolean {
    const { core } = this.#cluster.replica(id);
    const next = nextConf(core.status().conf, change);
    if (next.ok && this.#confsInPlay().some((conf) => this.#lostIn(conf).length > 0))
      if (!halves(next.conf).every(isLargeEnough)) return false;
    return this.#submit(id, change);
  }

  #submit(id: NodeId, change: ConfChange): boolean {
    const { core } = this.#cluster.replica(id);
    const next = nextConf(core.status().conf, change);
    const outcome = core.proposeConf(change);
    this.#cluster.after(id);
    if (outcome.ok) {
      this.#counts.proposed += 1;
      if (next.ok && isJoint(next.conf)) this.#counts.joint += 1;
      return true;
    }
    this.#counts.refused[outcome.drop] = (this.#counts.refused[outcome.drop] ?? 0) + 1;
    return false;
  }

  #someSteps(leader: NodeId, conf: ConfState): readonly ConfChangeStep[] {
    const count = [1, 1, 1, 1, 2, 2, 3][this.#below(7)]!;
    return Array.from({ length: count }, () => this.#someStep(leader, conf));
  }

  #someStep(leader: NodeId, conf: ConfState): ConfChangeStep {
    const nodeId = this.#below(4) === 0 ? leader : this.#oneOf(conf.members).nodeId;
    switch (this.#below(10)) {
      case 0:
      case 1:
        return { kind: 'remove', nodeId };
      case 2:
        return { kind: 'demote', nodeId };
      case 3:
        return { kind: 'promote', nodeId };
      case 4:
        return { kind: 'addVoter', member: this.#someNewcomer(conf) };
      case 5: {
        const member = { ...this.#oneOf(conf.members), address: `moved-${this.#below(9)}:2` };
        return { kind: 'updateMember', member };
      }
      case 6:
        return { kind: 'setLeases', isEnabled: this.#below(2) === 0 };
      default: {
        const fate = this.#below(3);
        const replaces = fate === 0 ? nodeId : null;
        const promotion = fate === 2 ? null : { replaces };
        return { kind: 'addLearner', member: this.#someNewcomer(conf), promotion };
      }
    }
  }

  /** A node that is no member: one that was, or one that was never there. */
  #someNewcomer(conf: ConfState): Member {
    const { ids } = this.#cluster;
    const outside = ids.filter((id) => memberOf(conf, id) === null);
    const unborn = NEWCOMERS.filter((name) => !ids.includes(name as NodeId));
    const candidates = [...outside, ...unborn];
    if (candidates.length === 0) return this.#oneOf(conf.members);
    const name = this.#oneOf(candidates);
    return unborn.includes(name) ? this.#cluster.join(name) : this.#cluster.member(name);
  }

  #oneOf<Item>(items: readonly Item[]): Item {
    return items[this.#below(items.length)]!;
  }

  #below(bound: number): number {
    return this.#random.nextBelow(bound);
  }
}

const halves = (conf: ConfState): readonly (readonly NodeId[])[] =>
  isJoint(conf) ? [conf.voters, conf.votersOutgoing] : [conf.voters];

const isLargeEnough = (voters: readonly NodeId[]): boolean => voters.length >= VOTER_COUNT_MIN;
