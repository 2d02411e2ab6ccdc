// Quorum maths against brute force: every subset of members, plain and joint.
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { jointReached, jointVote } from '../src/quorum/joint.ts';
import { majorityCount, majorityReached, majorityVote } from '../src/quorum/majority.ts';

const SEED = 20_240_601;

/** fast-check prints seed and path of what it found. */
const holds = <Args>(t: Test, property: fc.IProperty<Args>): void => {
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 1_000 }));
};

/** Largest candidate value that more than half of the members have reached. */
function reachedByCounting(values: readonly number[]): number {
  if (values.length === 0) return Number.POSITIVE_INFINITY;
  const isReached = (floor: number) =>
    2 * values.filter((value) => value >= floor).length > values.length;
  return Math.max(...values.filter(isReached));
}

/** Tries every way the members not heard from could still vote. */
function voteByEnumeration(votes: readonly (boolean | undefined)[]): 'won' | 'lost' | 'pending' {
  const unheard = votes.filter((vote) => vote === undefined).length;
  const granted = votes.filter((vote) => vote === true).length;
  const outcomes = new Set<boolean>();
  for (let extra = 0; extra <= unheard; extra++)
    outcomes.add(votes.length === 0 || 2 * (granted + extra) > votes.length);
  if (outcomes.size === 2) return 'pending';
  return outcomes.has(true) ? 'won' : 'lost';
}

const values = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 9 });
const votes = fc.array(fc.constantFrom(true, false, undefined), { maxLength: 9 });

t.test('the index a majority has reached equals brute force', async (t) => {
  holds(
    t,
    fc.property(values, (list) => majorityReached([...list]) === reachedByCounting(list)),
  );
});

t.test('a joint quorum reaches only what both majorities have reached', async (t) => {
  holds(
    t,
    fc.property(values, values, (incoming, outgoing) => {
      const expected = Math.min(reachedByCounting(incoming), reachedByCounting(outgoing));
      return jointReached([...incoming], [...outgoing]) === expected;
    }),
  );
});

t.test('a vote is won, lost or pending exactly when enumeration says so', async (t) => {
  holds(
    t,
    fc.property(votes, (list) => majorityVote(list) === voteByEnumeration(list)),
  );
});

t.test('a joint vote is lost by either side and won only by both', async (t) => {
  holds(
    t,
    fc.property(votes, votes, (incoming, outgoing) => {
      const sides = [voteByEnumeration(incoming), voteByEnumeration(outgoing)];
      const expected = sides.includes('lost')
        ? 'lost'
        : sides.every((side) => side === 'won')
          ? 'won'
          : 'pending';
      return jointVote(incoming, outgoing) === expected;
    }),
  );
});

t.test('any two majorities of one member set share a member', async (t) => {
  for (let count = 1; count <= 9; count++)
    t.ok(2 * majorityCount(count) > count, `two majorities of ${count} overlap`);
});

t.test('no members at all agree to everything', async (t) => {
  t.equal(majorityReached([]), Number.POSITIVE_INFINITY);
  t.equal(majorityVote([]), 'won');
  t.equal(jointVote([true, undefined, true], []), 'won');
});

t.test('every way to vote of up to nine members, and of every joint pair up to four', async (t) => {
  const waysOf = (count: number): (boolean | undefined)[][] =>
    count === 0
      ? [[]]
      : waysOf(count - 1).flatMap((way) => [true, false, undefined].map((one) => [...way, one]));
  let tried = 0;
  for (let count = 0; count <= 9; count++)
    for (const way of waysOf(count)) {
      tried += 1;
      if (majorityVote(way) !== voteByEnumeration(way)) t.fail(`${count} members: ${way}`);
    }
  t.equal(tried, (3 ** 10 - 1) / 2);
  const sides = [0, 1, 2, 3, 4].flatMap(waysOf);
  for (const incoming of sides)
    for (const outgoing of sides) {
      const results = [voteByEnumeration(incoming), voteByEnumeration(outgoing)];
      const expected = results.includes('lost')
        ? 'lost'
        : results.includes('pending')
          ? 'pending'
          : 'won';
      if (jointVote(incoming, outgoing) !== expected) t.fail(`${incoming} and ${outgoing}`);
    }
});

t.test('any quorum of a joint configuration meets any quorum of either side', async (t) => {
  const subsetsOf = (ids: readonly string[]): string[][] =>
    ids.reduce<string[][]>((sets, id) => sets.concat(sets.map((set) => [...set, id])), [[]]);
  const decides = (set: readonly string[], members: readonly string[]) =>
    majorityVote(members.map((id) => set.includes(id))) === 'won';
  const all = ['a', 'b', 'c', 'd', 'e'];
  const everyone = subsetsOf(all);
  for (const incoming of everyone.filter(({ length }) => length > 0))
    for (const outgoing of everyone.filter(({ length }) => length > 0)) {
      const joint = everyone.filter((set) => decides(set, incoming) && decides(set, outgoing));
      const plain = everyone.filter((set) => decides(set, incoming));
      const isMet = joint.every((left) =>
        plain.every((right) => left.some((id) => right.includes(id))),
      );
      if (!isMet) t.fail(`${incoming} after ${outgoing}`);
    }
  t.pass('961 pairs of member sets');
});
