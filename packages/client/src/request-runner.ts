/**
 * Runs one logical request to its end: picks a node, sends, and asks the retry policy what to do
 * about a failure. Every loop here is bounded by the deadline of the call (each wait is
 * interruptible) and by `ATTEMPT_COUNT_MAX`.
 */
import type { Clock, Random, Timers } from '@holdfast/base';
import { assert, HoldfastError, toHoldfastError, unreachable } from '@holdfast/base';
import type { RequestKind, ResultOf, SessionStamp } from '@holdfast/protocol';
import { decodeResult, REQUEST_TIMEOUT_MS_DEFAULT } from '@holdfast/protocol';
import type { CallOptions } from './call.ts';
import { Call } from './call.ts';
import type { Connection, Sendable } from './connection.ts';
import type { Gate } from './gate.ts';
import type { NodePool } from './node-pool.ts';
import type { AttemptHistory, RequestTraits } from './retry-policy.ts';
import {
  ATTEMPT_COUNT_MAX,
  decide,
  NO_ATTEMPTS,
  NO_LEADER_DELAY_MS,
  recordAttempt,
  reportedError,
  SCOUT_INTERVAL_MS,
} from './retry-policy.ts';
import type { ClientSession } from './session.ts';
import { SessionHolder } from './session-holder.ts';

export interface RunnerParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly pool: NodePool;
  readonly gate: Gate;
  /** False: writes carry no session and are not repeated after an indefinite error. */
  readonly usesSession: boolean;
}

/** Where a request may be answered. */
export type Target =
  /** The leader; any node while none is known. */
  | { readonly kind: 'leader' }
  /** Whichever node: stale reads. */
  | { readonly kind: 'any' }
  /** This node and no other. */
  | { readonly kind: 'node'; readonly connection: Connection };

export interface RequestPlan<Kind extends RequestKind> {
  readonly kind: Kind;
  readonly target: Target;
  readonly isWrite: boolean;
  /** The message for one attempt; the same content for the same stamp. */
  readonly message: (stamp: SessionStamp | null, timeoutMs: number) => Sendable;
}

interface Stamped {
  readonly session: ClientSession;
  readonly stamp: SessionStamp;
}

