// The pure parts of the demo: what it reads, how it embeds, what it counts as lost, what it prints.
import t from 'tap';
import { collectTextFiles, repositoryRoot } from '../src/collect.ts';
import { EMBEDDING_DIMENSION, HashedEmbedder } from '../src/embedder.ts';
import { Ledger } from '../src/ledger.ts';
import { cutIntoPassages, type Passage } from '../src/passages.ts';
import { Screen, wrap } from '../src/screen.ts';

const PROSE =
  'A connection that was cut is opened again after a pause, and the pause grows. '.repeat(2);

t.test('this repository and its packages hold at least two thousand passages', async (t) => {
  const files = collectTextFiles(repositoryRoot());
  const passages = cutIntoPassages(files, 6_000);
  t.ok(passages.length >= 2_000, `${passages.length} passages`);
  t.same(
    passages.map((passage) => passage.id),
    passages.map((_passage, i) => i + 1),
  );
  t.equal(new Set(passages.map((passage) => passage.text)).size, passages.length, 'no duplicates');
  t.same(cutIntoPassages(collectTextFiles(repositoryRoot()), 6_000), passages, 'same every time');
});

t.test('Markdown becomes prose under its heading, without code, tables and badges', async (t) => {
  const text = [
    '# Title',
    '',
    '[![badge](https://x/y.svg)](https://x)',
    '',
    PROSE,
    '',
    '## Retrying `calls`',
    '',
    '```js',
    'const secret = 1;',
    '```',
    '',
    '| a | b |',
    '',
    `See [the guide](https://example.org): **${PROSE}**`,
    '',
    'Too short.',
  ].join('\n');
  const passages = cutIntoPassages([{ path: 'ws/README.md', text }], 100);
  t.match(passages, [
    { id: 1, heading: 'Title', source: 'ws/README.md' },
    { id: 2, heading: 'Retrying calls', text: /^See the guide: A connection/ },
  ]);
  t.notMatch(JSON.stringify(passages), /secret|badge|\*\*|https/);
});

t.test('the same words twice are one passage, and the limit holds', async (t) => {
  const file = (path: string, text: string) => ({ path, text });
  const twice = [file('a.md', PROSE), file('b.md', PROSE.toUpperCase())];
  t.equal(cutIntoPassages(twice, 100).length, 1);
  const long = Array.from({ length: 50 }, (_unused, i) => `Sentence number ${i} says a thing.`);
  const pieces = cutIntoPassages([file('c.md', long.join(' '))], 100);
  t.ok(pieces.length > 3 && pieces.every((piece) => piece.text.length <= 420));
  t.equal(cutIntoPassages([file('c.md', long.join(' '))], 2).length, 2);
});

t.test('the embedder is deterministic, of length one, and puts related texts first', async (t) => {
  const texts = [
    'Sockets are closed when the remote host does not answer a ping in time.',
    'A histogram counts observations in buckets of increasing size.',
    'Glob patterns match file names; a leading dot must be written out.',
  ];
  const embedder = HashedEmbedder.fit(texts);
  const vectors = texts.map((text) => embedder.embed(text));
  t.same(HashedEmbedder.fit(texts).embed(texts[0] ?? ''), vectors[0]);
  t.equal(vectors[0]?.length, EMBEDDING_DIMENSION);
  const dot = (a: Float32Array, b: Float32Array) =>
    a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
  for (const vector of vectors) t.ok(Math.abs(dot(vector, vector) - 1) < 1e-5);
  const bestFor = (question: string): number => {
    const query = embedder.embed(question);
    const scores = vectors.map((vector) => dot(query, vector));
    return scores.indexOf(Math.max(...scores));
  };
  t.equal(bestFor('How do I ping a socket?'), 0);
  t.equal(bestFor('Which buckets does a histogram have?'), 1);
  t.equal(bestFor('Do globs match dots?'), 2);
  t.ok(embedder.embed('?!').every((value) => value === 0));
});

t.test('the ledger finds what is missing or changed, and the gap around the kill', async (t) => {
  const passage = (id: number): Passage => ({ id, source: 's', heading: 'h', text: `text ${id}` });
  const ledger = new Ledger();
  ledger.acknowledge([passage(1), passage(2)], { index: 10, term: 4 }, 100);
  ledger.acknowledge([passage(4)], { index: 12, term: 4 }, 155);
  ledger.acknowledge([passage(3)], { index: 11, term: 5 }, 900);
  t.equal(ledger.size, 4);
  t.equal(ledger.failoverMs(150, 4), 800, 'a late answer of the dead leader does not count');
  t.equal(ledger.failoverMs(950, 5), null, 'no acknowledgement of a later term');
  const found = [
    { id: 1, version: 10, text: 'text 1' },
    { id: 2, version: 10, text: 'text 2' },
    { id: 3, version: 11, text: 'text 3' },
    { id: 4, version: 12, text: 'text 4' },
  ];
  t.same(ledger.audit(found), { checkedCount: 4, missingIds: [], changedIds: [] });
  t.match(ledger.audit(found.slice(1)), { missingIds: [1] });
  t.match(ledger.audit(found.with(2, { id: 3, version: 12, text: 'text 3' })), {
    changedIds: [3],
  });
  t.match(ledger.audit(found.with(2, { id: 3, version: 11, text: 'other' })), {
    changedIds: [3],
  });
});

t.test('without a terminal the screen prints plain lines, one at each quarter', async (t) => {
  let output = '';
  const write = (text: string) => {
    output += text;
  };
  const screen = new Screen({ isTerminal: false, hasColour: false, write });
  const bar = screen.progress(100, 'rows');
  for (let value = 1; value <= 100; value++) bar.advanceTo(value);
  bar.stop();
  screen.check(false, 'digests');
  t.same(output.split('\n'), [
    '  25 of 100 rows',
    '  50 of 100 rows',
    '  75 of 100 rows',
    '  100 of 100 rows',
    '  FAIL digests',
    '',
  ]);
  t.same(wrap('one two three', 7), ['one two', 'three']);
});
