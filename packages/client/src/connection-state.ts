/**
 * The life of the connection to one node, as a pure function: (state, event) -> state and effects.
 *
 *            start               opened                welcomed
 *     idle ---------> dialling ----------> greeting ------------> ready
 *                      ^    |                 |                     |
 *       timeout, start |    | lost, timeout   | refused, broken,    | lost, broken, refused
 *                      |    v                 v lost, timeout       v
 *                      +--- waiting <---------+---------------------+
 *
 *     stop leads from everywhere to closed, which nothing leaves.
 *
 * Invariants: C1 exactly one timer is armed in dialling and greeting (handshake) and in waiting
 * (back-off), none elsewhere. C2 `announceDown` follows every failed dial and every loss of ready.
 * C3 the attempt number grows by one per dial since the last ready, so the back-off is bounded
 * only by its own maximum. C4 events of a transport that was hung up never arrive (the runner drops
 * them), so a cell they would fill is a bug of ours.
 */
import type { HoldfastError } from '@holdfast/base';
import { assert, unreachable } from '@holdfast/base';

export type ConnectionState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'dialling'; readonly attempt: number }
  | { readonly kind: 'greeting'; readonly attempt: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'waiting'; readonly attempt: number }
  | { readonly kind: 'closed' };

export type ConnectionEvent =
  /** Connect, or: connect now instead of waiting for the back-off. */
  | { readonly kind: 'start' }
  | { readonly kind: 'opened' }
  | { readonly kind: 'welcomed' }
  /** The server said no to the hello, or goodbye. */
  | { readonly kind: 'refused'; readonly error: HoldfastError }
  /** The other side is not a server we can talk to: bad bytes, another cluster. */
  | { readonly kind: 'broken'; readonly error: HoldfastError }
  | { readonly kind: 'lost'; readonly error: HoldfastError }
  /** The timer of the state fired. */
  | { readonly kind: 'timeout'; readonly error: HoldfastError }
  | { readonly kind: 'stop'; readonly error: HoldfastError };

export type ConnectionEffect =
  | { readonly kind: 'dial' }
  | { readonly kind: 'sendHello' }
  | { readonly kind: 'hangUp' }
  | { readonly kind: 'armHandshakeTimer' }
  | { readonly kind: 'armBackoffTimer'; readonly attempt: number }
  | { readonly kind: 'disarmTimer' }
  | { readonly kind: 'announceReady' }
  | { readonly kind: 'announceDown'; readonly error: HoldfastError };

export interface Transition {
  readonly state: ConnectionState;
  readonly effects: readonly ConnectionEffect[];
}

export const INITIAL_CONNECTION_STATE: ConnectionState = { kind: 'idle' };
const CLOSED: ConnectionState = { kind: 'closed' };

export function nextConnectionState(state: ConnectionState, event: ConnectionEvent): Transition {
  switch (state.kind) {
    case 'idle':
      return fromIdle(state, event);
    case 'dialling':
      return fromDialling(state.attempt, event);
    case 'greeting':
      return fromGreeting(state, event);
    case 'ready':
      return fromReady(state, event);
    case 'waiting':
      return fromWaiting(state.attempt, event);
    case 'closed':
      return { state, effects: [] };
    default:
      return unreachable(state);
  }
}

function fromIdle(state: ConnectionState, event: ConnectionEvent): Transition {
  if (event.kind === 'start') return dial(1, []);
  if (event.kind === 'stop') return { state: CLOSED, effects: [] };
  return impossible(state, event);
}

function fromDialling(attempt: number, event: ConnectionEvent): Transition {
  const state: ConnectionState = { kind: 'dialling', attempt };
  switch (event.kind) {
    case 'start':
      return { state, effects: [] };
    case 'opened':
      return { state: { kind: 'greeting', attempt }, effects: [{ kind: 'sendHello' }] };
    case 'lost':
      return wait(attempt, event.error, [{ kind: 'disarmTimer' }]);
    case 'timeout':
      return wait(attempt, event.error, [{ kind: 'hangUp' }]);
    case 'stop':
      return { state: CLOSED, effects: [{ kind: 'disarmTimer' }, { kind: 'hangUp' }] };
    case 'welcomed':
    case 'refused':
    case 'broken':
      return impossible(state, event);
    default:
      return unreachable(event);
  }
}

function fromGreeting(
  state: Extract<ConnectionState, { kind: 'greeting' }>,
  event: ConnectionEvent,
): Transition {
  switch (event.kind) {
    case 'start':
      return { state, effects: [] };
    case 'welcomed':
      return {
        state: { kind: 'ready' },
        effects: [{ kind: 'disarmTimer' }, { kind: 'announceReady' }],
      };
    case 'refused':
    case 'broken':
      return wait(state.attempt, event.error, [{ kind: 'disarmTimer' }, { kind: 'hangUp' }]);
    case 'lost':
      return wait(state.attempt, event.error, [{ kind: 'disarmTimer' }]);
    case 'timeout':
      return wait(state.attempt, event.error, [{ kind: 'hangUp' }]);
    case 'stop':
      return { state: CLOSED, effects: [{ kind: 'disarmTimer' }, { kind: 'hangUp' }] };
    case 'opened':
      return impossible(state, event);
    default:
      return unreachable(event);
  }
}

function fromReady(state: ConnectionState, event: ConnectionEvent): Transition {
  switch (event.kind) {
    case 'start':
      return { state, effects: [] };
    case 'refused':
    case 'broken':
      return wait(1, event.error, [{ kind: 'hangUp' }]);
    case 'lost':
      return wait(1, event.error, []);
    case 'stop':
      return {
        state: CLOSED,
        effects: [{ kind: 'hangUp' }, { kind: 'announceDown', error: event.error }],
      };
    case 'opened':
    case 'welcomed':
    case 'timeout':
      return impossible(state, event);
    default:
      return unreachable(event);
  }
}

function fromWaiting(attempt: number, event: ConnectionEvent): Transition {
  if (event.kind === 'start') return dial(attempt + 1, [{ kind: 'disarmTimer' }]);
  if (event.kind === 'timeout') return dial(attempt + 1, []);
  if (event.kind === 'stop') return { state: CLOSED, effects: [{ kind: 'disarmTimer' }] };
  return impossible({ kind: 'waiting', attempt }, event);
}

function dial(attempt: number, before: readonly ConnectionEffect[]): Transition {
  return {
    state: { kind: 'dialling', attempt },
    effects: [...before, { kind: 'armHandshakeTimer' }, { kind: 'dial' }],
  };
}

function wait(
  attempt: number,
  error: HoldfastError,
  before: readonly ConnectionEffect[],
): Transition {
  return {
    state: { kind: 'waiting', attempt },
    effects: [...before, { kind: 'armBackoffTimer', attempt }, { kind: 'announceDown', error }],
  };
}

function impossible(state: ConnectionState, event: ConnectionEvent): Transition {
  assert(false, 'connection event does not fit the state', {
    state: state.kind,
    event: event.kind,
  });
}
