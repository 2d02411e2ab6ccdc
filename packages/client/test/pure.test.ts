/** The pure parts: connection state table, leader cache, session bookkeeping, retry policy. */
import { readdirSync, readFileSync } from 'node:fs';
import type { ErrorCode } from '@holdfast/base';
import { ERROR_CODES, HoldfastError, InvariantViolation } from '@holdfast/base';
import { SESSION_WINDOW_MAX } from '@holdfast/protocol';
import fc from 'fast-check';
import t from 'tap';
import type {
  ConnectionEffect,
  ConnectionEvent,
  ConnectionState,
} from '../src/connection-state.ts';
import { nextConnectionState } from '../src/connection-state.ts';
import { forgetLeader, learnLeader, NO_LEADER_KNOWN } from '../src/leader-cache.ts';
import type { AttemptHistory, RequestTraits } from '../src/retry-policy.ts';
import {
  ATTEMPT_COUNT_MAX,
  decide,
  NO_ATTEMPTS,
  REDIRECT_IN_ROW_COUNT_MAX,
  reconnectDelayMs,
  recordAttempt,
  reportedError,
} from '../src/retry-policy.ts';
import { ClientSession } from '../src/session.ts';

const error = new HoldfastError('CONNECTION_LOST', 'test');

type StateKind = ConnectionState['kind'];
type EventKind = ConnectionEvent['kind'];
type Cell =
  | 'impossible'
  | { readonly to: StateKind; readonly does: readonly ConnectionEffect['kind'][] };

const STATES: { readonly [Kind in StateKind]: Extract<ConnectionState, { kind: Kind }> } = {
  idle: { kind: 'idle' },
  dialling: { kind: 'dialling', attempt: 3 },
  greeting: { kind: 'greeting', attempt: 3 },
  ready: { kind: 'ready' },
  waiting: { kind: 'waiting', attempt: 3 },
  closed: { kind: 'closed' },
};
const EVENTS: { readonly [Kind in EventKind]: Extract<ConnectionEvent, { kind: Kind }> } = {
  start: { kind: 'start' },
  opened: { kind: 'opened' },
  welcomed: { kind: 'welcomed' },
  refused: { kind: 'refused', error },
  broken: { kind: 'broken', error },
  lost: { kind: 'lost', error },
  timeout: { kind: 'timeout', error },
  stop: { kind: 'stop', error },
};

const same = (to: StateKind): Cell => ({ to, does: [] });
const DIAL: Cell = { to: 'dialling', does: ['armHandshakeTimer', 'dial'] };
const TABLE: Record<StateKind, Record<EventKind, Cell>> = {
  idle: {
    start: DIAL,
    opened: 'impossible',
    welcomed: 'impossible',
    refused: 'impossible',
    broken: 'impossible',
    lost: 'impossible',
    timeout: 'impossible',
    stop: same('closed'),
  },
  dialling: {
    start: same('dialling'),
    opened: { to: 'greeting', does: ['sendHello'] },
    welcomed: 'impossible',
    refused: 'impossible',
    broken: 'impossible',
    lost: { to: 'waiting', does: ['disarmTimer', 'armBackoffTimer', 'announceDown'] },
    timeout: { to: 'waiting', does: ['hangUp', 'armBackoffTimer', 'announceDown'] },
    stop: { to: 'closed', does: ['disarmTimer', 'hangUp'] },
  },
  greeting: {
    start: same('greeting'),
    opened: 'impossible',
    welcomed: { to: 'ready', does: ['disarmTimer', 'announceReady'] },
    refused: { to: 'waiting', does: ['disarmTimer', 'hangUp', 'armBackoffTimer', 'announceDown'] },
    broken: { to: 'waiting', does: ['disarmTimer', 'hangUp', 'armBackoffTimer', 'announceDown'] },
    lost: { to: 'waiting', does: ['disarmTimer', 'armBackoffTimer', 'announceDown'] },
    timeout: { to: 'waiting', does: ['hangUp', 'armBackoffTimer', 'announceDown'] },
    stop: { to: 'closed', does: ['disarmTimer', 'hangUp'] },
  },
  ready: {
    start: same('ready'),
    opened: 'impossible',
    welcomed: 'impossible',
    refused: { to: 'waiting', does: ['hangUp', 'armBackoffTimer', 'announceDown'] },
    broken: { to: 'waiting', does: ['hangUp', 'armBackoffTimer', 'announceDown'] },
    lost: { to: 'waiting', does: ['armBackoffTimer', 'announceDown'] },
    timeout: 'impossible',
    stop: { to: 'closed', does: ['hangUp', 'announceDown'] },
  },
  waiting: {
    start: { to: 'dialling', does: ['disarmTimer', 'armHandshakeTimer', 'dial'] },
    opened: 'impossible',
    welcomed: 'impossible',
    refused: 'impossible',
    broken: 'impossible',
    lost: 'impossible',
    timeout: DIAL,
    stop: { to: 'closed', does: ['disarmTimer'] },
  },
  closed: {
    start: same('closed'),
    opened: same('closed'),
    welcomed: same('closed'),
    refused: same('closed'),
    broken: same('closed'),
    lost: same('closed'),
    timeout: same('closed'),
    stop: same('closed'),
  },
};

