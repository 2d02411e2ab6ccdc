/**
 * Members that lost their disk come back by themselves: a node that waits to join under the name of
 * a member in another life is taken back in one change, its old life out and the new one in, as a
 * learner that gets the vote of the old one once it has caught up. Only the leader does this, and
 * never while the old life answers (member-plan.ts): then one of the two is an impostor or a copy.
 *
 * Until that change is committed the old life counts: nobody votes in its place, so a cluster that
 * cannot do without the lost copy waits instead of electing somebody who lacks what it had.
 */
import type { Logger } from '@holdfast/base';
import { memberOf, toHoldfastError } from '@holdfast/base';
import type { Membership } from '../replica/membership.ts';
import type { Guest, PeerTransport } from '../service-api.ts';

/** The old life counts as gone after an election timeout; asking more often gains nothing. */
const INTERVAL_MS = 500;
const CHANGE_TIMEOUT_MS = 10_000;

export interface ReadmissionParts {
  readonly isLeader: () => boolean;
  readonly membership: Pick<Membership, 'conf' | 'change'>;
  readonly transport: Pick<PeerTransport, 'guests'>;
  readonly logger: Logger;
}

export class Readmission {
  readonly #parts: ReadmissionParts;
  #nextMs = 0;
  #isBusy = false;
  /** Why it failed last: news once. */
  #lastFailure = '';

  constructor(parts: ReadmissionParts) {
    this.#parts = parts;
  }

  onTick(nowMs: number): void {
    if (this.#isBusy || nowMs < this.#nextMs || !this.#parts.isLeader()) return;
    this.#nextMs = nowMs + INTERVAL_MS;
    const guest = this.#parts.transport.guests().find((each) => this.#isBack(each));
    if (guest === undefined) return;
    this.#isBusy = true;
    void this.#readmit(guest, nowMs + CHANGE_TIMEOUT_MS).finally(() => {
      this.#isBusy = false;
    });
  }

  #isBack({ incarnation, isJoining, nodeId }: Guest): boolean {
    const known = memberOf(this.#parts.membership.conf, nodeId);
    return isJoining && known !== null && known.incarnation !== incarnation;
  }

  async #readmit(guest: Guest, deadlineMs: number): Promise<void> {
    const { membership, logger } = this.#parts;
    const { incarnation, nodeId } = guest;
    const { learners, promotions } = membership.conf;
    const hadVote = !learners.includes(nodeId);
    const wasToHave = promotions.some((promotion) => promotion.nodeId === nodeId);
    const isLearner = !hadVote && !wasToHave;
    try {
      await membership.change({ kind: 'addMember', id: 0, nodeId, isLearner }, deadlineMs);
      logger.warn({ nodeId, incarnation }, 'a member came back without its disk; it joins anew');
      this.#lastFailure = '';
    } catch (thrown) {
      const { code, message } = toHoldfastError(thrown);
      if (this.#lastFailure === code) return;
      this.#lastFailure = code;
      logger.warn({ nodeId, code }, `a member without its disk cannot join anew yet: ${message}`);
    }
  }
}
