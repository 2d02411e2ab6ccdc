/**
 * Goal: the replicated meta state is a function of the log: sessions make a repeated request
 * happen once, the catalogue never reuses a uid, and equal logs give equal bytes.
 * Method: entries are fed by hand; the property test replays random logs on two machines, one of
 * which is saved and loaded at a random point.
 */
import { clusterId, logIndex, SeededRandom, sessionId, term } from '@holdfast/base';
import t from 'tap';
import { COLLECTION_COUNT_MAX } from '../src/state/catalogue.ts';
import type { Command, CommandEnvelope } from '../src/state/command.ts';
import { decodeCommand, encodeCommand } from '../src/state/command.ts';
import { SESSION_COUNT_MAX, SESSION_WINDOW_MAX } from '../src/state/sessions.ts';
import type { Site, SiteChange } from '../src/state/site.ts';
import { changedSite, PLAIN_SITE } from '../src/state/site.ts';
import { create, entryOf, Log, load, SPEC, save } from './support/state-log.ts';

t.test('every command survives encoding', async (t) => {
  const commands: Command[] = [
    { kind: 'openSession' },
    { kind: 'closeSession', sessionId: sessionId(5) },
    { kind: 'expireSessions', cutoffMs: 99, ids: [sessionId(1), sessionId(2)] },
    create('a'),
    { kind: 'dropCollection', name: 'a' },
    { kind: 'write', uid: 2 ** 40, ops: new Uint8Array([1, 2, 3]) },
    { kind: 'site', change: { kind: 'promote', epoch: 2 } },
    {
      kind: 'follow',
      entry: {
        ...{ index: logIndex(2 ** 40), term: term(7), type: 'normal' },
        ...{ sumBefore: new Uint8Array(16).fill(1), sum: new Uint8Array(16).fill(2) },
        data: new Uint8Array([4, 5, 6]),
      },
    },
    { kind: 'hideCollection', name: 'a', retentionMs: 86_400_000 },
    { kind: 'undeleteCollection', uid: 7, name: null },
    { kind: 'undeleteCollection', uid: 7, name: 'b' },
    { kind: 'purgeCollection', uid: 7, cutoffMs: null },
    { kind: 'purgeCollection', uid: 7, cutoffMs: 99 },
    { kind: 'renameCollection', name: 'a', newName: 'b' },
    { kind: 'createHiddenCollection', spec: { ...SPEC }, retentionMs: 5 },
    { kind: 'finishCollection', uid: 7 },
    { kind: 'publishCollections', uids: [7, 8] },
  ];
  for (const command of commands) {
    const envelope: CommandEnvelope = {
      timestampMs: 1_700_000_000_123,
      session: { id: sessionId(2 ** 41), sequence: 3, ackedThrough: 2 },
      bodyHash: 0xffff_ffff_ffff_ffffn,
      command,
    };
    t.strictSame(decodeCommand(encodeCommand(envelope)), envelope, command.kind);
  }
});

t.test('a command of a newer format is refused, not guessed', async (t) => {
  const bytes = encodeCommand({
    timestampMs: 0,
    session: null,
    bodyHash: 0n,
    command: { kind: 'openSession' },
  });
  bytes[0] = 9;
  t.throws(() => decodeCommand(bytes), { code: 'FORMAT_UNKNOWN' });
});

t.test('a repeated request gets the first result and changes nothing', async (t) => {
  const log = new Log();
  const id = log.openSession();
  const first = log.apply(create('docs'), { id, sequence: 1 });
  const again = log.apply(create('docs'), { id, sequence: 1 });
  t.ok(first.result.ok);
  t.strictSame(again.result, first.result, 'same index, same answer');
  t.equal(log.machine.catalogue.count, 1);
});

t.test('the same sequence with another body is refused', async (t) => {
  const log = new Log();
  const id = log.openSession();
  log.apply(create('docs'), { id, sequence: 1 }, { bodyHash: 1n });
  const other = log.apply(create('other'), { id, sequence: 1 }, { bodyHash: 2n });
  t.match(other.result, { ok: false, code: 'SEQUENCE_REUSED' });
  t.equal(log.machine.catalogue.byName('other'), undefined);
});

t.test('a request of an unknown or closed session never executes', async (t) => {
  const log = new Log();
  const id = log.openSession();
  log.apply({ kind: 'closeSession', sessionId: sessionId(id) });
  for (const dead of [id, 999]) {
    const { result } = log.apply(create('docs'), { id: dead, sequence: 1 });
    t.match(result, { ok: false, code: 'SESSION_EXPIRED' });
  }
  t.equal(log.machine.catalogue.count, 0);
});

