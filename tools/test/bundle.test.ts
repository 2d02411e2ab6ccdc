/**
 * Goal: after set-up a node runs from the bundle, and the bundle is the same program. That a start
 * falls back to modules when one changed is shown by `program-url.test.ts` of the node.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const SOURCE = join(ROOT, 'packages/node/dist/src');
const BUNDLE = join(ROOT, 'packages/node/dist/bundle');

interface BundleModule {
  bundleServer(root: string): Promise<void>;
}
interface LaunchModule {
  programUrl(executable: string): URL;
}

const { bundleServer } = (await import(
  pathToFileURL(join(ROOT, 'tools/bundle.mjs')).href
)) as BundleModule;
const { programUrl } = (await import(
  pathToFileURL(join(SOURCE, 'launch/program-url.js')).href
)) as LaunchModule;

// Nothing to do after `npm test`'s own set-up; for a test file that is run by hand.
await bundleServer(ROOT);

const output = async (program: string, ...args: readonly string[]): Promise<string> =>
  (await promisify(execFile)(process.execPath, [program, ...args])).stdout;

t.test('after set-up the executable runs the bundle', async (t) => {
  const executable = pathToFileURL(join(SOURCE, 'main.js')).href;
  t.equal(fileURLToPath(programUrl(executable)), join(BUNDLE, 'program.js'));
});

t.test('the bundle and the modules are the same program', async (t) => {
  const fromBundle = await output(join(BUNDLE, 'program.js'), 'serve', '--help');
  const fromModules = await output(join(SOURCE, 'program.js'), 'serve', '--help');
  t.equal(fromBundle, fromModules);
  t.match(fromBundle, /--data/);
});

t.test('every thread of a node has a file of its own in the bundle', async (t) => {
  const program = readFileSync(join(BUNDLE, 'program.js'), 'utf8');
  for (const name of ['wal-worker', 'scrub-worker', 'lane-worker']) {
    t.match(
      program,
      new RegExp(`new URL\\(["']\\./${name}\\.js["'], import\\.meta\\.url\\)`),
      name,
    );
    t.ok(existsSync(join(BUNDLE, `${name}.js`)), name);
  }
});

t.test('a bundle that is current is left alone', async (t) => {
  const before = readFileSync(join(BUNDLE, 'bundle.json'), 'utf8');
  await bundleServer(ROOT);
  t.equal(readFileSync(join(BUNDLE, 'bundle.json'), 'utf8'), before);
});
