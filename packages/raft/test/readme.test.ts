// The package is published alone: its README must name everything a host can call or set, and the
// tests that DESIGN.md relies on must exist.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DEFAULT_GROUP_ID, nodeId, SeededRandom } from '@holdfast/base';
import t from 'tap';
import { RaftCore } from '../src/core.ts';
import { resolveOptions } from '../src/options-resolved.ts';
import { incarnationOf } from '../src/testing/core-cluster.ts';
import { testHash } from '../src/testing/test-hash.ts';

const PACKAGE = new URL('../../', import.meta.url);
const README = readFileSync(new URL('README.md', PACKAGE), 'utf8');

t.test('the README names every method and every option', async (t) => {
  for (const name of Object.getOwnPropertyNames(RaftCore.prototype))
    if (name !== 'constructor') t.match(README, `\`${name}(`, name);
  const options = resolveOptions({
    id: nodeId('a'),
    group: DEFAULT_GROUP_ID,
    incarnation: incarnationOf('a'),
    random: new SeededRandom(1),
    hash: testHash,
  });
  for (const name of Object.keys(options)) t.match(README, `\`${name}\``, name);
});

t.test('the package holds its code and its README and depends on base alone', async (t) => {
  const manifest: unknown = JSON.parse(readFileSync(new URL('package.json', PACKAGE), 'utf8'));
  t.strictSame((manifest as { dependencies: unknown }).dependencies, {
    '@holdfast/base': 'workspace:*',
  });
  const cwd = fileURLToPath(PACKAGE);
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json'], { cwd });
  const [packed] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const paths = packed.files.map(({ path }) => path);
  for (const path of ['README.md', 'package.json', 'dist/src/index.js', 'dist/src/index.d.ts'])
    t.ok(paths.includes(path), path);
  t.notOk(paths.some((path) => path.startsWith('dist/test/') || path.startsWith('src/')));
});

t.test('the tests that DESIGN.md names exist', async (t) => {
  const design = readFileSync(new URL('DESIGN.md', PACKAGE), 'utf8');
  const directory = new URL('test/', PACKAGE);
  const sources = readdirSync(directory)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(new URL(name, directory), 'utf8'));
  const titles = [...design.matchAll(/(?:\| |; )'([^'|]+)'/g)].map(([, title]) => title!);
  t.ok(titles.length > 60);
  for (const title of titles)
    t.ok(
      sources.some((source) => source.includes(`'${title}'`)),
      title,
    );
});