t.test('every state answers every event as the table says', async (t) => {
  for (const [stateKind, row] of Object.entries(TABLE) as [StateKind, Record<EventKind, Cell>][]) {
    for (const [eventKind, cell] of Object.entries(row) as [EventKind, Cell][]) {
      const run = () => nextConnectionState(STATES[stateKind], EVENTS[eventKind]);
      const title = `${stateKind} x ${eventKind}`;
      if (cell === 'impossible') {
        t.throws(run, { name: 'InvariantViolation' }, title);
        continue;
      }
      const { state, effects } = run();
      t.equal(state.kind, cell.to, title);
      t.same(
        effects.map((effect) => effect.kind),
        cell.does,
        title,
      );
    }
  }
});

t.test('attempts count up while nothing answers and start again after a welcome', async (t) => {
  let state: ConnectionState = STATES.idle;
  for (const [event, attempt] of [
    ['start', 1],
    ['lost', 1],
    ['timeout', 2],
    ['opened', 2],
    ['refused', 2],
    ['timeout', 3],
  ] as const) {
    state = nextConnectionState(state, EVENTS[event]).state;
    t.match(state, { attempt }, event);
  }
  state = nextConnectionState(state, EVENTS.opened).state;
  state = nextConnectionState(state, EVENTS.welcomed).state;
  state = nextConnectionState(state, EVENTS.lost).state;
  t.same(state, { kind: 'waiting', attempt: 1 });
});

t.test('the leader cache never goes back in term and never forgets on hearsay', async (t) => {
  const a = { nodeId: 'a', address: 'a:1' };
  const b = { nodeId: 'b', address: 'b:1' };
  let cache = learnLeader(NO_LEADER_KNOWN, { leader: a, term: 5 });
  t.equal(learnLeader(cache, { leader: b, term: 4 }), cache, 'an older term is ignored');
  t.equal(learnLeader(cache, { leader: null, term: 5 }), cache, 'a follower that lost sight');
  t.same(learnLeader(cache, { leader: null, term: 6 }), { leader: null, term: 6 });
  t.same(learnLeader(cache, { leader: b, term: 6 }), { leader: b, term: 6 });
  t.equal(forgetLeader(cache, 'b'), cache, 'only the leader itself is forgotten');
  cache = forgetLeader(cache, 'a');
  t.same(cache, { leader: null, term: 5 });
});

t.test('ackedThrough is the longest finished prefix, whatever the order', async (t) => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...Array(40).keys()].map((n) => n + 1)), (order) => {
      const session = new ClientSession(9);
      for (let n = 1; n <= 40; n++) {
        const stamp = session.begin();
        if (stamp.id !== 9 || stamp.sequence !== n || stamp.ackedThrough !== 0) return false;
      }
      const finished = new Set<number>();
      for (const sequence of order) {
        session.finish(sequence);
        finished.add(sequence);
        let prefix = 0;
        while (finished.has(prefix + 1)) prefix += 1;
        if (session.ackedThrough !== prefix) return false;
      }
      return true;
    }),
  );
  const session = new ClientSession(1);
  session.begin();
  session.finish(1);
  t.throws(() => session.finish(1), InvariantViolation, 'finishing twice is our bug');
});

t.test('a window holds as many sequences as the server keeps results', async (t) => {
  const session = new ClientSession(1);
  for (let n = 0; n < SESSION_WINDOW_MAX; n++) {
    if (session.isWindowFull) t.fail(`full after ${n}`);
    session.begin();
  }
  t.equal(session.isWindowFull, true);
  t.throws(() => session.begin(), InvariantViolation);
  session.finish(2);
  t.equal(session.isWindowFull, true, 'the oldest one holds the window');
  session.finish(1);
  t.equal(session.isWindowFull, false);
  t.same(session.begin(), { id: 1, sequence: SESSION_WINDOW_MAX + 1, ackedThrough: 2 });
});

const READ: RequestTraits = { isRead: true, hasSession: false, isSafeToRepeat: true };
const WRITE: RequestTraits = { isRead: false, hasSession: true, isSafeToRepeat: true };
const PLAIN_WRITE: RequestTraits = { isRead: false, hasSession: false, isSafeToRepeat: false };
const failure = (code: ErrorCode, details = {}): HoldfastError =>
  new HoldfastError(code, 'test', { details });
const codes = Object.keys(ERROR_CODES) as ErrorCode[];

t.test('no code makes an unsafe write repeat after an indefinite error', async (t) => {
  for (const code of codes) {
    const decision = decide(failure(code), PLAIN_WRITE, NO_ATTEMPTS, 0.5);
    if (!ERROR_CODES[code].definite) t.equal(decision.kind, 'fail', code);
    const lowered = new HoldfastError(code, 'test', { definite: false });
    t.equal(decide(lowered, PLAIN_WRITE, NO_ATTEMPTS, 0.5).kind, 'fail', `${code}, lowered`);
  }
});

