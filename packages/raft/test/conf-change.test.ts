// The algebra of membership changes: hand-made cases, then random walks beside a reference model
// that was written another way. Whatever the walk, two configurations in a row have quorums that
// meet: everything else about membership rests on that.
import type { ConfState, Member, NodeId } from '@holdfast/base';
import { decodeConf, encodeConf, flawOfConf, nodeId } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import {
  type ConfChange,
  type ConfChangeStep,
  isJoint,
  type NextConf,
  nextConf,
} from '../src/membership/change.ts';
import { confOf, memberNamed } from '../src/testing/core-cluster.ts';
import { doQuorumsOverlap } from '../src/testing/quorum-overlap.ts';
import { type Model, modelNext, modelOf, sameAs } from './membership-model.ts';
import { addLearner, addVoter, demote, promote, remove } from './membership-support.ts';

const SEED = 20_260_301;

const ABC = confOf(['a', 'b', 'c']);

const ids = (conf: ConfState) => ({
  voters: conf.voters.join(''),
  outgoing: conf.votersOutgoing.join(''),
  learners: conf.learners.join(''),
  next: conf.learnersNext.join(''),
});

const made = (outcome: NextConf): ConfState => {
  if (!outcome.ok) throw new Error(`refused: ${outcome.reason}`);
  return outcome.conf;
};

const after = (conf: ConfState, ...steps: readonly ConfChangeStep[]): ConfState =>
  made(nextConf(conf, { steps }));

const reasonOf = (conf: ConfState, change: ConfChange): string => {
  const outcome = nextConf(conf, change);
  return outcome.ok ? 'accepted' : outcome.reason;
};

t.test('one voter more, less, promoted or demoted is a simple change', async (t) => {
  const plain = { outgoing: '', next: '' };
  t.match(ids(after(ABC, addVoter('d'))), { ...plain, voters: 'abcd', learners: '' });
  t.match(ids(after(ABC, remove('c'))), { ...plain, voters: 'ab' });
  t.match(ids(after(ABC, demote('c'))), { ...plain, voters: 'ab', learners: 'c' });
  const withLearner = after(ABC, addLearner('d'));
  t.match(ids(withLearner), { ...plain, voters: 'abc', learners: 'd' });
  t.match(ids(after(withLearner, promote('d'))), { ...plain, voters: 'abcd', learners: '' });
});

t.test('two voters that differ make a joint change that is left by itself', async (t) => {
  const joint = after(ABC, addVoter('d'), remove('a'));
  t.match(ids(joint), { voters: 'bcd', outgoing: 'abc' });
  t.equal(joint.autoLeave, true);
  t.same(
    joint.members.map((member) => member.nodeId),
    ['a', 'b', 'c', 'd'],
    'whoever is on its way out is still reached',
  );
  const left = made(nextConf(joint, { steps: [] }));
  t.match(ids(left), { voters: 'bcd', outgoing: '' });
  t.same(
    left.members.map((member) => member.nodeId),
    ['b', 'c', 'd'],
  );
  t.equal(left.autoLeave, false);
});

t.test('any number of learners may change with one voter and stay simple', async (t) => {
  const next = after(ABC, addLearner('d'), addLearner('e'), remove('c'));
  t.match(ids(next), { voters: 'ab', outgoing: '', learners: 'de' });
});

t.test('an explicit joint change stays until it is left, even for one voter', async (t) => {
  const joint = made(nextConf(ABC, { steps: [addVoter('d')], transition: 'joint' }));
  t.match(ids(joint), { voters: 'abcd', outgoing: 'abc' });
  t.equal(joint.autoLeave, false);
  t.match(reasonOf(joint, { steps: [addVoter('e')] }), /between two configurations/);
});

t.test('a demoted voter becomes a learner only when the joint change is left', async (t) => {
  const joint = after(ABC, demote('a'), addVoter('d'));
  t.match(ids(joint), { voters: 'bcd', outgoing: 'abc', learners: '', next: 'a' });
  const left = made(nextConf(joint, { steps: [] }));
  t.match(ids(left), { voters: 'bcd', outgoing: '', learners: 'a', next: '' });
});

t.test('a group is never left without a voter', async (t) => {
  t.match(reasonOf(confOf(['a']), { steps: [remove('a')] }), /no voter/);
  t.match(reasonOf(ABC, { steps: [remove('a'), remove('b'), remove('c')] }), /no voter/);
  t.match(reasonOf(confOf(['a']), { steps: [demote('a')] }), /no voter/);
});

