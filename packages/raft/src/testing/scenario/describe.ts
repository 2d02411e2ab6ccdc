/**
 * One line of text for everything a trace shows. A position in the log is `index/term`; an entry is
 * its position and what it holds: `3/2 "x"`. Chain sums are left out, their equality is checked.
 * Numbers from chance (nonces, ids of forwarded reads) are renumbered in order of appearance.
 */
import type { ConfState, Entry, HardState, NodeId, SnapshotMeta } from '@holdfast/base';
import { decodeConf, unreachable } from '@holdfast/base';
import type { RaftMessage } from '../../messages.ts';
import type { AppendRequest, RaftEvent, ReadState } from '../../ready.ts';
import type { RaftStatus } from '../../status.ts';

const DECODER = new TextDecoder();
/** Longer payloads are cut in the trace. */
const TEXT_LENGTH_MAX = 24;

/** Gives numbers from chance small names, in order of appearance. */
export class Names {
  readonly #names = new Map<number, string>();
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  of(value: number): string {
    const known = this.#names.get(value);
    if (known !== undefined) return known;
    const name = `${this.#prefix}${this.#names.size + 1}`;
    this.#names.set(value, name);
    return name;
  }
}

export interface Namers {
  readonly campaigns: Names;
  readonly reads: Names;
}

const position = (index: number, term: number): string => `${index}/${term}`;

export function describeEntry(entry: Entry): string {
  const at = position(entry.index, entry.term);
  switch (entry.type) {
    case 'noop':
      return `${at} noop`;
    case 'conf':
      return `${at} conf(${describeConf(decodeConf(entry.data).conf)})`;
    case 'normal':
      return `${at} "${describeText(entry.data)}"`;
    default:
      return unreachable(entry.type);
  }
}

function describeText(data: Uint8Array): string {
  const text = DECODER.decode(data);
  if (text.length <= TEXT_LENGTH_MAX) return text;
  return `${text.slice(0, TEXT_LENGTH_MAX / 2)}...${data.byteLength} bytes`;
}

export const describeEntries = (entries: readonly Entry[]): string =>
  `[${entries.map(describeEntry).join(', ')}]`;

export function describeConf(conf: ConfState): string {
  const parts = [`voters=${conf.voters.join(',')}`];
  if (conf.votersOutgoing.length > 0) parts.push(`outgoing=${conf.votersOutgoing.join(',')}`);
  if (conf.learners.length > 0) parts.push(`learners=${conf.learners.join(',')}`);
  if (conf.learnersNext.length > 0) parts.push(`learnersNext=${conf.learnersNext.join(',')}`);
  for (const { nodeId, replaces } of conf.promotions)
    parts.push(replaces === null ? `promote=${nodeId}` : `promote=${nodeId}>${replaces}`);
  if (conf.autoLeave) parts.push('auto');
  if (conf.isLeaseEnabled) parts.push('leases');
  return parts.join(' ');
}

const describeSnapshot = (meta: SnapshotMeta): string =>
  `${position(meta.index, meta.term)} ${describeConf(meta.conf)}`;

const describeHardState = (state: HardState): string =>
  `t${state.term} vote=${state.vote ?? '-'} commit=${state.commit}`;

export function describeAppend(append: AppendRequest): string {
  const parts = [`#${append.seq}`];
  if (append.hardState !== null) parts.push(describeHardState(append.hardState));
  if (append.snapshot !== null) parts.push(`snapshot ${describeSnapshot(append.snapshot)}`);
  if (append.truncateFrom !== null) parts.push(`cut=${append.truncateFrom}`);
  if (append.entries.length > 0) parts.push(describeEntries(append.entries));
  if (!append.mustSync) parts.push('lazy');
  return parts.join(' ');
}

/** Kind, term and every field that says something. */
export function describeMessage(message: RaftMessage, namers: Namers): string {
  const conf = message.confIndex === 0 ? '' : ` conf=${message.confIndex}`;
  const body = describeBody(message, namers);
  return `${message.kind} t${message.term}${body === '' ? '' : ` ${body}`}${conf}`;
}

