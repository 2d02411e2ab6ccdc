/**
 * Who runs the cluster: asks the leader for changes of the membership, as `holdfast member` does,
 * and looks now and then whether every node has its vote; one that has not gets it back. A refusal
 * or an unknown outcome is no problem: it looks again.
 */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import type { Request, ResultBody } from '@holdfast/protocol';
import type { Trace } from './trace.ts';

const REQUEST_TIMEOUT_MS = 2_000;

type OperatorRequest = Extract<
  Request,
  {
    readonly kind:
      | 'transferLeadership'
      | 'demoteMember'
      | 'removeMember'
      | 'promoteMember'
      | 'replaceMember'
      | 'listMembers'
      | 'addMember'
      | 'setLeases';
  }
>;
/** A request without its id. */
type Order = OperatorRequest extends infer Each
  ? Each extends OperatorRequest
    ? Omit<Each, 'id'>
    : never
  : never;

export class Operator {
  readonly #cluster: SimCluster;
  readonly #trace: Trace;
  readonly #intervalMs: number;
  readonly #onProblem: (problem: string) => void;
  #isBusy = false;

  constructor(parts: {
    readonly cluster: SimCluster;
    readonly trace: Trace;
    readonly intervalMs: number;
    readonly onProblem: (problem: string) => void;
  }) {
    this.#cluster = parts.cluster;
    this.#trace = parts.trace;
    this.#intervalMs = parts.intervalMs;
    this.#onProblem = parts.onProblem;
  }

  /** Looks from now on, for the rest of the run. */
  begin(): void {
    this.#cluster.scheduler.clock.after(this.#intervalMs, () => {
      this.#look();
      this.begin();
    });
  }

  /**
   * One order to the leader; nothing happens without one, or while another is under way. `next` is
   * given when it was carried out.
   */
  order(order: Order, next: Order | null = null): void {
    const leader = this.leader;
    if (leader === null || this.#isBusy) return;
    this.#isBusy = true;
    const { boot } = leader;
    const words = `operator: ${JSON.stringify(order)} at ${leader.id}`;
    this.#trace.note(words);
    this.#execute(leader, order).then(
      () => {
        this.#done(`${words}: done`);
        if (next !== null) this.order(next);
      },
      (thrown: unknown) => {
        const error = toHoldfastError(thrown);
        this.#done(`${words}: ${error.code} ${error.message}`);
        const isBug = error.code === 'INTERNAL' && leader.boot === boot && leader.isRunning;
        if (isBug) this.#onProblem(`${words}: ${error.message}`);
      },
    );
  }

  /** An order is under way. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Every node is a voter in the configuration that the leader has committed. */
  get isEveryoneVoter(): boolean {
    const leader = this.leader;
    if (leader === null) return false;
    const { conf, confIndex, commit } = leader.node.replica.raftStatus();
    if (confIndex > commit || conf.votersOutgoing.length > 0) return false;
    return this.#cluster.nodes.every((node) => this.#hasVote(node, leader));
  }

  /** Of those that believe that they lead, the one of the newest term. */
  get leader(): SimNode | null {
    let newest: SimNode | null = null;
    let newestTerm = 0;
    for (const node of this.#cluster.nodes) {
      if (!node.isRunning || node.isPaused) continue;
      const { role, term } = node.node.replica.soft;
      if (role !== 'leader' || term <= newestTerm) continue;
      newest = node;
      newestTerm = term;
    }
    return newest;
  }

  #look(): void {
    const leader = this.leader;
    if (leader === null) return;
    const { conf } = leader.node.replica.raftStatus();
    for (const node of this.#cluster.nodes) {
      if (!node.isRunning || this.#hasVote(node, leader)) continue;
      if (conf.promotions.some((promotion) => promotion.nodeId === node.id)) continue;
      const member = conf.members.find(({ nodeId }) => nodeId === node.id);
      const isLearner = member?.incarnation === node.incarnation;
      const { id: nodeId, peerAddress: address } = node;
      this.order(
        isLearner ? { kind: 'promoteMember', nodeId } : { kind: 'addMember', nodeId, address },
      );
      return;
    }
    this.order({ kind: 'listMembers' });
  }

  #hasVote(node: SimNode, leader: SimNode): boolean {
    const { conf } = leader.node.replica.raftStatus();
    const member = conf.members.find(({ nodeId }) => nodeId === node.id);
    return conf.voters.includes(node.id) && member?.incarnation === node.incarnation;
  }

  /** Rejects also when the node dies before it answers. */
  #execute(leader: SimNode, order: Order): Promise<ResultBody> {
    const { clock } = this.#cluster.scheduler;
    const deadlineMs = leader.nowMs + REQUEST_TIMEOUT_MS;
    const answer = leader.node.service.execute({ id: 1, ...order } as Request, { deadlineMs });
    const silence = new Promise<never>((_resolve, reject) => {
      clock.after(2 * REQUEST_TIMEOUT_MS, () => reject(silent(leader)));
    });
    return Promise.race([answer, silence]);
  }

  #done(words: string): void {
    this.#isBusy = false;
    this.#trace.note(words);
  }
}

const silent = (leader: SimNode): HoldfastError =>
  new HoldfastError('NO_NODE_REACHABLE', `${leader.id} does not answer the operator`);