t.test('an acknowledged sequence is forgotten and does not execute again', async (t) => {
  const log = new Log();
  const id = log.openSession();
  log.apply(create('a'), { id, sequence: 1 });
  log.apply(create('b'), { id, sequence: 2, ackedThrough: 1 });
  const late = log.apply({ kind: 'dropCollection', name: 'a' }, { id, sequence: 1 });
  t.match(late.result, { ok: false, code: 'SEQUENCE_REUSED' });
  t.ok(log.machine.catalogue.byName('a'), 'a late duplicate has no effect');
});

t.test('a full window is refused until results are acknowledged; gaps are allowed', async (t) => {
  const log = new Log();
  const id = log.openSession();
  for (let i = 1; i <= SESSION_WINDOW_MAX; i++) {
    log.apply({ kind: 'dropCollection', name: 'x' }, { id, sequence: 2 * i });
  }
  const sequence = 2 * SESSION_WINDOW_MAX + 1;
  const full = log.apply(create('docs'), { id, sequence });
  t.match(full.result, { ok: false, code: 'SESSION_WINDOW_FULL' });
  const freed = log.apply(create('docs'), { id, sequence, ackedThrough: 2 });
  t.match(freed.result, { ok: true }, 'the refused sequence was not burnt');
});

t.test('sessions expire by log time only, and only when still idle', async (t) => {
  const log = new Log();
  const idle = log.openSession();
  const busy = log.openSession();
  log.apply(
    { kind: 'dropCollection', name: 'x' },
    { id: busy, sequence: 1 },
    { timestampMs: 5_000 },
  );
  t.strictSame(log.machine.sessions.idleSince(100, 10), [idle]);
  const ids = [sessionId(idle), sessionId(busy)];
  const { result } = log.apply({ kind: 'expireSessions', cutoffMs: 100, ids });
  t.match(result, { ok: true, value: { count: 1 } });
  t.match(log.apply(create('a'), { id: idle, sequence: 1 }).result, { code: 'SESSION_EXPIRED' });
  t.match(log.apply(create('b'), { id: busy, sequence: 2 }).result, { ok: true });
});

t.test('the session table is bounded', async (t) => {
  const log = new Log();
  for (let i = 0; i < SESSION_COUNT_MAX; i++) log.openSession();
  const { result } = log.apply({ kind: 'openSession' });
  t.match(result, { ok: false, code: 'SESSION_LIMIT' });
});

t.test('a collection name can be reused, a uid never', async (t) => {
  const log = new Log();
  const first = log.apply(create('docs'));
  t.match(log.apply(create('docs')).result, { ok: false, code: 'COLLECTION_EXISTS' });
  t.match(log.apply({ kind: 'dropCollection', name: 'docs' }).result, {
    value: { isDropped: true },
  });
  t.match(log.apply({ kind: 'dropCollection', name: 'docs' }).result, {
    value: { isDropped: false },
  });
  const second = log.apply(create('docs'));
  t.not(second.index, first.index);
  const late = log.apply({ kind: 'write', uid: first.index, ops: new Uint8Array(0) });
  t.match(
    late.result,
    { ok: false, code: 'COLLECTION_NOT_FOUND' },
    'a write to the old uid is lost',
  );
});

t.test('ifNotExists answers an equal collection and refuses another definition', async (t) => {
  const log = new Log();
  const first = log.apply(create('docs'));
  const same: Command = { kind: 'createCollection', spec: SPEC, ifNotExists: true };
  t.match(log.apply(same).result, { ok: true, value: { definition: { uid: first.index } } });
  const other: Command = { ...same, spec: { ...SPEC, dimension: 8 } };
  t.match(log.apply(other).result, { ok: false, code: 'COLLECTION_EXISTS' });
});

t.test('the catalogue is bounded', async (t) => {
  const log = new Log();
  for (let i = 0; i < COLLECTION_COUNT_MAX; i++) log.apply(create(`c${i}`));
  t.match(log.apply(create('one-more')).result, { ok: false, code: 'COLLECTION_LIMIT' });
});

