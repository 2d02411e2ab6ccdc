/** Goal: the exact check of a simulated history tells each wrong answer from a right one. */
import t from 'tap';
import { SimHistory } from '../src/sim/sim-history.ts';

const history = (): SimHistory => new SimHistory(() => 0);
const seen = (key: number, version: number, value: number) => new Map([[key, { version, value }]]);

function written(one: SimHistory, value: number, keys: readonly number[], index: number): void {
  one.acknowledged(one.startWrite('upsert', value, keys, null), index);
}

t.test('a read that saw the newest write before its index is right', (t) => {
  const one = history();
  written(one, 1, [7], 10);
  written(one, 2, [7], 12);
  one.readAnswered(one.startRead([7], true), 12, seen(7, 12, 2));
  t.strictSame(one.problems(), []);
  t.end();
});

t.test('a read that misses an acknowledged write is wrong', (t) => {
  const one = history();
  written(one, 1, [7], 10);
  written(one, 2, [7], 12);
  one.readAnswered(one.startRead([7], true), 12, seen(7, 10, 1));
  t.match(one.problems(), [/key 7 has version 12, a read saw 10/]);
  t.end();
});

t.test('a stale answer to a linearizable read is wrong, to a stale read it is not', (t) => {
  for (const isLinearizable of [true, false]) {
    const one = history();
    written(one, 1, [7], 10);
    written(one, 2, [7], 12);
    one.readAnswered(one.startRead([7], isLinearizable), 11, seen(7, 10, 1));
    t.equal(one.problems().length, isLinearizable ? 1 : 0);
  }
  t.end();
});

t.test('a value that was refused, or that nobody wrote, must not be seen', (t) => {
  const one = history();
  one.refused(one.startWrite('upsert', 1, [7], null));
  one.readAnswered(one.startRead([7], true), 9, seen(7, 9, 1));
  one.readAnswered(one.startRead([8], true), 9, seen(8, 9, 99));
  t.match(one.problems(), [/whose write was refused/, /which nobody wrote there/]);
  t.end();
});

t.test('one write must not take effect twice', (t) => {
  const one = history();
  written(one, 1, [7], 10);
  one.readAnswered(one.startRead([7], true), 14, seen(7, 14, 1));
  t.match(one.problems().join(), /value 1 took effect at 10 and again at 14/);
  t.end();
});

t.test('a write to several keys is seen on all of them or on none', (t) => {
  const one = history();
  one.unknown(one.startWrite('upsert', 1, [7, 8], null));
  one.readAnswered(one.startRead([7, 8], true), 10, seen(7, 10, 1));
  t.match(one.problems(), [/key 8 has version 10, a read saw 0/]);
  t.end();
});

t.test(
  'what is missing may be explained by a delete of unknown outcome, and by nothing else',
  (t) => {
    for (const hasDelete of [true, false]) {
      const one = history();
      written(one, 1, [7], 10);
      if (hasDelete) one.unknown(one.startWrite('delete', 2, [7], null));
      one.readAnswered(one.startRead([7], true), 12, new Map());
      t.equal(one.problems().length, hasDelete ? 0 : 1);
    }
    t.end();
  },
);

t.test('a deleted key stays deleted until it is written again', (t) => {
  const one = history();
  written(one, 1, [7], 10);
  one.acknowledged(one.startWrite('delete', 2, [7], null), 12);
  one.readAnswered(one.startRead([7], true), 12, seen(7, 10, 1));
  t.match(one.problems(), [/key 7 has version 0, a read saw 10/]);
  t.end();
});

t.test('a condition that did not hold must refuse, one that held must not', (t) => {
  const wrong = history();
  written(wrong, 1, [7], 10);
  wrong.acknowledged(wrong.startWrite('upsert', 2, [7], [{ key: 7, version: 4 }]), 12);
  t.match(wrong.problems(), [/written over version 10 of 7, not 4/]);
  const refused = history();
  written(refused, 1, [7], 10);
  const write = refused.startWrite('upsert', 2, [7], [{ key: 7, version: 10 }]);
  refused.conflicted(write, 12, new Map([[7, 10]]));
  t.match(refused.problems(), [/refused for 7, which has the version asked for/]);
  t.end();
});

t.test('a count is of the points that exist at its index', (t) => {
  const one = history();
  written(one, 1, [7, 8], 10);
  one.countAnswered(0, 10, 2);
  t.strictSame(one.problems(), []);
  one.countAnswered(0, 10, 3);
  t.match(one.problems(), [/there are 2 to 2 points, 3 were counted/]);
  t.end();
});

/** Of values 1, 5, 9 the group is 1; of 2 it is 2. */
function deletedGroup(
  one: SimHistory,
  index: number,
  count: number,
  begun = one.startFilterDelete(1, [7, 8]),
) {
  one.filterDeleted(begun, index, count);
}

t.test('a delete by filter takes what matches and leaves the rest', (t) => {
  const one = history();
  written(one, 1, [7], 10);
  written(one, 2, [8], 11);
  deletedGroup(one, 12, 1);
  one.readAnswered(one.startRead([7, 8], true), 12, seen(8, 11, 2));
  t.strictSame(one.problems(), []);
  const wrong = history();
  written(wrong, 1, [7], 10);
  deletedGroup(wrong, 12, 1);
  wrong.readAnswered(wrong.startRead([7], true), 12, seen(7, 10, 1));
  t.match(wrong.problems(), [/key 7 has version 0, a read saw 10/]);
  t.end();
});

t.test('a delete by filter that took too many or too few is wrong', (t) => {
  for (const count of [0, 2]) {
    const one = history();
    written(one, 1, [7], 10);
    written(one, 2, [8], 11);
    deletedGroup(one, 12, count);
    t.match(one.problems(), [/a delete by filter at 12: 1 to 1 match/]);
  }
  t.end();
});

t.test('a delete by filter may come after another one that nobody was told of', (t) => {
  for (const isUnknown of [true, false]) {
    const one = history();
    written(one, 1, [7], 10);
    const first = one.startFilterDelete(1, [7, 8]);
    one.filterDeleteFailed(first, [7, 8], !isUnknown);
    deletedGroup(one, 12, 0);
    t.equal(one.problems().length, isUnknown ? 0 : 1);
  }
  t.end();
});

t.test('what is written while a delete by filter is under way may stay or go', (t) => {
  for (const isGone of [true, false]) {
    const one = history();
    const begun = one.startFilterDelete(1, [7, 8]);
    written(one, 1, [7], 10);
    deletedGroup(one, 12, isGone ? 1 : 0, begun);
    one.readAnswered(one.startRead([7], true), 12, isGone ? new Map() : seen(7, 10, 1));
    t.strictSame(one.problems(), []);
  }
  t.end();
});

t.test('a filtered read gives all of its group and nothing else', (t) => {
  const one = history();
  written(one, 1, [7], 10);
  written(one, 2, [8], 11);
  one.readAnswered(one.startRead([7, 8], true, 1), 12, seen(7, 10, 1));
  one.countAnswered(11, 12, 1, 1);
  t.strictSame(one.problems(), []);
  one.readAnswered(one.startRead([7, 8], true, 1), 12, new Map());
  t.match(one.problems(), [/key 7 has version 10, a read saw 0/]);
  const wrong = history();
  written(wrong, 2, [8], 11);
  wrong.readAnswered(wrong.startRead([8], true, 1), 12, seen(8, 11, 2));
  wrong.countAnswered(11, 12, 1, 1);
  t.match(wrong.problems(), [/key 8 has version 0, a read saw 11/, /0 to 0 points, 1 were/]);
  t.end();
});
