/**
 * Our outgoing control connections: one to every member of the configuration, one back to every
 * guest that is connected to us, because an answer goes to the very life of the node that asked,
 * and, while we wait to be added, one to every contact, which sees us as its guest.
 *
 * A link that nobody needs any more lingers: the commit of a removal must still reach the removed
 * node, and a joining node must not lose its leader between two connections.
 */
import { HoldfastError, type Member, type NodeId, type TimerHandle } from '@holdfast/base';
import type { PeerIdentity } from '@holdfast/protocol';
import { formatEndpoint } from '../config/endpoint.ts';
import type { PeerState } from '../service-api.ts';
import { memberOfIdentity } from './identity-check.ts';
import { type LinkChannel, OutgoingLink } from './outgoing-link.ts';
import type { PeerContext, PeerMember } from './peer-context.ts';

/**
 * Nodes that join, lag behind a change or were removed, at one time. A change brings in one or two;
 * the rest is room for removed nodes that nobody stopped.
 */
export const GUEST_COUNT_MAX = 16;

interface Entry {
  readonly link: OutgoingLink;
  /** Set while nobody needs the link as it is: it is stopped when the time is over. */
  lingering: TimerHandle | null;
}

interface Wanted {
  readonly member: PeerMember;
  readonly channel: LinkChannel;
}

export class LinkTable {
  readonly #context: PeerContext;
  readonly #onState: (peer: NodeId, state: PeerState) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #guests = new Map<string, PeerMember>();
  #contacts: ReadonlyMap<string, PeerMember> = new Map();
  #members: ReadonlyMap<string, PeerMember> = new Map();
  #isStarted = false;

  constructor(context: PeerContext, onState: (peer: NodeId, state: PeerState) => void) {
    this.#context = context;
    this.#onState = onState;
  }

  get connectedMemberCount(): number {
    let count = 0;
    for (const key of this.#members.keys()) {
      if (this.#entries.get(key)?.link.isConnected === true) count += 1;
    }
    return count;
  }

  get guestCount(): number {
    return this.#guests.size;
  }

  start(): void {
    this.#isStarted = true;
    for (const { link } of this.#entries.values()) link.start();
  }

  stop(): void {
    for (const { link, lingering } of this.#entries.values()) {
      lingering?.cancel();
      link.stop();
    }
    this.#entries.clear();
  }

  /** The link to that very life of the node, if there is one. */
  find(id: NodeId, incarnation: string): OutgoingLink | undefined {
    return this.#entries.get(keyOf(id, incarnation))?.link;
  }

  /** Who to dial for a connection beside the link; the member before a guest of the same name. */
  dialTarget(id: NodeId): PeerMember | null {
    for (const known of [this.#members, this.#guests]) {
      for (const peer of known.values()) if (peer.nodeId === id) return peer;
    }
    return null;
  }

  setMembers(members: readonly Member[], isJoining: boolean): void {
    this.#members = this.#dialable(members);
    // Whoever is a member need not announce itself.
    if (!isJoining) this.#contacts = new Map();
    this.#settle();
  }

  setContacts(members: readonly Member[]): void {
    this.#contacts = this.#dialable(members);
    this.#settle();
  }

  /** @throws HoldfastError TOO_MANY_CONNECTIONS */
  addGuest(identity: PeerIdentity): void {
    const peer = memberOfIdentity(this.#context, identity);
    if (peer === null) return;
    const key = keyOf(peer.nodeId, peer.incarnation);
    if (!this.#guests.has(key) && this.#guests.size >= GUEST_COUNT_MAX) {
      throw new HoldfastError(
        'TOO_MANY_CONNECTIONS',
        `${this.#guests.size} nodes that are no members are connected already; stop removed nodes`,
      );
    }
    this.#guests.set(key, peer);
    this.#settle();
  }

  removeGuest({ nodeId, incarnation }: PeerIdentity): void {
    if (this.#guests.delete(keyOf(nodeId, incarnation))) this.#settle();
  }

  checkLiveness(): void {
    for (const { link } of this.#entries.values()) link.checkLiveness();
  }

  /** Opens what is wanted and lets go of what is not. */
  #settle(): void {
    const wanted = new Map<string, Wanted>();
    for (const [key, member] of this.#guests) wanted.set(key, { member, channel: 'answers' });
    for (const group of [this.#contacts, this.#members]) {
      for (const [key, member] of group) wanted.set(key, { member, channel: 'control' });
    }
    for (const [key, target] of wanted) this.#provide(key, target);
    for (const [key, entry] of this.#entries) if (!wanted.has(key)) this.#linger(key, entry);
  }

  #provide(key: string, target: Wanted): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      this.#open(key, target);
      return;
    }
    const { link } = entry;
    const isSame = isSameAddress(link.member, target.member) && link.channel === target.channel;
    if (isSame) {
      entry.lingering?.cancel();
      entry.lingering = null;
    } else if (target.channel === 'answers') {
      // No member any more, and connected to us all the same: its last news goes out first.
      this.#linger(key, entry);
    } else {
      this.#drop(key, entry);
      this.#open(key, target);
    }
  }

  #dialable(members: readonly Member[]): ReadonlyMap<string, PeerMember> {
    const { options, roster } = this.#context;
    const dialable = new Map<string, PeerMember>();
    for (const member of members) {
      if (member.nodeId === options.nodeId) continue;
      const peer = roster.endpointOf(member);
      if (peer !== null) dialable.set(keyOf(peer.nodeId, peer.incarnation), peer);
    }
    return dialable;
  }

  #open(key: string, target: Wanted): void {
    const { nodeId } = target.member;
    const onState = (state: PeerState): void => this.#onState(nodeId, state);
    const link = new OutgoingLink(this.#context, target, onState);
    this.#entries.set(key, { link, lingering: null });
    if (this.#isStarted) link.start();
  }

  #linger(key: string, entry: Entry): void {
    if (entry.lingering !== null) return;
    const { options, timing } = this.#context;
    entry.lingering = options.timers.after(timing.lingerMs, () => {
      this.#drop(key, entry);
      this.#settle();
    });
  }

  #drop(key: string, entry: Entry): void {
    entry.lingering?.cancel();
    entry.link.stop();
    this.#entries.delete(key);
  }
}

const keyOf = (id: string, incarnation: string): string => `${id}/${incarnation}`;

const isSameAddress = (left: PeerMember, right: PeerMember): boolean =>
  formatEndpoint(left.address) === formatEndpoint(right.address);
