/** One core under test with hand-made peers: the test plays the disk and the rest of the group. */
import type { Entry, HardState, LogIndex, NodeId, Term } from '@holdfast/base';
import { DEFAULT_GROUP_ID, EMPTY_LOG_SUM, must, nodeId, SeededRandom } from '@holdfast/base';
import { RaftCore } from '../src/core.ts';
import type { RaftMessage, RaftMessageBody, RaftMessageKind } from '../src/messages.ts';
import type { RaftOptions } from '../src/options.ts';
import type { ApplyRequest, RaftEvent, ReadState, Ready } from '../src/ready.ts';
import { confOf, incarnationOf, payload } from '../src/testing/core-cluster.ts';
import { InMemoryLog, type InMemoryLogStart } from '../src/testing/memory-log.ts';
import { testHash } from '../src/testing/test-hash.ts';

export type MessageOf<Kind extends RaftMessageKind> = RaftMessage & { readonly kind: Kind };

export const at = (value: number): LogIndex => value as LogIndex;
export const termOf = (value: number): Term => value as Term;

/** A chained log from its terms: the first entry has index 1. */
export function logOf(terms: readonly number[]): Entry[] {
  return extend([], terms);
}

/** `terms` more entries after `base`, chained to it. */
export function extend(base: readonly Entry[], terms: readonly number[], tag = ''): Entry[] {
  let index = base.at(-1)?.index ?? 0;
  let sum = base.at(-1)?.sum ?? EMPTY_LOG_SUM;
  return terms.map((term) => {
    index += 1;
    const data = payload(`${tag}${index}@${term}`);
    sum = testHash(sum, term as Term, index as LogIndex, 'normal', data);
    return { index: index as LogIndex, term: term as Term, type: 'normal', data, sum };
  });
}

export interface BenchOptions {
  readonly id?: string;
  readonly voters?: readonly string[];
  readonly learners?: readonly string[];
  readonly terms?: readonly number[];
  readonly term?: number;
  readonly vote?: string;
  readonly commit?: number;
  readonly applied?: number;
  readonly seed?: number;
  readonly snapshot?: InMemoryLogStart['snapshot'];
  readonly entries?: readonly Entry[];
  readonly raft?: Partial<RaftOptions>;
  readonly isLeaseEnabled?: boolean;
  /** Instead of a log made from the other options. */
  readonly log?: InMemoryLog;
}

/** Options of the core under test: nothing happens by itself but by the paper's plain rules. */
export const benchOptions = (id: NodeId, seed = 1): RaftOptions => ({
  id,
  group: DEFAULT_GROUP_ID,
  incarnation: incarnationOf(id),
  random: new SeededRandom(seed),
  hash: testHash,
  electionTimeoutTicks: 10,
  heartbeatIntervalTicks: 2,
  preVote: false,
  checkQuorum: false,
});

export class Bench {
  readonly id: NodeId;
  readonly core: RaftCore;
  readonly log: InMemoryLog;
  readonly #gated: { seq: number; messages: readonly RaftMessage[] }[] = [];
  nowMs = 0;
  sent: RaftMessage[] = [];
  applied: ApplyRequest[] = [];
  reads: ReadState[] = [];
  events: RaftEvent[] = [];

  constructor(options: BenchOptions = {}) {
    const voters = options.voters ?? ['a', 'b', 'c'];
    const learners = options.learners ?? [];
    const entries = options.entries ?? logOf(options.terms ?? []);
    const hardState: HardState = {
      term: termOf(options.term ?? entries.at(-1)?.term ?? 0),
      vote: options.vote === undefined ? null : nodeId(options.vote),
      commit: at(options.commit ?? 0),
    };
    this.id = nodeId(options.id ?? 'a');
    const made = {
      conf: { ...confOf(voters, learners), isLeaseEnabled: options.isLeaseEnabled ?? false },
      entries,
      hardState,
      ...(options.snapshot === undefined ? {} : { snapshot: options.snapshot }),
      ...(options.applied === undefined ? {} : { applied: at(options.applied) }),
    };
    this.log = options.log ?? new InMemoryLog(made);
    const raft = { ...benchOptions(this.id, options.seed), ...options.raft };
    this.core = new RaftCore(raft, this.log);
  }

  get status() {
    return this.core.status();
  }

  /** Takes every Ready: writes appends, lets `send` out, keeps what is gated. Syncs nothing. */
  take(): Ready[] {
    const readies: Ready[] = [];
    while (this.core.hasReady()) {
      const ready = this.core.ready();
      readies.push(ready);
      if (ready.append !== null) this.log.write(ready.append);
      this.sent.push(...ready.send);
      this.#gated.push(...ready.sendAfter);
      if (ready.apply !== null) this.applied.push(ready.apply);
      this.reads.push(...ready.reads);
      this.events.push(...ready.events);
    }
    return readies;
  }

