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
