/**
 * Entries of the running log whose place on the disk has rot: from memory where they are still
 * there, else from peers. What comes from a peer is believed only when it is, by term and chain
 * sum, the entry that this log knows under its index (the log checks that again).
 */
import type { Entry, GroupId, LogIndex, Member, NodeId, TimerHandle, Timers } from '@holdfast/base';
import { entrySizeBytes, HoldfastError, logIndex, sumsEqual, term } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import type { GroupLog, NodeIdentity, Wal } from '@holdfast/storage';

const ANSWER_TIMEOUT_MS = 2_000;
/** Who answers stops earlier when they are large. */
const REQUEST_ENTRY_COUNT_MAX = 1_024;
/** Beyond the ids that the repair of a log at start uses: its answers are never taken for these. */
const FIRST_REQUEST_ID = 0x4000_0000;

export interface EntryFetcherOptions {
  readonly identity: Pick<NodeIdentity, 'nodeId' | 'incarnation'>;
  readonly wal: Pick<Wal, 'groupLog'>;
  readonly send: (messages: readonly RaftMessage[]) => void;
  readonly confIndex: () => LogIndex;
  readonly timers: Timers;
}

export interface FetchedEntries {
  readonly entries: readonly Entry[];
  readonly sources: readonly NodeId[];
  readonly bytesMoved: number;
}

type EntryResponse = Extract<RaftMessage, { readonly kind: 'entryResponse' }>;

interface EntryRange {
  readonly low: LogIndex;
  /** Exclusive. */
  readonly high: LogIndex;
}

interface Pending {
  readonly peer: Member;
  readonly timer: TimerHandle;
  settle(answer: EntryResponse | null): void;
}

export class EntryFetcher {
  readonly #options: EntryFetcherOptions;
  readonly #pending = new Map<number, Pending>();
  #lastRequestId = FIRST_REQUEST_ID;

  constructor(options: EntryFetcherOptions) {
    this.#options = options;
  }

  /** True when the answer was for this. */
  receive(message: RaftMessage): boolean {
    if (message.kind !== 'entryResponse') return false;
    const pending = this.#pending.get(message.requestId);
    if (pending === undefined) return false;
    const { incarnation, nodeId } = this.#options.identity;
    const isExpected =
      message.from === pending.peer.nodeId &&
      message.fromIncarnation === pending.peer.incarnation &&
      message.to === nodeId &&
      message.toIncarnation === incarnation;
    if (isExpected) pending.settle(message);
    return true;
  }

  /** @throws HoldfastError REPAIR_POSTPONED naming the first entry that nobody gives now */
  async fetch(
    group: GroupId,
    indexes: readonly LogIndex[],
    peers: readonly Member[],
  ): Promise<FetchedEntries> {
    const log = this.#options.wal.groupLog(group);
    const found = new Map<LogIndex, Entry>();
    const sources = new Set<NodeId>();
    let bytesMoved = 0;
    for (const [i, index] of indexes.entries()) {
      if (found.has(index)) continue;
      const own = readOwn(log, index);
      if (own !== null) {
        found.set(index, own);
        continue;
      }
      const given = await this.#askForRun(log, index, endOfRun(indexes, i), peers);
      // Compacted while it was asked for: nobody needs it here any more.
      if (given === null && index < log.firstIndex()) continue;
      if (given === null) throw notNow(group, index);
      for (const entry of given.entries) {
        found.set(entry.index, entry);
        bytesMoved += entrySizeBytes(entry);
      }
      sources.add(given.from);
    }
    const live = [...found.values()].filter(({ index }) => index >= log.firstIndex());
    return { entries: live, sources: [...sources], bytesMoved };
  }

  /** Entries from `low` on, at least that one, as far as somebody has them. */
  async #askForRun(log: GroupLog, low: LogIndex, high: LogIndex, peers: readonly Member[]) {
    const given = await this.#ask(log, { low, high }, peers);
    if (given !== null || high === low + 1) return given;
    // Who has rot further on gives nothing of the run.
    return this.#ask(log, { low, high: logIndex(low + 1) }, peers);
  }

  async #ask(log: GroupLog, range: EntryRange, peers: readonly Member[]) {
    const { high, low } = range;
    for (const peer of peers) {
      const answer = await this.#askOne(log, range, peer);
      const entries: Entry[] = [];
      for (const entry of answer?.entries ?? []) {
        const sum = entry.index < high ? log.sum(entry.index) : null;
        const isNext = entry.index === low + entries.length;
        if (!isNext || !(sum instanceof Uint8Array) || !sumsEqual(entry.sum, sum)) break;
        entries.push(entry);
      }
      if (entries.length > 0) return { entries, from: peer.nodeId };
    }
    return null;
  }

  #askOne(log: GroupLog, { high, low }: EntryRange, peer: Member): Promise<EntryResponse | null> {
    const { confIndex, identity, send, timers } = this.#options;
    this.#lastRequestId += 1;
    const requestId = this.#lastRequestId;
    return new Promise((resolve) => {
      const settle = (answer: EntryResponse | null): void => {
        this.#pending.delete(requestId);
        timer.cancel();
        resolve(answer);
      };
      const timer = timers.after(ANSWER_TIMEOUT_MS, () => settle(null));
      this.#pending.set(requestId, { peer, timer, settle });
      send([
        {
          ...{ kind: 'entryRequest', requestId, low, high },
          ...{ group: log.group, from: identity.nodeId, to: peer.nodeId },
          fromIncarnation: identity.incarnation,
          toIncarnation: peer.incarnation,
          term: log.hardState()?.term ?? term(0),
          confIndex: confIndex(),
        },
      ]);
    });
  }
}

/** Behind the last index of the run that begins at `indexes[first]`, at most so many further. */
function endOfRun(indexes: readonly LogIndex[], first: number): LogIndex {
  let last = first;
  while (
    last - first < REQUEST_ENTRY_COUNT_MAX - 1 &&
    indexes[last + 1] === (indexes[last] ?? 0) + 1
  ) {
    last += 1;
  }
  return logIndex((indexes[last] ?? 0) + 1);
}

/** Null when its bytes on the disk are bad and no copy is in memory. */
function readOwn(log: GroupLog, index: LogIndex): Entry | null {
  try {
    const entries = log.entries(index, logIndex(index + 1), 1);
    return entries === 'compacted' ? null : (entries[0] ?? null);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'WAL_CORRUPT') throw error;
    return null;
  }
}

function notNow(group: GroupId, index: LogIndex): HoldfastError {
  const message = `group ${group}: entry ${index} has rot here, and no member gives it now`;
  return new HoldfastError('REPAIR_POSTPONED', message, { details: { group, index } });
}
