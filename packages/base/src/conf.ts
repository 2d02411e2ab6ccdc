/**
 * Who belongs to a group: plain data that raft decides over, storage keeps and nodes dial.
 *
 * Every list is sorted by node id and unique; `members` names exactly the ids of the other lists.
 * One node id stands for one incarnation at a time: replacing a wiped node first takes its old
 * incarnation out of the voters and only then lets the new one in.
 */
import { assert } from './assert.ts';
import { HoldfastError } from './errors.ts';
import type { Incarnation, NodeId } from './ids.ts';
import { incarnation, isHexId, isNodeId } from './ids.ts';

/** One member and where it is reached. Raft compares incarnations and never reads addresses. */
export interface Member {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  /** Address for the other nodes, host:port. */
  readonly address: string;
  /** Address for clients, host:port, when it is known. */
  readonly clientAddress: string | null;
}

/** A learner that becomes a voter by itself once it has caught up. */
export interface Promotion {
  readonly nodeId: NodeId;
  /** The voter that leaves in the same step, or null. */
  readonly replaces: NodeId | null;
}

/** One configuration; joint while `votersOutgoing` is not empty (thesis section 4.3). */
export interface ConfState {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** Leave the joint configuration as soon as it is committed. */
  readonly autoLeave: boolean;
  readonly members: readonly Member[];
  /** Learners to be promoted automatically; sorted by node id. */
  readonly promotions: readonly Promotion[];
  /** The group allows lease reads: followers may bind themselves not to vote. */
  readonly isLeaseEnabled: boolean;
}

/** More than any sensible group; keeps a hostile count from allocating. */
export const MEMBER_COUNT_MAX = 64;
/** A DNS name with a port fits. */
export const MEMBER_ADDRESS_LENGTH_MAX = 255;
const CONF_FORMAT_VERSION = 1;
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A configuration of plain voters and learners; `members` may come in any order. */
export function makeConf(members: readonly Member[], learners: readonly NodeId[] = []): ConfState {
  const sorted = [...members].sort(byNodeId);
  const learnerIds = new Set(learners);
  return {
    voters: sorted.map((member) => member.nodeId).filter((id) => !learnerIds.has(id)),
    votersOutgoing: [],
    learners: [...learnerIds].sort(),
    learnersNext: [],
    autoLeave: false,
    members: sorted,
    promotions: [],
    isLeaseEnabled: false,
  };
}

export const memberOf = (conf: ConfState, id: NodeId): Member | null =>
  conf.members.find((member) => member.nodeId === id) ?? null;

/** What is wrong with `conf`, or null. Wire and disk forms are checked with it. */
export function flawOfConf(conf: ConfState): string | null {
  const lists = [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext];
  for (const list of lists) if (!isSorted(list)) return 'a list is not sorted and unique';
  const ids = conf.members.map((member) => member.nodeId);
  if (!isSorted(ids)) return 'members are not sorted and unique';
  if (ids.length > MEMBER_COUNT_MAX) return 'it has too many members';
  const named = new Set(lists.flat());
  if (named.size !== ids.length || ids.some((id) => !named.has(id)))
    return 'members and lists disagree';
  const voting = new Set([...conf.voters, ...conf.votersOutgoing]);
  if (conf.learners.some((id) => voting.has(id))) return 'a learner is a voter';
  const outgoing = new Set(conf.votersOutgoing);
  if (conf.learnersNext.some((id) => !outgoing.has(id) || conf.voters.includes(id)))
    return 'a learner to be is not an outgoing voter';
  if (conf.autoLeave && outgoing.size === 0) return 'it leaves a joint configuration it is not in';
  if (!isSorted(conf.promotions.map((promotion) => promotion.nodeId)))
    return 'promotions are not sorted and unique';
  if (conf.promotions.some(({ nodeId }) => !conf.learners.includes(nodeId)))
    return 'a promotion is not of a learner';
  return null;
}