export class RequestRunner {
  readonly #parts: RunnerParts;
  readonly #running = new Set<Call>();
  readonly #sessions: SessionHolder;
  #isClosed = false;
  /** When a node was last asked because no leader was known. */
  #scoutedAtMs = -Infinity;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#sessions = new SessionHolder(() => this.#openSession());
  }

  get session(): ClientSession | null {
    return this.#sessions.current;
  }

  /** @throws HoldfastError whose `definite` is about the whole request, all attempts */
  async run<Kind extends RequestKind>(
    plan: RequestPlan<Kind>,
    options: CallOptions,
  ): Promise<ResultOf<Kind>> {
    if (this.#isClosed) throw closedError();
    const call = new Call(this.#parts.clock, this.#parts.timers, options);
    this.#running.add(call);
    try {
      await this.#parts.gate.enter(call);
      try {
        return await this.#runAdmitted(plan, call);
      } finally {
        this.#parts.gate.leave();
      }
    } finally {
      call.end();
      this.#running.delete(call);
    }
  }

  /** Interrupts everything under way. */
  close(): void {
    this.#isClosed = true;
    for (const call of [...this.#running]) call.interrupt(closedError());
  }

  /** Runs until an answer; a write takes a new stamp only when nothing of it was executed. */
  async #runAdmitted<Kind extends RequestKind>(
    plan: RequestPlan<Kind>,
    call: Call,
  ): Promise<ResultOf<Kind>> {
    if (!plan.isWrite || !this.#parts.usesSession) return this.#attemptUntilDone(plan, null, call);
    let history = NO_ATTEMPTS;
    for (;;) {
      assert(history.attemptCount <= ATTEMPT_COUNT_MAX, 'retry policy lost its bound');
      const session = await this.#acquireSession(call, history);
      const stamped: Stamped = { session, stamp: session.begin() };
      try {
        return await this.#attemptUntilDone(plan, stamped, call, history);
      } catch (thrown) {
        if (!(thrown instanceof SessionRenewal)) throw thrown;
        history = thrown.history;
        this.#sessions.drop(session);
      } finally {
        this.#sessions.finish(session, stamped.stamp.sequence);
      }
    }
  }

  /** While it waits for a session, nothing of the request was sent: its end is definite. */
  async #acquireSession(call: Call, history: AttemptHistory): Promise<ClientSession> {
    try {
      return await this.#sessions.acquire(call);
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      if (!call.isInterrupted) throw error;
      const traits = { isRead: false, hasSession: true, isSafeToRepeat: true };
      throw this.#interrupted(error, false, traits, history, null);
    }
  }

  async #attemptUntilDone<Kind extends RequestKind>(
    plan: RequestPlan<Kind>,
    stamped: Stamped | null,
    call: Call,
    historyBefore: AttemptHistory = NO_ATTEMPTS,
  ): Promise<ResultOf<Kind>> {
    const traits: RequestTraits = {
      isRead: !plan.isWrite,
      hasSession: stamped !== null,
      isSafeToRepeat: !plan.isWrite || stamped !== null,
    };
    let history = historyBefore;
    let lastError: HoldfastError | null = null;
    let avoid: Connection | null = null;
    let { target } = plan;
    // Bounded: decide() refuses beyond ATTEMPT_COUNT_MAX, and the deadline interrupts every wait.
    for (;;) {
      let isSent = false;
      let connection: Connection | null = null;
      try {
        connection = await this.#reach(target, avoid, call);
        isSent = true;
        return await this.#attempt(plan, stamped, connection, call);
      } catch (thrown) {
        const error = toHoldfastError(thrown);
        if (call.isInterrupted) throw this.#interrupted(error, isSent, traits, history, lastError);
        if (connection !== null) this.#learnFrom(error, connection);
        const decision = decide(error, traits, history, this.#parts.random.nextFloat());
        const historyBeforeError = history;
        history = recordAttempt(history, error);
        lastError = error;
        avoid = connection;
        target = mayAnswerElsewhere(error, traits, plan.target) ? ANY_NODE : plan.target;
        switch (decision.kind) {
          case 'fail':
            throw reportedError(error, traits, historyBeforeError);
          case 'renewSession':
            throw new SessionRenewal(history);
          case 'retry':
            await this.#pauseAfter(error, decision.delayMs, call).catch((interruption: unknown) => {
              const cause = toHoldfastError(interruption);
              throw this.#interrupted(cause, false, traits, history, lastError);
            });
            break;
          default:
            unreachable(decision);
        }
      }
    }
  }

  /** Waits until there is a node to ask. */
  async #reach(target: Target, avoid: Connection | null, call: Call): Promise<Connection> {
    const { pool } = this.#parts;
    const wake = (callback: () => void): (() => void) => pool.subscribe(callback);
    let isFirst = true;
    // Bounded by the deadline: `pause` rejects when the call is interrupted.
    for (;;) {
      const found = this.#pick(target, avoid, isFirst);
      if (found !== null) return found;
      if (target.kind === 'node') this.#refuseUnreachable(target.connection);
      await call.pause(NO_LEADER_DELAY_MS * (0.5 + this.#parts.random.nextFloat()), wake);
      isFirst = false;
    }
  }

  /** A named node has no stand-in: once a dial failed, the reason is worth more than waiting. */
  #refuseUnreachable({ address }: Connection): void {
    const cause = this.#parts.pool.failures.get(address);
    if (cause === undefined) return;
    const message = `node ${address} cannot be reached: ${cause.message}`;
    throw new HoldfastError('NO_NODE_REACHABLE', message, { cause });
  }

  /**
   * A known leader that is not connected gets one pause before a follower is asked instead: it may
   * answer the dial, and a follower would only name it again.
   */
  #pick(target: Target, avoid: Connection | null, isFirst: boolean): Connection | null {
    const { pool } = this.#parts;
    switch (target.kind) {
      case 'node':
        return target.connection.isReady ? target.connection : null;
      case 'any':
        return pool.pickAny(avoid);
      case 'leader':
        if (pool.leader !== null && isFirst) return pool.pickLeader();
        return pool.pickLeader() ?? this.#scout(avoid);
      default:
        return unreachable(target);
    }
  }

  /**
   * Whom to ask while no leader is known: one request at a time looks, for all that wait. Nodes
   * that are electing, or starting, are not helped by everybody asking them.
   */
  #scout(avoid: Connection | null): Connection | null {
    const { clock, pool } = this.#parts;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#scoutedAtMs < SCOUT_INTERVAL_MS) return null;
    const found = pool.pickAny(avoid);
    if (found !== null) this.#scoutedAtMs = nowMs;
    return found;
  }

  async #attempt<Kind extends RequestKind>(
    plan: RequestPlan<Kind>,
    stamped: Stamped | null,
    connection: Connection,
    call: Call,
  ): Promise<ResultOf<Kind>> {
    const timeoutMs = Math.max(1, Math.ceil(call.remainingMs));
    const message = plan.message(stamped?.stamp ?? null, timeoutMs);
    const result = await call.wait<unknown>(({ resolve, reject }) => {
      const id = connection.send(message, { onResult: resolve, onError: reject });
      return () => connection.abandon(id);
    });
    return decodeResult(plan.kind, result);
  }

  /** No leader: wake as soon as one is known. Otherwise the delay is there to relieve somebody. */
  async #pauseAfter(error: HoldfastError, delayMs: number, call: Call): Promise<void> {
    if (delayMs <= 0) return;
    const { pool } = this.#parts;
    const isWaitingForLeader = error.code === 'NO_LEADER' || error.code === 'NOT_LEADER';
    if (!isWaitingForLeader) return call.pause(delayMs);
    await call.pause(delayMs, (wake) =>
      pool.subscribe(() => {
        if (pool.pickLeader() !== null) wake();
      }),
    );
  }

  #learnFrom(error: HoldfastError, connection: Connection): void {
    const { pool } = this.#parts;
    if (error.code === 'NOT_LEADER') pool.redirect(connection, error.details);
    if (error.code === 'NO_LEADER' || error.code === 'SHUTTING_DOWN') pool.suspect(connection);
  }

  /**
   * The deadline, an abort or close() ended the request. If no attempt can have had an effect, the
   * last refusal says more than the deadline does, and is definite.
   */
  #interrupted(
    interruption: HoldfastError,
    isSent: boolean,
    traits: RequestTraits,
    history: AttemptHistory,
    lastError: HoldfastError | null,
  ): HoldfastError {
    const mayHaveHappened = !traits.isRead && (isSent || history.sawIndefinite);
    const cause = lastError ?? this.#newestFailure();
    if (mayHaveHappened) {
      const options = { definite: false as const, ...(cause === null ? {} : { cause }) };
      return new HoldfastError(interruption.code, interruption.message, options);
    }
    if (interruption.code !== 'REQUEST_TIMEOUT' || isSent) return interruption;
    if (lastError?.definite === true) return lastError;
    if (!this.#parts.pool.hasReady) return unreachableError(this.#parts.pool, cause);
    return new HoldfastError(
      'NO_LEADER',
      `no node could take the request: ${interruption.message}`,
      {
        cause: cause ?? interruption,
      },
    );
  }

  #newestFailure(): HoldfastError | null {
    return [...this.#parts.pool.failures.values()].at(-1) ?? null;
  }

  /** Opening twice is harmless (an unused session expires), so it is repeated like a read. */
  async #openSession(): Promise<number> {
    const plan: RequestPlan<'openSession'> = {
      kind: 'openSession',
      target: { kind: 'leader' },
      isWrite: false,
      message: (_stamp, timeoutMs) => ({ kind: 'openSession', timeoutMs }),
    };
    const call = new Call(this.#parts.clock, this.#parts.timers, {
      timeoutMs: REQUEST_TIMEOUT_MS_DEFAULT,
    });
    this.#running.add(call);
    try {
      const { sessionId } = await this.#attemptUntilDone(plan, null, call);
      return sessionId;
    } catch (thrown) {
      throw sessionError(toHoldfastError(thrown));
    } finally {
      call.end();
      this.#running.delete(call);
    }
  }
}