function describeBody(message: RaftMessage, namers: Namers): string {
  switch (message.kind) {
    case 'preVote':
    case 'vote':
      return `last=${position(message.lastIndex, message.lastTerm)} ${namers.campaigns.of(
        message.nonce,
      )}${message.isTransfer ? ' transfer' : ''}`;
    case 'preVoteResponse':
    case 'voteResponse': {
      const answer = message.isGranted ? 'granted' : `refused(${message.refusal})`;
      return `${answer} ${namers.campaigns.of(message.nonce)}`;
    }
    case 'append':
      return `prev=${position(message.prevIndex, message.prevTerm)} ${describeEntries(
        message.entries,
      )} commit=${message.commit}`;
    case 'appendResponse':
      return describeAnswer(message);
    case 'heartbeat':
      return `commit=${message.commit}${message.round > 0 ? ` round=${message.round}` : ''}${
        message.isLeaseWanted ? ` lease beat=${message.beat}` : ''
      }`;
    case 'heartbeatResponse':
      return `${message.round > 0 ? `round=${message.round} ` : ''}${
        message.isLeaseGranted ? `lease beat=${message.beat}` : ''
      }`.trimEnd();
    case 'snapshot':
      return describeSnapshot(message.meta);
    case 'timeoutNow':
      return `last=${position(message.lastIndex, message.lastTerm)}`;
    case 'readIndex':
      return namers.reads.of(message.requestId);
    case 'readIndexResponse':
      return `${namers.reads.of(message.requestId)} ${message.index ?? 'refused'}`;
    case 'entryRequest':
      return `${message.low}..${message.high - 1}`;
    case 'entryResponse':
      return `${describeEntries(message.entries)} of ${message.firstIndex}..${message.lastIndex}`;
    default:
      return unreachable(message);
  }
}

function describeAnswer(message: RaftMessage & { readonly kind: 'appendResponse' }): string {
  const { rejection } = message;
  if (rejection === null) return `match=${message.matchIndex}`;
  const { hintIndex, hintTerm, rejectedIndex } = rejection;
  return `rejected=${rejectedIndex} hint=${position(hintIndex, hintTerm)}`;
}

/** null for events that only repeat what a message or another event of the trace says. */
export function describeEvent(event: RaftEvent): string | null {
  switch (event.kind) {
    case 'campaignStarted':
    case 'voteGranted':
      return null;
    case 'roleChanged':
      if (event.role !== 'follower') return `is ${event.role} t${event.term}`;
      return event.leader === null
        ? `is follower t${event.term}`
        : `follows ${event.leader} t${event.term}`;
    case 'steppedDown':
      return `steps down t${event.term}: ${event.reason}`;
    case 'logTruncated':
      return `drops ${event.from}..${event.last}`;
    case 'messageRefused':
      return `refuses a message of ${event.from}: ${event.reason}`;
    default:
      return describeAny(event);
  }
}

/** Events need no line of their own here to be seen in a trace. */
function describeAny(event: RaftEvent): string {
  const fields = Object.entries(event)
    .filter(([key]) => key !== 'kind')
    .map(([key, value]) => `${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return [`event ${event.kind}`, ...fields].join(' ');
}

export const describeRead = (read: ReadState): string =>
  `read ${read.requestId} ${
    read.outcome.kind === 'ready' ? `ready at ${read.outcome.index}` : 'aborted'
  }`;

/** One line for the replica, one more per peer on a leader. */
export function describeStatus(status: RaftStatus, lastTerm: number | string): readonly string[] {
  const { applied, commit, durable, firstIndex, id, lastIndex, leader, role, term, vote } = status;
  const log = firstIndex > lastIndex ? `empty after ${lastIndex}` : `${firstIndex}..${lastIndex}`;
  const lines = [
    `${id} ${role} t${term} vote=${vote ?? '-'} leader=${leader ?? '-'} log=${log} ` +
      `last=${lastIndex}/${lastTerm} commit=${commit} applied=${applied} durable=${durable}`,
  ];
  for (const peer of status.peers) lines.push(`  ${describePeer(peer)}`);
  return lines;
}

function describePeer(peer: RaftStatus['peers'][number]): string {
  const parts = [`${peer.id} ${peer.state} match=${peer.matchIndex} next=${peer.nextIndex}`];
  if (peer.inflightCount > 0) parts.push(`inflight=${peer.inflightCount}`);
  if (!peer.isRecentlyActive) parts.push('silent');
  return parts.join(' ');
}

export const describeLink = (from: NodeId, to: NodeId): string => `${from} -> ${to}`;