t.test('log time never goes back', async (t) => {
  const log = new Log();
  log.apply({ kind: 'openSession' }, null, { timestampMs: 1_000 });
  log.apply({ kind: 'openSession' }, null, { timestampMs: 10 });
  t.equal(log.machine.logTimeMs, 1_000);
});

t.test('equal logs give equal bytes, also across save and load', async (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new SeededRandom(seed);
    const commands = Array.from({ length: 120 }, () => randomCommand(random));
    const saveAt = random.nextBelow(commands.length);
    const straight = new Log();
    let saved = new Log();
    commands.forEach(({ command, session, options }, position) => {
      if (position === saveAt) saved = new Log(load(save(saved.machine)));
      straight.apply(command, session, options);
      saved.apply(command, session, options);
    });
    t.strictSame(save(saved.machine), save(straight.machine), `seed ${seed}`);
  }
});

function randomCommand(random: SeededRandom) {
  const name = `c${random.nextBelow(4)}`;
  const uid = random.nextBelow(60) + 1;
  const isTimed = random.nextBelow(2) === 0;
  const commands: readonly Command[] = [
    { kind: 'openSession' },
    create(name),
    { kind: 'dropCollection', name },
    { kind: 'write', uid: random.nextBelow(60) + 1, ops: new Uint8Array(8) },
    { kind: 'expireSessions', cutoffMs: random.nextBelow(100), ids: [sessionId(1), sessionId(3)] },
    { kind: 'closeSession', sessionId: sessionId(random.nextBelow(20) + 1) },
    { kind: 'hideCollection', name, retentionMs: random.nextBelow(60) },
    { kind: 'undeleteCollection', uid, name: isTimed ? null : `c${random.nextBelow(4)}` },
    { kind: 'purgeCollection', uid, cutoffMs: isTimed ? random.nextBelow(200) : null },
    { kind: 'renameCollection', name, newName: `c${random.nextBelow(4)}` },
    { kind: 'createHiddenCollection', spec: { ...SPEC, name }, retentionMs: 50 },
    { kind: 'finishCollection', uid },
    { kind: 'publishCollections', uids: [uid] },
  ];
  const command = commands[random.nextBelow(commands.length)] ?? { kind: 'openSession' };
  const id = random.nextBelow(10) + 1;
  const sequence = random.nextBelow(6) + 3;
  const ackedThrough = random.nextBelow(3);
  const session = random.nextBelow(2) === 0 ? null : { id, sequence, ackedThrough };
  const options = { bodyHash: BigInt(random.nextBelow(3)), timestampMs: random.nextBelow(200) };
  return { command, session, options };
}

t.test('how a cluster stands to others changes only as it may', async (t) => {
  const own = clusterId('0'.repeat(32));
  const other = clusterId('1'.repeat(32));
  const source = {
    clusterId: other,
    timeline: 'main',
    index: 7,
    term: 2,
    sum: 'ab',
    timestampMs: 5,
  };
  const beginning = { ...source, index: 0 };
  const takeover = { epoch: 2, clusterId: own, timeline: 'p-1' };
  const fence = { clusterId: own, epoch: 2, byClusterId: other, byTimeline: 'p-2', index: 4 };
  const standby: Site = { kind: 'standby', source, takeover: null };
  const frozen: Site = { ...standby, takeover };
  const fenced: Site = { kind: 'fenced', fence, promotion: null };
  const promotion = { ...takeover, source, own: { index: 9, term: 3, sum: 'cd' } };
  const promoted: Site = { kind: 'primary', promotion };
  const freeze: SiteChange = { kind: 'freeze', takeover, index: 7 };
  const cases: readonly [Site, SiteChange, Site | null][] = [
    [PLAIN_SITE, { kind: 'standBy', source: beginning }, { ...standby, source: beginning }],
    [PLAIN_SITE, { kind: 'standBy', source: { ...source, index: 9 } }, null],
    [fenced, { kind: 'standBy', source }, standby],
    [fenced, { kind: 'standBy', source: beginning }, null],
    [
      standby,
      { kind: 'retarget', timeline: 't2' },
      { ...standby, source: { ...source, timeline: 't2' } },
    ],
    [frozen, { kind: 'retarget', timeline: 't2' }, null],
    [standby, freeze, frozen],
    [standby, { ...freeze, index: 6 }, null],
    [frozen, freeze, null],
    [PLAIN_SITE, freeze, null],
    [frozen, { kind: 'thaw', epoch: 2 }, standby],
    [frozen, { kind: 'thaw', epoch: 3 }, null],
    [frozen, { kind: 'promote', epoch: 2 }, promoted],
    [standby, { kind: 'promote', epoch: 2 }, null],
    [PLAIN_SITE, { kind: 'promote', epoch: 2 }, null],
    [PLAIN_SITE, { kind: 'fence', fence }, fenced],
    [promoted, { kind: 'fence', fence }, { ...fenced, promotion }],
    [PLAIN_SITE, { kind: 'fence', fence: { ...fence, epoch: 1 } }, null],
    [fenced, { kind: 'fence', fence: { ...fence, epoch: 3 } }, null],
    [standby, { kind: 'fence', fence }, null],
    [fenced, { kind: 'forget', clusterId: own }, null],
    [fenced, { kind: 'forget', clusterId: other }, PLAIN_SITE],
    [promoted, { kind: 'forget', clusterId: other }, PLAIN_SITE],
    [standby, { kind: 'forget', clusterId: own }, null],
  ];
  const at = { index: 9, term: 3, sum: 'cd', isStateEmpty: true };
  for (const [site, change, expected] of cases) {
    t.same(changedSite(site, change, at), expected, `${site.kind}: ${JSON.stringify(change)}`);
  }
  const filled = { ...at, isStateEmpty: false };
  t.equal(changedSite(PLAIN_SITE, { kind: 'standBy', source: beginning }, filled), null);
});