const ANY_NODE: Target = { kind: 'any' };

/** Every replica may answer a read: what this one lacks, another one has. */
function mayAnswerElsewhere(error: HoldfastError, traits: RequestTraits, target: Target): boolean {
  const isOfThisNode = error.code === 'SHARD_UNAVAILABLE' || error.code === 'TOO_STALE';
  return isOfThisNode && traits.isRead && target.kind !== 'node';
}

/** Carries the decision out of the attempt loop; never leaves this file. */
class SessionRenewal {
  readonly history: AttemptHistory;

  constructor(history: AttemptHistory) {
    this.history = history;
  }
}

/** The writes that wait for the session were not sent: their failure is definite. */
function sessionError(error: HoldfastError): HoldfastError {
  if (error.definite) return error;
  return new HoldfastError('NO_LEADER', `no session could be opened: ${error.message}`, {
    cause: error,
  });
}

export function closedError(): HoldfastError {
  return new HoldfastError('CLIENT_CLOSED', 'the client is closed; connect a new one');
}

export function unreachableError(pool: NodePool, cause: unknown): HoldfastError {
  const reasons = [...pool.failures].map(([address, error]) => `${address}: ${error.message}`);
  const why = reasons.length === 0 ? 'no answer yet' : reasons.join('; ');
  return new HoldfastError('NO_NODE_REACHABLE', `no node could be reached (${why})`, {
    ...(cause === null ? {} : { cause }),
  });
}
