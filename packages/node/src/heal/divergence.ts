/**
 * Carries the digests of this replica to the others after every `verify` entry, and acts on what
 * the comparison says. A replica that a majority contradicts must not serve any longer: it gives
 * the leadership away, and begins a new life, so that it comes back with a copy of what the
 * majority has. What it had goes to quarantine.
 */
import type { ConfState, GroupId, Logger, LogIndex, NodeId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { DigestReport } from '@holdfast/protocol';
import type { CareAddress, PeerTransport } from '../service-api.ts';
import type { DivergedShard } from './digest-vote.ts';
import { DigestVote } from './digest-vote.ts';
import type { RecoveryCause } from './recovery-manager.ts';

export interface DivergenceOptions {
  readonly group: GroupId;
  readonly nodeId: NodeId;
  readonly transport: Pick<PeerTransport, 'sendCare'>;
  readonly conf: () => ConfState;
  readonly submit: (cause: RecoveryCause) => void;
  /** Gives the leadership away, if this replica has it. */
  readonly handOver: () => Promise<void>;
  /** Stops the replica with this error. */
  readonly fail: (error: HoldfastError) => void;
  readonly logger: Logger;
}

export class Divergence {
  readonly #options: DivergenceOptions;
  readonly #vote: DigestVote;
  #verifiedIndex = 0;
  #isDiverged = false;

  constructor(options: DivergenceOptions) {
    this.#options = options;
    this.#vote = new DigestVote(options.nodeId);
  }

  /** Newest entry after which every voter reported the same digests; 0 before the first. */
  get verifiedIndex(): number {
    return this.#verifiedIndex;
  }

  /** This replica has applied a `verify` entry. */
  onOwn(index: LogIndex, shards: DigestReport['shards']): void {
    const { conf, group, nodeId, transport } = this.#options;
    const report: DigestReport = { kind: 'digestReport', index, shards };
    for (const member of conf().members) {
      if (member.nodeId !== nodeId) transport.sendCare({ ...member, group }, report);
    }
    this.#take(nodeId, report);
  }

  /** Only members are listened to, in the life that the configuration knows. */
  receive(from: CareAddress, report: DigestReport): void {
    const { conf, group } = this.#options;
    const isMember = conf().members.some(
      ({ incarnation, nodeId }) => nodeId === from.nodeId && incarnation === from.incarnation,
    );
    if (isMember && from.group === group) this.#take(from.nodeId, report);
  }

  #take(from: NodeId, report: DigestReport): void {
    const { conf, logger } = this.#options;
    this.#vote.add(from, report.index, report.shards);
    const { voters, votersOutgoing } = conf();
    // While the configuration changes nobody is contradicted: the next look decides.
    const verdict =
      votersOutgoing.length > 0
        ? ({ kind: 'pending' } as const)
        : this.#vote.verdict(report.index, voters);
    const { index } = report;
    switch (verdict.kind) {
      case 'pending':
        return;
      case 'equal':
        this.#verifiedIndex = Math.max(this.#verifiedIndex, index);
        return;
      case 'othersDiverged':
        logger.error({ index, nodes: verdict.nodes }, 'replicas have diverged from the majority');
        return;
      case 'noMajority':
        logger.error(
          { index, shards: verdict.shards },
          'the replicas disagree and no digest has a majority: nothing is given up; compare them',
        );
        return;
      case 'diverged':
        this.#onDiverged(index, verdict.shards);
        return;
    }
  }

  #onDiverged(index: number, shards: readonly DivergedShard[]): void {
    if (this.#isDiverged) return;
    this.#isDiverged = true;
    const { fail, handOver, nodeId, submit } = this.#options;
    const keys = shards.map(({ key }) => key).join(', ');
    const what = `shards ${keys} of ${nodeId} differ from the majority after entry ${index}`;
    submit({
      key: 'state',
      type: 'divergence',
      what: `${what}: ${JSON.stringify(shards.slice(0, 8))}`,
      priority: 0,
      ladder: [
        {
          name: 'resync',
          run: async () => {
            await handOver();
            fail(
              new HoldfastError(
                'NEW_LIFE_NEEDED',
                `${what}: started again, it puts what it has into quarantine and joins anew`,
                { details: { index, shards: shards.slice(0, 8) } },
              ),
            );
            return { index };
          },
          // The next life is the proof; this one ends here.
          verify: async () => true,
        },
      ],
    });
  }
}
