// The README of packages/raft shows this example, so it must be the very same, small, and true.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const ROOT = new URL('../../../../', import.meta.url);
const SOURCE = readFileSync(new URL('examples/raft-counter/src/main.ts', ROOT), 'utf8');
const README = readFileSync(new URL('packages/raft/README.md', ROOT), 'utf8');

t.test('three replicas count to 200 although the leader restarts half-way', async (t) => {
  const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [main]);
  t.equal(stdout, 'counted 200, 200, 200\n');
});

t.test('the README shows the example as it is, in less than 80 lines', async (t) => {
  const [, shown] = README.match(/```ts\n([\s\S]*?)```/) ?? [];
  t.equal(shown, SOURCE);
  t.ok(SOURCE.trimEnd().split('\n').length < 80);
});
