/**
 * While a node waits to be added it asks the addresses it was given who the members are, and keeps
 * a link to each of them: so the leader, whoever it is, knows that the node is there. Ends by
 * itself when the node finds itself in a configuration.
 */
import type { Logger, Member, TimerHandle, Timers } from '@holdfast/base';
import { toHoldfastError } from '@holdfast/base';
import type { PeerTransport } from '../service-api.ts';

/** Members change rarely; an operator waits about as long without wondering. */
const INTERVAL_MS = 1_000;

export interface JoinAnnouncerParts {
  readonly transport: Pick<PeerTransport, 'inquire' | 'setContacts'>;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Peer addresses of some nodes of the cluster, host:port. */
  readonly addresses: readonly string[];
  readonly isJoining: () => boolean;
}

export class JoinAnnouncer {
  readonly #parts: JoinAnnouncerParts;
  #timer: TimerHandle | null = null;
  #isStopped = false;
  /** The last failure that was logged: an address that stays silent is news once. */
  #lastFailure = '';

  constructor(parts: JoinAnnouncerParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#parts.addresses.length > 0) this.#announce();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #announce(): void {
    const { addresses, timers, transport } = this.#parts;
    if (this.#isOver) return;
    void Promise.all(addresses.map((address) => this.#ask(address))).then((answers) => {
      if (this.#isOver) return;
      const members = new Map(answers.flat().map((member) => [member.nodeId, member]));
      // Nobody answered this time: the links of last time stay.
      if (members.size > 0) transport.setContacts([...members.values()]);
      this.#timer = timers.after(INTERVAL_MS, () => this.#announce());
    });
  }

  async #ask(address: string): Promise<readonly Member[]> {
    try {
      return (await this.#parts.transport.inquire(address)).members;
    } catch (thrown) {
      const { code, message } = toHoldfastError(thrown);
      const failure = `${address} ${code}`;
      if (failure !== this.#lastFailure) {
        this.#parts.logger.warn({ address, code }, `cannot announce this node: ${message}`);
      }
      this.#lastFailure = failure;
      return [];
    }
  }

  get #isOver(): boolean {
    return this.#isStopped || !this.#parts.isJoining();
  }
}
