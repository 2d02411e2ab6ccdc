/** Changes of membership, leadership and leases, asked for at bad moments. */
import { unreachable } from '@holdfast/base';
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import type { Operator } from './operator.ts';
import type { Fault, NodePick } from './plan.ts';
import type { Trace } from './trace.ts';

type MemberFault = Extract<
  Fault,
  {
    kind: 'transfer' | 'demoteMember' | 'removeMember' | 'swapMembers' | 'confTrap' | 'setLeases';
  }
>;

export type ConfTrap = Extract<Fault, { kind: 'confTrap' }>;

export interface MemberFaultParts {
  readonly cluster: SimCluster;
  readonly operator: Operator;
  readonly trace: Trace;
  /** What one node has may be lost: then a vote may be taken away as well. */
  readonly isSpareable: () => boolean;
  /** Does to `node` what the trap says. */
  readonly spring: (trap: ConfTrap, node: SimNode) => void;
}

export class MemberFaults {
  readonly #parts: MemberFaultParts;
  readonly #traps: ConfTrap[] = [];

  constructor(parts: MemberFaultParts) {
    this.#parts = parts;
  }

  /**
   * Everybody is up and has a vote, and no order may change that: one may be lost for good. A
   * second one that is lost before the first has its vote back would take what was acknowledged
   * with it.
   */
  get isWhole(): boolean {
    const { cluster, operator } = this.#parts;
    const isCalm = operator.isEveryoneVoter && !operator.isBusy;
    return isCalm && cluster.nodes.every((node) => node.isRunning);
  }

  /** False: not now. Whether the leader carries an order out is another matter. */
  strike(fault: MemberFault, pick: (pick: NodePick) => SimNode | null): boolean {
    const { operator } = this.#parts;
    switch (fault.kind) {
      case 'transfer':
        this.#transfer(fault.to);
        return true;
      case 'demoteMember':
      case 'removeMember': {
        const node = pick(fault.node);
        if (node === null || !this.#parts.isSpareable()) return false;
        operator.order({ kind: fault.kind, nodeId: node.id });
        return true;
      }
      case 'swapMembers': {
        const node = pick(fault.node);
        if (node === null || !this.#parts.isSpareable()) return false;
        this.#swap(node, fault.otherOffset);
        return true;
      }
      case 'setLeases':
        operator.order(fault);
        return true;
      case 'confTrap':
        this.#traps.push(fault);
        return true;
      default:
        return unreachable(fault);
    }
  }

  /**
   * To be called after every step: a trap springs at the first node whose configuration is as it
   * waits for.
   */
  look(node: SimNode): void {
    const [trap] = this.#traps;
    if (trap === undefined || node.state !== 'running') return;
    if (!isSprung(trap, node)) return;
    this.#traps.shift();
    const { cluster, trace, spring } = this.#parts;
    trace.note(`FAULT ${trap.action} of ${node.id}: its configuration is ${trap.when}`);
    // In the next turn: the node is in the middle of this one.
    cluster.scheduler.defer(() => spring(trap, node));
  }

  #transfer(to: number | null): void {
    const { cluster, operator } = this.#parts;
    const target = to === null ? undefined : cluster.nodes[to % cluster.nodes.length];
    operator.order({
      kind: 'transferLeadership',
      ...(target === undefined ? {} : { to: target.id }),
    });
  }

  #swap(node: SimNode, otherOffset: number): void {
    const { nodes } = this.#parts.cluster;
    const other = nodes[(nodes.indexOf(node) + otherOffset) % nodes.length];
    if (other === undefined || other === node) return;
    this.#parts.operator.order(
      { kind: 'demoteMember', nodeId: node.id },
      { kind: 'replaceMember', nodeId: other.id, by: node.id },
    );
  }
}

/**
 * The leader, while its newest configuration is open. A checkpoint has the configuration of what
 * was applied: that one must be joint, which the newest is no more as soon as it is committed.
 */
function isSprung({ action, when }: ConfTrap, { node }: SimNode): boolean {
  const { applied, commit, conf, confIndex, role } = node.replica.raftStatus();
  if (action === 'checkpoint' && when === 'joint') {
    return node.core.confAt(applied).conf.votersOutgoing.length > 0;
  }
  const isOpen = when === 'joint' ? conf.votersOutgoing.length > 0 : confIndex > commit;
  return role === 'leader' && isOpen;
}
