import { mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { type BundleFacts, isBundleCurrent, programUrl } from '../src/launch/program-url.ts';

/** A compiled program of two modules, and a bundle that was made from them. */
function bundled(t: Test) {
  const folder = t.testdir({ src: { 'main.js': 'main', 'program.js': 'program' }, bundle: {} });
  const inputs = ['main.js', 'program.js'].map((name) => {
    const { mtimeMs, size } = statSync(join(folder, 'src', name));
    return { path: `../src/${name}`, sizeBytes: size, modifiedMs: mtimeMs };
  });
  const facts: BundleFacts = { version: 1, inputs };
  writeFacts(folder, JSON.stringify(facts));
  return {
    folder,
    facts,
    executable: pathToFileURL(join(folder, 'src/main.js')).href,
    bundle: pathToFileURL(join(folder, 'bundle/')),
  };
}

const writeFacts = (folder: string, text: string): void =>
  writeFileSync(join(folder, 'bundle/bundle.json'), text);

t.test('a bundle that was made from what is there runs', async (t) => {
  const { bundle, executable } = bundled(t);
  t.equal(isBundleCurrent(bundle), true);
  t.equal(programUrl(executable).href, new URL('program.js', bundle).href);
});

t.test('a module that was compiled anew runs itself, not the bundle', async (t) => {
  const { executable, folder } = bundled(t);
  utimesSync(join(folder, 'src/program.js'), 1, 1);
  t.equal(programUrl(executable).href, new URL('./program.js', executable).href);
});

t.test('so does one of another size with the old time, and one that is gone', async (t) => {
  const { bundle, folder } = bundled(t);
  const path = join(folder, 'src/program.js');
  const { atime, mtime } = statSync(path);
  writeFileSync(path, 'a planted bug');
  utimesSync(path, atime, mtime);
  t.equal(isBundleCurrent(bundle), false);
  rmSync(path);
  t.equal(isBundleCurrent(bundle), false);
});

t.test('facts that are missing, cut, of another version or empty make no bundle', async (t) => {
  const { bundle, facts, folder } = bundled(t);
  const text = JSON.stringify(facts);
  const refused = [
    text.slice(0, -5),
    '',
    'null',
    '{}',
    JSON.stringify({ ...facts, version: 2 }),
    JSON.stringify({ ...facts, inputs: [] }),
    JSON.stringify({ ...facts, inputs: [{}] }),
    JSON.stringify({ ...facts, inputs: [null] }),
  ];
  for (const one of refused) {
    writeFacts(folder, one);
    t.equal(isBundleCurrent(bundle), false, one.slice(0, 40));
  }
  rmSync(join(folder, 'bundle'), { recursive: true });
  t.equal(isBundleCurrent(bundle), false, 'no folder');
  mkdirSync(join(folder, 'bundle'));
  writeFacts(folder, text);
  t.equal(isBundleCurrent(bundle), true, 'and whole again');
});
