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
