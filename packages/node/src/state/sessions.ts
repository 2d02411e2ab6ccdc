/**
 * The replicated session table: what makes a retried write happen once (Raft thesis, section 6.3).
 * A session is opened by a log entry and named by its index. The table keeps the result of every
 * sequence above the client's `ackedThrough`, at most SESSION_WINDOW_MAX, gaps allowed.
 *
 * Invariants: a sequence executes at most once; a request of an unknown session never executes;
 * everything here is a function of the log. Time is log time.
 */
import type { LogIndex, SessionId } from '@holdfast/base';
import { assert, must, sessionId } from '@holdfast/base';
import type { ResultSlot } from './apply-result.ts';
import type { SessionStamp } from './command.ts';
import type { ResultRow, SessionRow } from './meta-rows.ts';

/** Results kept per session. A client with more unacknowledged writes is refused definitely. */
export const SESSION_WINDOW_MAX = 1_024;
/** Sessions of a cluster: bounds the table to a few hundred MB in the worst case. */
export const SESSION_COUNT_MAX = 10_000;

interface SessionRecord {
  readonly id: SessionId;
  lastActiveMs: number;
  ackedThrough: number;
  readonly results: Map<number, { readonly bodyHash: bigint; readonly slot: ResultSlot }>;
}

export type SessionAdmission =
  /** First time: execute, and fill the slot. */
  | { readonly kind: 'execute'; readonly slot: ResultSlot }
  /** Seen before: answer with what the first one got. */
  | { readonly kind: 'repeat'; readonly slot: ResultSlot }
  | {
      readonly kind: 'refuse';
      readonly code: 'SESSION_EXPIRED' | 'SESSION_WINDOW_FULL' | 'SEQUENCE_REUSED';
    };

export class SessionTable {
  readonly #sessions = new Map<SessionId, SessionRecord>();

  get count(): number {
    return this.#sessions.size;
  }

  /** Returns false at the limit. */
  open(index: LogIndex, timestampMs: number): boolean {
    if (this.#sessions.size >= SESSION_COUNT_MAX) return false;
    const id = sessionId(index);
    assert(!this.#sessions.has(id), 'a log index opens one session', { index });
    this.#sessions.set(id, { id, lastActiveMs: timestampMs, ackedThrough: 0, results: new Map() });
    return true;
  }

  close(id: SessionId): boolean {
    return this.#sessions.delete(id);
  }

  /** True when the result of this sequence is kept: a repeat gets it and executes nothing. */
  knows(id: number, sequence: number): boolean {
    return this.#sessions.get(id as SessionId)?.results.has(sequence) === true;
  }

  /** Decides, in log order, whether a stamped command executes. */
  admit(stamp: SessionStamp, bodyHash: bigint, timestampMs: number): SessionAdmission {
    const session = this.#sessions.get(stamp.id);
    if (session === undefined) return { kind: 'refuse', code: 'SESSION_EXPIRED' };
    session.lastActiveMs = Math.max(session.lastActiveMs, timestampMs);
    this.#forgetAcked(session, stamp.ackedThrough);
    const known = session.results.get(stamp.sequence);
    if (known !== undefined) {
      if (known.bodyHash !== bodyHash) return { kind: 'refuse', code: 'SEQUENCE_REUSED' };
      return { kind: 'repeat', slot: known.slot };
    }
    if (stamp.sequence <= session.ackedThrough) return { kind: 'refuse', code: 'SEQUENCE_REUSED' };
    if (session.results.size >= SESSION_WINDOW_MAX) {
      return { kind: 'refuse', code: 'SESSION_WINDOW_FULL' };
    }
    const slot: ResultSlot = { result: null };
    session.results.set(stamp.sequence, { bodyHash, slot });
    return { kind: 'execute', slot };
  }

  /** Sessions idle since `cutoffMs` of log time, oldest ids first, at most `countMax`. */
  idleSince(cutoffMs: number, countMax: number): readonly SessionId[] {
    const ids: SessionId[] = [];
    for (const session of this.#sessions.values()) {
      if (ids.length >= countMax) break;
      if (session.lastActiveMs <= cutoffMs) ids.push(session.id);
    }
    return ids;
  }

  /** Expires those of `ids` that are still idle since `cutoffMs`. */
  expire(ids: readonly SessionId[], cutoffMs: number): number {
    let count = 0;
    for (const id of ids) {
      const session = this.#sessions.get(id);
      if (session === undefined || session.lastActiveMs > cutoffMs) continue;
      this.#sessions.delete(id);
      count += 1;
    }
    return count;
  }

  /** In order of opening. */
  all(): Iterable<SessionRow & { readonly id: SessionId }> {
    return this.#sessions.values();
  }

  /** In order of admission. Only between batches: every slot must be filled. */
  *resultsOf(id: SessionId): Generator<ResultRow, void, undefined> {
    const { results } = must(this.#sessions.get(id), 'a session that is listed is known');
    for (const [sequence, { bodyHash, slot }] of results) {
      assert(slot.result !== null, 'a snapshot needs every result', { sequence });
      yield { sequence, bodyHash, result: slot.result };
    }
  }

  /** From a checkpoint: sessions in the order of `all`, each before its results. */
  restore({ id, lastActiveMs, ackedThrough }: SessionRow): void {
    const known = sessionId(id);
    assert(!this.#sessions.has(known), 'a session is restored once', { id });
    this.#sessions.set(known, { id: known, lastActiveMs, ackedThrough, results: new Map() });
  }

  restoreResult(id: SessionId, { sequence, bodyHash, result }: ResultRow): void {
    const { results } = must(this.#sessions.get(id), 'a result has a session');
    results.set(sequence, { bodyHash, slot: { result } });
  }

  #forgetAcked(session: SessionRecord, ackedThrough: number): void {
    if (ackedThrough <= session.ackedThrough) return;
    session.ackedThrough = ackedThrough;
    for (const sequence of session.results.keys()) {
      if (sequence <= ackedThrough) session.results.delete(sequence);
    }
  }
}
