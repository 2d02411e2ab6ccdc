// Orders of failpoints as text, what a thread does when it gets there, and that a process really
// ends at the place. Every place is named once, and stands somewhere in the product.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { armFailpoints, FAILPOINTS, failpoint } from '@holdfast/base';
import t from 'tap';
import { failpointHandler, parseFailpoints } from '../src/failpoint-arming.ts';

const PACKAGES = fileURLToPath(new URL('../../../', import.meta.url));

function worldOf(text: string) {
  const story: string[] = [];
  const handler = failpointHandler(parseFailpoints(text), {
    kill: () => story.push('kill'),
    delay: (delayMs) => story.push(`delay ${delayMs}`),
    noteSeen: (name) => story.push(`seen ${name}`),
  });
  return { handler, story };
}

t.test('orders are carried out at the hit that they name', async (t) => {
  const { handler, story } = worldOf('wal.before-sync=kill@2,wal.before-write=delay:30');
  for (let i = 0; i < 3; i++) {
    handler('wal.before-write');
    handler('wal.before-sync');
  }
  t.same(story, [
    ...['seen wal.before-write', 'delay 30', 'seen wal.before-sync'],
    ...['delay 30', 'kill', 'delay 30'],
  ]);
});

t.test('what is no order is refused by name', async (t) => {
  for (const text of ['wal.before-sync', 'nowhere=kill', 'wal.before-sync=explode', 'a=kill@0']) {
    t.throws(() => parseFailpoints(text), { code: 'CONFIG_INVALID' }, text);
  }
  t.same(parseFailpoints(''), []);
});

t.test('off, a place does nothing; armed, it is told; disarmed, it is quiet again', async (t) => {
  const seen: string[] = [];
  failpoint('wal.before-sync');
  armFailpoints((name) => seen.push(name));
  failpoint('wal.before-sync');
  armFailpoints(null);
  failpoint('wal.before-sync');
  t.same(seen, ['wal.before-sync']);
});

t.test('a process ends at the place, before what follows it', async (t) => {
  const arming = new URL('../src/failpoint-arming.js', import.meta.url).href;
  const base = import.meta.resolve('@holdfast/base');
  const source = `
    import { failpoint } from ${JSON.stringify(base)};
    import { armFailpointsFromEnvironment } from ${JSON.stringify(arming)};
    armFailpointsFromEnvironment(process.env);
    failpoint('file.before-sync');
    process.stdout.write('first ');
    failpoint('file.before-sync');
    process.stdout.write('second');
  `;
  const { signal, stdout } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', source],
    { env: { ...process.env, HOLDFAST_TEST_FAILPOINTS: 'file.before-sync=kill@2' } },
  );
  t.equal(signal, 'SIGKILL');
  t.equal(String(stdout), 'first ');
});

t.test('every place stands in the product exactly once', async (t) => {
  const counts = new Map<string, number>();
  for (const name of ['storage', 'shard-worker', 'node']) {
    const directory = join(PACKAGES, name, 'src');
    for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      if (!path.endsWith('.ts')) continue;
      const text = readFileSync(join(directory, path), 'utf8');
      for (const [, place = ''] of text.matchAll(/\bfailpoint\('([^']+)'\)/g))
        counts.set(place, (counts.get(place) ?? 0) + 1);
    }
  }
  t.ok(FAILPOINTS.length >= 60, `${FAILPOINTS.length} places`);
  for (const place of FAILPOINTS) t.equal(counts.get(place), 1, place);
});