/** One byte form for log entries, messages and disk records; equal configurations, equal bytes. */
export function encodeConf(conf: ConfState): Uint8Array {
  assert(flawOfConf(conf) === null, 'configuration is inconsistent', { conf });
  const bytes: number[] = [CONF_FORMAT_VERSION];
  const text = (value: string): void => {
    const encoded = ENCODER.encode(value);
    assert(encoded.byteLength <= MEMBER_ADDRESS_LENGTH_MAX, 'text is too long', { value });
    bytes.push(encoded.byteLength, ...encoded);
  };
  bytes.push(conf.members.length);
  for (const member of conf.members) {
    text(member.nodeId);
    text(member.incarnation);
    text(member.address);
    text(member.clientAddress ?? '');
  }
  for (const list of [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext]) {
    bytes.push(list.length);
    for (const id of list) text(id);
  }
  bytes.push(conf.promotions.length);
  for (const promotion of conf.promotions) {
    text(promotion.nodeId);
    text(promotion.replaces ?? '');
  }
  bytes.push((conf.autoLeave ? 1 : 0) | (conf.isLeaseEnabled ? 2 : 0));
  return Uint8Array.from(bytes);
}

/**
 * Reads one configuration at `offset`. Trusts nothing.
 * @throws HoldfastError ENTRY_MALFORMED when the bytes are not a consistent configuration
 */
export function decodeConf(source: Uint8Array, offset = 0): { conf: ConfState; end: number } {
  const reader = new ConfReader(source, offset);
  if (reader.u8() !== CONF_FORMAT_VERSION) throw malformed('has an unknown version');
  const members = reader.list(() => reader.member());
  const ids = (): readonly NodeId[] => reader.list(() => reader.nodeId());
  const conf = {
    members,
    voters: ids(),
    votersOutgoing: ids(),
    learners: ids(),
    learnersNext: ids(),
    promotions: reader.list(() => reader.promotion()),
  };
  const flags = reader.u8();
  if (flags > 3) throw malformed('has unknown flags');
  const decoded: ConfState = {
    ...conf,
    autoLeave: (flags & 1) !== 0,
    isLeaseEnabled: (flags & 2) !== 0,
  };
  const flaw = flawOfConf(decoded);
  if (flaw !== null) throw malformed(`is inconsistent: ${flaw}`);
  return { conf: decoded, end: reader.offset };
}

class ConfReader {
  readonly #source: Uint8Array;
  offset: number;

  constructor(source: Uint8Array, offset: number) {
    this.#source = source;
    this.offset = offset;
  }

  u8(): number {
    const value = this.#source[this.offset];
    if (value === undefined) throw malformed('is cut');
    this.offset += 1;
    return value;
  }

  list<Item>(item: () => Item): readonly Item[] {
    const count = this.u8();
    if (count > MEMBER_COUNT_MAX) throw malformed('has a list that is too long');
    return Array.from({ length: count }, item);
  }

  member(): Member {
    const nodeId = this.nodeId();
    const hex = this.text();
    if (!isHexId(hex)) throw malformed('has a malformed incarnation');
    const address = this.text();
    const clientAddress = this.text();
    return {
      nodeId,
      incarnation: incarnation(hex),
      address,
      clientAddress: clientAddress === '' ? null : clientAddress,
    };
  }

  promotion(): Promotion {
    const nodeId = this.nodeId();
    const replaces = this.text();
    if (replaces === '') return { nodeId, replaces: null };
    if (!isNodeId(replaces)) throw malformed('has a malformed node id');
    return { nodeId, replaces };
  }

  nodeId(): NodeId {
    const value = this.text();
    if (!isNodeId(value)) throw malformed('has a malformed node id');
    return value;
  }

  text(): string {
    const size = this.u8();
    const end = this.offset + size;
    if (end > this.#source.byteLength) throw malformed('is cut');
    const bytes = this.#source.subarray(this.offset, end);
    this.offset = end;
    try {
      return DECODER.decode(bytes);
    } catch (cause) {
      throw new HoldfastError('ENTRY_MALFORMED', 'configuration has text that is not UTF-8', {
        cause,
      });
    }
  }
}

const byNodeId = (left: Member, right: Member): number => (left.nodeId < right.nodeId ? -1 : 1);

const isSorted = (ids: readonly NodeId[]): boolean =>
  ids.every((id, i) => i === 0 || ids[i - 1]! < id);

const malformed = (what: string): HoldfastError =>
  new HoldfastError('ENTRY_MALFORMED', `configuration ${what}`);