t.test('a change that names nobody, somebody twice or the wrong one is refused', async (t) => {
  const conf = after(ABC, addLearner('d'));
  const cases: [readonly ConfChangeStep[], RegExp][] = [
    [[remove('x')], /not a member/],
    [[promote('x')], /not a member/],
    [[promote('a')], /not a learner/],
    [[demote('d')], /not a voter/],
    [[addVoter('a')], /already a member/],
    [[addLearner('d')], /already a member/],
    [[addVoter('e'), remove('e')], /named twice/],
    [[promote('d'), demote('d')], /named twice/],
    [[addLearner('a', { life: 2 })], /another incarnation/],
    [[{ kind: 'updateMember', member: memberNamed('a', 2) }], /another incarnation/],
    [[{ kind: 'updateMember', member: memberNamed('a') }], /changes nothing/],
    [[{ kind: 'setLeases', isEnabled: false }], /changes nothing/],
    [[], /nothing to leave/],
    [[remove('a'), addLearner('a')], /demote it instead/],
    [[remove('a'), addVoter('a', 2)], /join as a learner/],
    [[addLearner('e', { replaces: 'x' })], /not a voter/],
    [[addLearner('e', { replaces: 'd' })], /not a voter/],
    [[addLearner('e', { replaces: 'a' }), addLearner('f', { replaces: 'a' })], /already being/],
    [
      [
        addVoter('e'),
        {
          kind: 'addVoter',
          member: { ...memberNamed('f'), incarnation: memberNamed('e').incarnation },
        },
      ],
      /one incarnation/,
    ],
    [[{ kind: 'addVoter', member: { ...memberNamed('e'), address: '' } }], /malformed address/],
    [[{ kind: 'addVoter', member: { ...memberNamed('e'), clientAddress: 'a b' } }], /malformed/],
    [Array.from({ length: 200 }, () => remove('a')), /steps/],
  ];
  for (const [steps, reason] of cases) t.match(reasonOf(conf, { steps }), reason);
});

t.test('an address changes without a vote changing', async (t) => {
  const moved = { ...memberNamed('b'), address: 'elsewhere:9' };
  const next = after(ABC, { kind: 'updateMember', member: moved });
  t.same(next, { ...ABC, members: [memberNamed('a'), moved, memberNamed('c')] });
});

t.test('the lease setting is part of the configuration', async (t) => {
  const next = after(ABC, { kind: 'setLeases', isEnabled: true });
  t.same(next, { ...ABC, isLeaseEnabled: true });
});

t.test('a wiped node comes back by one simple change, as a learner to be promoted', async (t) => {
  const back = after(ABC, remove('b'), addLearner('b', { life: 2, replaces: null }));
  t.match(ids(back), { voters: 'ac', outgoing: '', learners: 'b' });
  t.same(back.promotions, [{ nodeId: 'b', replaces: null }]);
  t.ok(doQuorumsOverlap(ABC, back));
  t.ok(doQuorumsOverlap(back, after(back, promote('b'))));
});

t.test('no configuration holds two lives of one node', async (t) => {
  const steps = [remove('b'), addLearner('b', { life: 2 }), addVoter('d')];
  t.match(reasonOf(ABC, { steps }), /new life of itself/);
  const joint = {
    steps: [remove('b'), addLearner('b', { life: 2 })],
    transition: 'joint',
  } as const;
  t.match(reasonOf(ABC, joint), /new life of itself/);
});

t.test('a promotion goes with its learner, and without the voter it was to replace', async (t) => {
  const wished = after(ABC, addLearner('d', { replaces: 'b' }));
  t.same(wished.promotions, [{ nodeId: 'd', replaces: 'b' }]);
  t.same(after(wished, remove('d')).promotions, []);
  t.same(after(wished, promote('d')).promotions, []);
  t.same(after(wished, remove('b')).promotions, [{ nodeId: 'd', replaces: null }]);
  t.same(after(wished, demote('b')).promotions, [{ nodeId: 'd', replaces: null }]);
  const joint = after(wished, remove('b'), addVoter('e'));
  t.same(joint.promotions, [{ nodeId: 'd', replaces: null }]);
  t.match(reasonOf(wished, { steps: [addLearner('e', { replaces: 'b' })] }), /already being/);
});