const sumOf = (index: number): Uint8Array => new Uint8Array(16).fill(index);
const verifyEnvelope: CommandEnvelope = {
  ...{ timestampMs: 1_003, session: null, bodyHash: 0n, command: { kind: 'verify' } },
};

t.test('a standby applies each entry of its primary once, in order, and nobody else', async (t) => {
  const primary = new Log();
  const standby = new Log();
  const of = clusterId('1'.repeat(32));
  const beginning = { clusterId: of, timeline: 'main', index: 0, term: 0 };
  const source = { ...beginning, sum: '0'.repeat(32), timestampMs: 0 };
  standby.apply({ kind: 'site', change: { kind: 'standBy', source } }, null, { timestampMs: 90 });
  const digestOf = ({ machine }: Log): string =>
    Buffer.concat([...machine.contentPieces()]).toString('hex');
  const commands = [create('a'), { kind: 'openSession' }, create('b')] as const;
  const entries = commands.map((command, i) => {
    const timestampMs = 1_000 + i;
    primary.apply(command, null, { bodyHash: 0n, timestampMs });
    const envelope = { timestampMs, session: null, bodyHash: 0n, command };
    const sums = { sumBefore: sumOf(i), sum: sumOf(i + 1) };
    return { ...entryOf(i + 1, envelope), ...sums };
  });
  const [first, second, third] = entries;
  if (first === undefined || second === undefined || third === undefined) throw new Error('three');
  const follow = (entry: typeof first): boolean => {
    const before = standby.machine.contentIndex;
    standby.apply({ kind: 'follow', entry }, null, { timestampMs: 95 });
    return standby.machine.contentIndex !== before;
  };
  t.notOk(follow(second), 'not before the first');
  t.ok(follow(first));
  t.notOk(follow(first), 'once');
  t.notOk(follow({ ...second, sumBefore: sumOf(9) }), 'not of another history');
  t.ok(follow(second));
  t.match(standby.apply({ kind: 'openSession' }).result, { ok: false, code: 'READ_ONLY' });
  t.ok(follow(third));
  t.equal(digestOf(standby), digestOf(primary), 'equal content at an equal index');
  t.not(save(standby.machine).length, 0);
  const loaded = load(save(standby.machine));
  t.same(loaded.site, standby.machine.site, 'a checkpoint has the position');
  const takeover = { epoch: 2, clusterId: clusterId('2'.repeat(32)), timeline: 'p-1' };
  standby.apply({ kind: 'site', change: { kind: 'freeze', takeover, index: 3 } });
  t.notOk(follow({ ...entryOf(4, verifyEnvelope), sumBefore: sumOf(3), sum: sumOf(4) }), 'frozen');

  const fence = { clusterId: of, epoch: 2, byClusterId: of, byTimeline: 'p-1', index: 3 };
  primary.apply({ kind: 'site', change: { kind: 'fence', fence } });
  t.match(primary.apply(create('c')).result, { ok: false, code: 'FENCED' });
  t.match(primary.apply({ kind: 'verify' }).result, { ok: true }, 'digests are still compared');
});
