// What faults will do is decided by pure functions: whom they hit, which lines they cut, what they
// need, and who may not be harmed together.
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import {
  inHealingOrder,
  NEMESIS_NAMES,
  nemesisNamed,
  whyNotTogether,
} from '../src/nemesis/catalogue.ts';
import { Claims } from '../src/nemesis/claims.ts';
import { isSound } from '../src/nemesis/files.ts';
import { type Machine, planLaunch } from '../src/nemesis/needs.ts';
import { scheduleFaults } from '../src/nemesis/nemesis.ts';
import { PARTITIONS, type PartitionKind, planPartition } from '../src/nemesis/partitions.ts';
import { drawTargets, minorityOf } from '../src/nemesis/targets.ts';

const FIVE = ['n1', 'n2', 'n3', 'n4', 'n5'];
const THREE = FIVE.slice(0, 3);

function planOf(kind: PartitionKind, nodeNames = FIVE, seed = 1, leader: string | null = 'n2') {
  return planPartition(kind, { nodeNames, leader }, new SeededRandom(seed));
}

/** Whom the node hears, itself included. */
function heardBy(node: string, kind: PartitionKind, seed: number): readonly string[] {
  const cuts = planOf(kind, FIVE, seed)?.cuts ?? [];
  return FIVE.filter((other) => !cuts.some(({ from, to }) => from === other && to === node));
}

t.test(
  'a partition of one, of halves and of the leader leaves two sides that never meet',
  async (t) => {
    for (let seed = 0; seed < 50; seed++) {
      for (const kind of ['one', 'halves', 'leader'] as const) {
        const plan = planOf(kind, FIVE, seed);
        const side = plan?.targets ?? [];
        const others = FIVE.filter((name) => !side.includes(name));
        t.equal(side.length, kind === 'one' ? 1 : 2, `${kind}, seed ${seed}`);
        t.equal(plan?.cuts.length, 2 * side.length * others.length);
        if (kind === 'leader') t.ok(side.includes('n2'), 'the leader is in the minority');
      }
    }
  },
);

t.test('with its clients in the minority, clients reach only the side of the leader', async (t) => {
  const plan = planOf('leader-with-clients');
  t.equal(plan?.withoutClients.length, 3);
  t.notOk(plan?.withoutClients.includes('n2'));
  t.same(planOf('leader')?.withoutClients, []);
  t.equal(planOf('leader-with-clients', FIVE, 1, null), null, 'not without a leader');
});

t.test('in a majorities ring everyone hears a majority, and no two the same', async (t) => {
  for (let seed = 0; seed < 50; seed++) {
    const views = FIVE.map((node) => heardBy(node, 'majorities-ring', seed).join());
    t.ok(
      views.every((view) => view.split(',').length === 3),
      `seed ${seed}`,
    );
    t.equal(new Set(views).size, 5, `seed ${seed}`);
  }
  t.equal(planOf('majorities-ring', THREE), null, 'three nodes are too few');
});

t.test('deaf hears nobody and is heard; mute is the other way round', async (t) => {
  const deaf = planOf('deaf-leader')?.cuts ?? [];
  t.equal(deaf.length, 4);
  t.ok(deaf.every(({ to }) => to === 'n2'));
  const mute = planOf('mute-leader')?.cuts ?? [];
  t.equal(mute.length, 4);
  t.ok(mute.every(({ from }) => from === 'n2'));
});

t.test('a bridge sees both halves, which do not see each other', async (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const middle = planOf('bridge', FIVE, seed)?.targets[0] ?? '';
    t.equal(heardBy(middle, 'bridge', seed).length, 5);
    for (const node of FIVE.filter((one) => one !== middle)) {
      t.equal(heardBy(node, 'bridge', seed).length, 3, `seed ${seed}, ${node}`);
    }
  }
});

t.test('in a chain each sees its neighbours only', async (t) => {
  const seen = FIVE.map((node) => heardBy(node, 'chain', 4).length).sort();
  t.same(seen, [2, 2, 3, 3, 3]);
});

t.test(
  'every partition is drawn from its seed alone, and one of three nodes is possible',
  async (t) => {
    for (const kind of PARTITIONS) {
      t.same(planOf(kind, FIVE, 9), planOf(kind, FIVE, 9));
      if (kind !== 'majorities-ring') t.not(planOf(kind, THREE), null, kind);
    }
  },
);

t.test('targets are as many as their kind says, and a missing leader is nobody', async (t) => {
  const facts = { candidates: FIVE, leader: 'n3', nodeCount: 5 };
  const draw = (kind: Parameters<typeof drawTargets>[0], from = facts) =>
    drawTargets(kind, from, new SeededRandom(2));
  t.same(draw('leader'), ['n3']);
  t.same(draw('leader', { ...facts, leader: 'n9' }), [], 'a leader that may not be hit');
  t.not(draw('follower')[0], 'n3');
  t.equal(draw('minority').length, 2);
  t.equal(draw('majority').length, 3);
  t.same(draw('all'), FIVE);
  t.same([1, 2, 3, 4, 5, 7].map(minorityOf), [0, 0, 1, 1, 2, 3]);
});

