// One message that cannot be true stops nobody; a leader that goes on contradicting does.
import { nodeId } from '@holdfast/base';
import t from 'tap';
import { Contradictions } from '../src/replica/contradictions.ts';

const from = nodeId('n1');
const forked = { kind: 'contradictionSeen', from, contradiction: 'log-forked' } as const;

t.test('a burst of copies of one bad frame stops nobody', async (t) => {
  const contradictions = new Contradictions();
  for (let i = 0; i < 100; i++) t.equal(contradictions.note(forked, 10 + i), null);
});

t.test('a leader that contradicts this log again and again stops the replica', async (t) => {
  const contradictions = new Contradictions();
  const verdicts = [0, 100, 200, 300, 400].map((nowMs) => contradictions.note(forked, nowMs));
  t.same(verdicts, [null, null, null, null, null], 'not yet: it could be one burst');
  t.match(contradictions.note(forked, 500), { code: 'LOG_FORKED', details: { from, count: 6 } });
});

t.test('contradictions far apart, of others, or of another kind do not add up', async (t) => {
  const contradictions = new Contradictions();
  for (let i = 0; i < 20; i++) t.equal(contradictions.note(forked, i * 6_000), null);
  const other = { ...forked, from: nodeId('n2') };
  const missing = { ...forked, contradiction: 'acknowledged-entries-missing' } as const;
  for (let i = 0; i < 20; i++) {
    t.equal(contradictions.note([forked, other, missing][i % 3]!, 200_000 + i * 200), null);
  }
});

t.test('two leaders of one term accuse neither log', async (t) => {
  const contradictions = new Contradictions();
  const second = { ...forked, contradiction: 'second-leader' } as const;
  for (let i = 0; i < 50; i++) t.equal(contradictions.note(second, i * 200), null);
});