t.test('what asking again cannot change fails at once', async (t) => {
  for (const code of codes) {
    if (ERROR_CODES[code].retry !== 'never' || code === 'SESSION_EXPIRED') continue;
    t.equal(decide(failure(code), WRITE, NO_ATTEMPTS, 0.5).kind, 'fail', code);
  }
});

t.test('an expired session is renewed only when no attempt was indefinite', async (t) => {
  const expired = failure('SESSION_EXPIRED');
  t.equal(decide(expired, WRITE, NO_ATTEMPTS, 0).kind, 'renewSession');
  t.equal(decide(expired, WRITE, { ...NO_ATTEMPTS, sawIndefinite: true }, 0).kind, 'fail');
  t.equal(decide(expired, PLAIN_WRITE, NO_ATTEMPTS, 0).kind, 'fail');
  t.equal(recordAttempt(NO_ATTEMPTS, expired).sawIndefinite, false);
});

t.test('redirects are followed at once a few times, then with a pause', async (t) => {
  const redirect = failure('NOT_LEADER');
  let history = NO_ATTEMPTS;
  for (let i = 0; i < REDIRECT_IN_ROW_COUNT_MAX; i++) {
    t.same(decide(redirect, WRITE, history, 0.5), { kind: 'retry', delayMs: 0 });
    history = recordAttempt(history, redirect);
  }
  t.same(decide(redirect, WRITE, history, 0.5), { kind: 'retry', delayMs: 50 });
});

t.test('an overloaded server is given the time it asks for, within reason', async (t) => {
  const delayOf = (details: object): number => {
    const decision = decide(failure('OVERLOADED', details), WRITE, NO_ATTEMPTS, 0);
    return decision.kind === 'retry' ? decision.delayMs : Number.NaN;
  };
  t.equal(delayOf({ retryAfterMs: 700 }), 700);
  t.equal(delayOf({ retryAfterMs: 1e9 }), 10_000);
  t.equal(delayOf({ retryAfterMs: 'soon' }), 10);
  t.equal(delayOf({}), 10);
});

t.test('every sequence of errors comes to an end', async (t) => {
  for (const code of codes) {
    let history: AttemptHistory = NO_ATTEMPTS;
    let count = 0;
    while (decide(failure(code), READ, history, 0.5).kind !== 'fail') {
      history = recordAttempt(history, failure(code));
      count += 1;
      if (count > ATTEMPT_COUNT_MAX) break;
    }
    t.ok(count <= ATTEMPT_COUNT_MAX, `${code} ended after ${count} attempts`);
  }
});

t.test('only a recorded answer stays definite after an indefinite attempt', async (t) => {
  const doubtful: AttemptHistory = { ...NO_ATTEMPTS, sawIndefinite: true };
  const definiteOf = (error: HoldfastError, traits: RequestTraits): boolean =>
    reportedError(error, traits, doubtful).definite;
  t.equal(definiteOf(failure('VERSION_CONFLICT', { index: 9 }), WRITE), true);
  t.equal(definiteOf(failure('VERSION_CONFLICT'), WRITE), false);
  t.equal(definiteOf(failure('SESSION_WINDOW_FULL', { index: 9 }), WRITE), false);
  t.equal(definiteOf(failure('SEQUENCE_REUSED', { index: 9 }), WRITE), false);
  t.equal(definiteOf(failure('NO_LEADER'), WRITE), false);
  t.equal(definiteOf(failure('NO_LEADER'), READ), true, 'a read has no effect to be unsure of');
  const conflict = failure('VERSION_CONFLICT');
  t.equal(reportedError(conflict, WRITE, NO_ATTEMPTS), conflict);
});

t.test('reconnects wait 20 ms to 1 s, jittered', async (t) => {
  t.equal(reconnectDelayMs(1, 0), 10);
  t.equal(reconnectDelayMs(1, 1), 20);
  t.equal(reconnectDelayMs(2, 1), 40);
  t.equal(reconnectDelayMs(50, 0), 500);
  t.equal(reconnectDelayMs(1_000_000, 1), 1_000);
});

t.test('every unbounded-looking loop of the sources says what bounds it', async (t) => {
  const sources = new URL('../../src/', import.meta.url);
  let found = 0;
  for (const name of readdirSync(sources).filter((each) => each.endsWith('.ts'))) {
    const lines = readFileSync(new URL(name, sources), 'utf8').split('\n');
    for (const [i, line] of lines.entries()) {
      if (!/for \(;;\)|while \(true\)/.test(line)) continue;
      found += 1;
      const near = lines.slice(Math.max(0, i - 3), i + 3).join('\n');
      t.match(near, /[Bb]ounded|Ends at the deadline|ATTEMPT_COUNT_MAX/, `${name}:${i + 1}`);
    }
  }
  t.ok(found >= 3, 'the check looks at real loops', { found });
  const spec = readFileSync(new URL('SPEC.md', sources), 'utf8');
  const policy = readFileSync(new URL('retry-policy.ts', sources), 'utf8');
  for (const [, name] of policy.matchAll(/export const ([A-Z_]+_MAX)\b/g)) {
    t.ok(spec.includes(name ?? '?'), `SPEC.md names ${name}`);
  }
});
