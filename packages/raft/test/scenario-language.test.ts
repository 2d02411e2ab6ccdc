// The language itself: what it refuses, and that a trace depends on nothing but the text.
import t from 'tap';
import { rerecord } from '../src/testing/scenario/runner.ts';
import { diffText } from '../src/testing/scenario/text-diff.ts';

const script = (...lines: readonly string[]): string => `${lines.join('\n')}\n----\n`;

t.test('the same text gives the same trace', async (t) => {
  const text = script('nodes a b c', 'tick all 40', 'settle', 'status');
  t.equal(rerecord(text), rerecord(text));
});

t.test('re-recording what was recorded changes nothing', async (t) => {
  const recorded = rerecord(script('# why', 'nodes a b', 'campaign a', 'settle'));
  t.equal(rerecord(recorded), recorded);
  t.match(recorded, 'a is leader t1');
});

t.test('unknown verbs, nodes, options and words are refused with their line', async (t) => {
  const refusals = {
    'line 2, fly: unknown verb': script('nodes a', 'fly a'),
    'line 2, campaign b: scenario: there is no node b': script('nodes a', 'campaign b'),
    'line 2, tick: does not know fast': script('nodes a', 'tick a 1 fast'),
    'line 1, nodes: does not know electoin': script('nodes a electoin=5'),
    'line 2, propose: needs something to propose': script('nodes a', 'propose a'),
    'line 1, campaign a: scenario: the first command is nodes': script('campaign a'),
    'scenario line 1: the last block needs ----': 'nodes a\n',
  };
  for (const [message, text] of Object.entries(refusals))
    t.throws(() => rerecord(text), { message: new RegExp(message.replace(/[.*+?]/g, '\\$&')) });
});

t.test('a broken invariant fails the scenario and shows the last events', async (t) => {
  // b claims to hold what it does not: a commits it, and the checker looks at b's disk.
  const text = script(
    'nodes a b c',
    'elect a',
    'propose a x',
    'persist a',
    'send b>a appendResponse match=2',
  );
  t.throws(() => rerecord(text), {
    message: /line 5, send .*committed without a durable quorum(.|\n)*a writes/,
  });
});

t.test('a difference is shown as lines to read', async (t) => {
  t.equal(diffText('a\nb\nc', 'a\nb\nc'), '');
  t.equal(diffText('a\nb\nc', 'a\nx\nc'), '  a\n- b\n+ x\n  c');
  const long = Array.from({ length: 20 }, (_, i) => `${i}`);
  t.equal(diffText(long.join('\n'), long.slice(0, 19).join('\n')), '  16\n  17\n  18\n- 19');
});