  /** Syncs everything written, or up to `seq`, and lets out what waited for it. */
  sync(seq = this.log.unsyncedSeqs().at(-1)): void {
    if (seq === undefined) return;
    this.log.sync(seq);
    this.core.appended(seq);
    while (this.#gated.length > 0 && this.#gated[0]!.seq <= seq)
      this.sent.push(...this.#gated.shift()!.messages);
  }

  /** Takes and syncs until quiet; returns and forgets what was sent. */
  flush(): RaftMessage[] {
    for (this.take(); !this.log.isSynced; this.take()) this.sync();
    this.core.checkInvariants();
    const sent = this.sent;
    this.sent = [];
    return sent;
  }

  /** `flush`, only messages of `kind`. */
  flushOf<Kind extends RaftMessageKind>(kind: Kind): MessageOf<Kind>[] {
    return this.flush().filter((message): message is MessageOf<Kind> => message.kind === kind);
  }

  message(from: string, term: number, body: RaftMessageBody): RaftMessage {
    const sender = nodeId(from);
    return {
      ...body,
      group: DEFAULT_GROUP_ID,
      from: sender,
      to: this.id,
      fromIncarnation: incarnationOf(sender),
      toIncarnation: incarnationOf(this.id),
      term: termOf(term),
      confIndex: at(0),
    };
  }

  step(from: string, term: number, body: RaftMessageBody): void {
    this.core.step(this.message(from, term, body));
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.nowMs += 20;
      this.core.tick(this.nowMs);
    }
  }

  /** An append as a leader holding `log` would send it: the entries after `prevIndex`. */
  append(
    from: string,
    term: number,
    log: readonly Entry[],
    { prevIndex, commit = 0, until = log.length }: AppendShape,
  ): void {
    this.step(from, term, {
      kind: 'append',
      prevIndex: at(prevIndex),
      prevTerm: log[prevIndex - 1]?.term ?? termOf(0),
      prevSum: log[prevIndex - 1]?.sum ?? EMPTY_LOG_SUM,
      entries: log.slice(prevIndex, until),
      commit: at(commit),
    });
  }

  ack(from: string, matchIndex: number, term: number = this.status.term): void {
    this.step(from, term, { kind: 'appendResponse', matchIndex: at(matchIndex), rejection: null });
  }

  /** Campaigns and is elected by every other voter. Returns what it sent as leader. */
  lead(): RaftMessage[] {
    this.core.campaign();
    let sent = this.flush();
    while (this.status.role !== 'leader') {
      if (!sent.some(isVoteRequest)) throw new Error('the campaign asked nobody');
      for (const request of sent) if (isVoteRequest(request)) this.grant(request);
      sent = this.flush();
    }
    return sent;
  }

  /** The receiver of `request` grants it, or refuses it. */
  grant(request: MessageOf<'vote' | 'preVote'>, isGranted = true): void {
    this.step(request.to, request.kind === 'vote' ? request.term : request.term - 1, {
      kind: request.kind === 'vote' ? 'voteResponse' : 'preVoteResponse',
      isGranted,
      nonce: request.nonce,
      refusal: isGranted ? null : 'log-behind',
    });
  }

  /** Asks for the vote of the core under test. */
  askVote(
    from: string,
    term: number,
    last: { readonly index: number; readonly term: number },
    options: { readonly kind?: 'vote' | 'preVote'; readonly isTransfer?: boolean } = {},
  ): MessageOf<'voteResponse' | 'preVoteResponse'> {
    this.step(from, term, {
      kind: options.kind ?? 'vote',
      lastIndex: at(last.index),
      lastTerm: termOf(last.term),
      nonce: 7,
      isTransfer: options.isTransfer ?? false,
    });
    return must(this.flush().find(isVoteAnswer), 'no answer to a vote request');
  }
}

export const isVoteRequest = (message: RaftMessage): message is MessageOf<'vote' | 'preVote'> =>
  message.kind === 'vote' || message.kind === 'preVote';

const isVoteAnswer = (
  message: RaftMessage,
): message is MessageOf<'voteResponse' | 'preVoteResponse'> =>
  message.kind === 'voteResponse' || message.kind === 'preVoteResponse';

export interface AppendShape {
  readonly prevIndex: number;
  readonly commit?: number;
  /** Last index sent; by default the whole log. */
  readonly until?: number;
}