t.test('replacing a voter by a learner is one joint change', async (t) => {
  const wished = after(ABC, addLearner('d', { replaces: 'b' }));
  const joint = after(wished, promote('d'), remove('b'));
  t.match(ids(joint), { voters: 'acd', outgoing: 'abc', learners: '' });
  t.match(ids(made(nextConf(joint, { steps: [] }))), { voters: 'acd', outgoing: '' });
});

const names = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const member: fc.Arbitrary<Member> = fc
  .tuple(names, fc.integer({ min: 1, max: 2 }), fc.constantFrom('x:1', 'y:1'))
  .map(([name, life, address]) => ({ ...memberNamed(name, life), address }));
const id: fc.Arbitrary<NodeId> = names.map((name) => nodeId(name));
const step: fc.Arbitrary<ConfChangeStep> = fc.oneof(
  fc.record({
    kind: fc.constant('addLearner' as const),
    member,
    promotion: fc.option(fc.record({ replaces: fc.option(id) })),
  }),
  fc.record({ kind: fc.constant('addVoter' as const), member }),
  fc.record({ kind: fc.constantFrom('promote' as const, 'demote', 'remove'), nodeId: id }),
  fc.record({ kind: fc.constant('updateMember' as const), member }),
  fc.record({ kind: fc.constant('setLeases' as const), isEnabled: fc.boolean() }),
);
const change: fc.Arbitrary<ConfChange> = fc.record({
  // Leaving is one change in a few; two steps and more are what makes joint changes.
  steps: fc.oneof(
    { weight: 1, arbitrary: fc.constant([]) },
    { weight: 3, arbitrary: fc.array(step, { minLength: 1, maxLength: 3 }) },
  ),
  transition: fc.constantFrom('auto' as const, 'auto', 'joint'),
});
const walk = fc.array(change, { minLength: 1, maxLength: 30, size: 'max' });

t.test('random walks equal the reference model, and quorums in a row always meet', async (t) => {
  const reached = { accepted: 0, joint: 0, refused: 0 };
  const property = fc.property(walk, (changes) => {
    let conf: ConfState = ABC;
    let model: Model = modelOf(['a', 'b', 'c']);
    for (const next of changes) {
      const outcome = nextConf(conf, next);
      const expected = modelNext(model, next);
      if (outcome.ok !== (expected !== null))
        throw new Error(`model disagrees: ${verdict(outcome)}`);
      if (!outcome.ok || expected === null) {
        reached.refused += 1;
        continue;
      }
      const flaw = flawOfConf(outcome.conf) ?? sameAs(expected, outcome.conf);
      if (flaw !== null) throw new Error(flaw);
      if (!doQuorumsOverlap(conf, outcome.conf)) throw new Error('two quorums do not meet');
      reached.accepted += 1;
      if (isJoint(outcome.conf)) reached.joint += 1;
      conf = outcome.conf;
      model = expected;
    }
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 1_000 }));
  t.comment(JSON.stringify(reached));
  t.ok(reached.accepted > 2_000 && reached.joint > 300 && reached.refused > 2_000);
});

const verdict = (outcome: NextConf): string => (outcome.ok ? 'accepted' : outcome.reason);

t.test('a change asked again after it took effect never takes effect twice', async (t) => {
  const property = fc.property(walk, (changes) => {
    let conf: ConfState = ABC;
    for (const next of changes) {
      const once = nextConf(conf, next);
      if (!once.ok) continue;
      conf = once.conf;
      // A joint configuration takes no further steps; elsewhere a repeated step has nothing to do
      // or somebody to miss. Only a step that undoes itself could repeat, and there is none.
      if (nextConf(conf, next).ok) throw new Error(JSON.stringify(next));
      const { conf: decoded } = decodeConf(encodeConf(conf));
      if (flawOfConf(decoded) !== null) throw new Error('it does not survive encoding');
    }
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 500 }));
});

t.test('the check of quorums finds sets that decide apart', async (t) => {
  t.notOk(doQuorumsOverlap(ABC, confOf(['c', 'd', 'e'])));
  t.notOk(doQuorumsOverlap(confOf(['a']), confOf(['a', 'b', 'c'])));
  t.notOk(doQuorumsOverlap(ABC, confOf(['a', 'b', 'c', 'd', 'e'])), 'two voters at once');
  t.ok(doQuorumsOverlap(ABC, confOf(['a', 'b'])));
  t.notOk(
    doQuorumsOverlap(confOf(['a']), { ...confOf(['a']), members: [memberNamed('a', 2)] }),
    'a wiped node is another one',
  );
});
