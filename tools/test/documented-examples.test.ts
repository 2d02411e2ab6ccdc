/**
 * Goal: the programs that the pages show to a reader do what the pages say. Method: each runs as a
 * process of its own against a real node in this process.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openEmbedded } from '@holdfast/node';
import t from 'tap';

const root = new URL('../../../', import.meta.url);
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'holdfast-examples-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

const node = await openEmbedded({ dataDir: join(folder, 'data') });
t.teardown(() => node.close());

/** Output of the program; rejects when it ends with a code other than 0. */
async function outputOf(path: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [path, ...args]);
  return stdout;
}

t.test('the 40-line client of the protocol page writes and finds a point', async (t) => {
  const path = fileURLToPath(new URL('examples/demo/raw-client.mjs', root));
  t.ok(readFileSync(path, 'utf8').trimEnd().split('\n').length <= 40, 'as short as promised');
  const output = await outputOf(path, node.address);
  t.match(output, /^written .*index/m);
  t.match(output, /^found 7 .*hello/m);
});

t.test('the filters of the filter page find, count, scroll and delete', async (t) => {
  const page = readFileSync(new URL('docs/FILTERS.md', root), 'utf8');
  const blocks = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, block]) => block ?? '');
  t.equal(blocks.length, 2, 'the examples were found');
  const [filters = '', indexes = ''] = blocks;
  const library = new URL('packages/client/dist/src/index.js', root).href;
  const path = join(folder, 'filters.mjs');
  writeFileSync(
    path,
    `import { HoldfastClient } from '${library}';
    const client = await HoldfastClient.connect({ nodes: ['${node.address}'] });
    ${indexes}
    const collection = client.collection('docs');
    const vector = new Float32Array(128).fill(0.1);
    const colors = ['red', 'green', 'blue'];
    await collection.upsert(
      Array.from({ length: 90 }, (_, id) => {
        const price = id % 30;
        return { id, vector, payload: { color: colors[id % 3], price, archived: id < 45 } };
      }),
    );
    ${filters}
    console.log('left', (await collection.count()).count);
    await client.dropCollection('docs');
    await client.close();`,
  );
  const matching = Array.from({ length: 90 }, (_, id) => id).filter(
    (id) => id >= 45 && id % 3 !== 1 && id % 30 >= 10 && id % 30 < 20,
  );
  t.equal(await outputOf(path), [...matching, `left ${90 - matching.length}`, ''].join('\n'));
});

t.test('the client example of the README writes and finds a point', async (t) => {
  const page = readFileSync(new URL('README.md', root), 'utf8');
  const example = /```js\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  t.ok(example.includes('HoldfastClient.connect'), 'the example was found');
  t.ok(example.trimEnd().split('\n').length <= 10, 'ten lines, as promised');
  const library = new URL('packages/client/dist/src/index.js', root).href;
  const path = join(folder, 'example.mjs');
  writeFileSync(
    path,
    example
      .replace("'@holdfast/client'", `'${library}'`)
      .replace(/nodes: \[[^\]]*\]/, `nodes: ['${node.address}']`),
  );
  t.match(await outputOf(path), /^1 0\.99\d* anchors$/m);
});