t.test('at most a minority is harmed, whoever does it, and a claim keeps others out', async (t) => {
  const claims = new Claims(5);
  t.ok(claims.take('n1', 'files', 'harmed'));
  t.ok(claims.take('n2', 'wipe', 'harmed'));
  t.notOk(claims.take('n3', 'wipe', 'harmed'), 'two of five are harmed');
  t.ok(claims.take('n1', 'files', 'harmed'), 'again the same');
  t.notOk(claims.take('n1', 'power', 'held'));
  t.ok(claims.take('n3', 'power', 'held'), 'without harm to its data');
  t.notOk(claims.takeAll(FIVE, 'files'));
  t.ok(claims.isTaken('n1', 'wipe'));
  t.notOk(claims.isTaken('n1', 'files'));
  claims.release('n1', 'wipe');
  t.same(claims.ownedBy('files'), ['n1'], 'only the owner lets go');
  claims.release('n1', 'files');
  t.ok(claims.take('n3', 'power', 'harmed'));
  claims.release('n2', 'wipe');
  claims.release('n3', 'power');
  t.ok(claims.takeAll(FIVE, 'files'));
  t.notOk(claims.take('n1', 'wipe', 'harmed'));
});

const ABLE: Machine = { isRoot: true, hasCompiler: true, hasExt4Tools: true };

t.test('what nemeses need is put together, and what the machine lacks is left out', async (t) => {
  const needs = [
    'kill-during-checkpoint',
    'disk-slow',
    'partition-leader-with-clients',
    'power',
  ].map((name) => nemesisNamed(name).needs);
  const { missing, options } = planLaunch(needs, ABLE);
  t.same(missing, []);
  t.match(options, {
    hasPeerProxies: true,
    hasClientProxies: true,
    hasInterposer: true,
    volume: { kind: 'ext4' },
    settings: { checkpointIntervalMs: 1_500 },
  });
  const poor = planLaunch(needs, { isRoot: false, hasCompiler: false, hasExt4Tools: true });
  t.match(poor.options, { hasPeerProxies: true, hasInterposer: false });
  t.notOk('volume' in poor.options);
  t.match(poor.missing, [/install gcc/, /run as root/]);
  const both = planLaunch([nemesisNamed('volume-full').needs, nemesisNamed('power').needs], ABLE);
  t.match(both.options, { volume: { kind: 'tmpfs' } });
  t.match(both.missing, [/one volume/]);
  t.same(planLaunch([], ABLE).options, {
    ...{ hasClientProxies: false, hasInterposer: false, hasPeerProxies: false, settings: {} },
  });
});

t.test(
  'every nemesis of the catalogue has harm to do, a colour, and heals in the end',
  async (t) => {
    t.ok(NEMESIS_NAMES.length >= 40, `${NEMESIS_NAMES.length} of them`);
    for (const name of NEMESIS_NAMES) {
      const nemesis = nemesisNamed(name);
      t.equal(nemesis.name, name);
      t.match(nemesis.colour, /^#[0-9a-f]{6}$/);
      t.ok(nemesis.harmfulActions.length > 0, name);
      t.notOk(nemesis.harmfulActions.includes(nemesis.healingAction));
      const options = { seed: 5, durationMs: 10_000, intervalMs: 900 };
      t.equal(scheduleFaults(nemesis, options).at(-1)?.action, nemesis.healingAction);
    }
    t.throws(
      () => nemesisNamed('earthquake'),
      /unknown nemesis 'earthquake'; there are: partition/,
    );
  },
);

t.test('those of one family are not combined', async (t) => {
  const together = (...names: string[]) => whyNotTogether(names.map(nemesisNamed));
  t.equal(together('partition', 'kill', 'clock', 'disk-slow'), null);
  t.match(together('partition', 'network-slow'), /undo each other/);
  t.match(together('pause', 'clock', 'cpu'), /undo each other/);
  t.equal(together('kill', 'pause'), null, 'each heals what it has struck itself');
});

t.test('what waits for whole nodes is healed last', async (t) => {
  const names = ['files-down', 'wipe', 'kill', 'partition', 'disk-slow'].map(nemesisNamed);
  t.same(
    inHealingOrder(names).map(({ name }) => name),
    ['partition', 'disk-slow', 'kill', 'wipe', 'files-down'],
  );
});

t.test('files are sound when all was seen and mended and nobody is called', async (t) => {
  const recoveries = { parked: 0, running: 0, waiting: 0 };
  const sound = { newest: { isComplete: true, damaged: [] }, recoveries, unrecovered: [] };
  t.ok(isSound(sound));
  t.ok(isSound({ ...sound, newest: { isComplete: true, damaged: [{ kind: 'wal' }] } }));
  t.notOk(isSound({ ...sound, newest: { isComplete: true, damaged: [{ kind: 'segment' }] } }));
  t.notOk(isSound({ ...sound, newest: null }));
  t.notOk(isSound({ ...sound, newest: { isComplete: false, damaged: [] } }));
  t.notOk(isSound({ ...sound, recoveries: { ...recoveries, running: 1 } }));
  t.notOk(isSound({ ...sound, recoveries: { ...recoveries, parked: 1 } }));
  t.notOk(isSound({ ...sound, unrecovered: ['x'] }));
});
