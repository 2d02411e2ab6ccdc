/**
 * `holdfast cluster start` with real processes: forms, leads, survives a kill, stops in order,
 * finds its data again; and what an emptied data directory must not do.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { fetchHealth } from '../src/cluster/leader-watch.ts';
import { run } from './support/run-cli.ts';

const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));
/** Below the range the system hands out, and another for each run of this file. */
const BASE_PORT = 12_000 + ((process.pid * 13) % 18_000);

/** A `holdfast` process whose lines can be awaited. */
class Running {
  readonly process: ChildProcess;
  readonly lines: string[] = [];
  readonly exited: Promise<number | null>;
  #wake: () => void = () => {};
  #hasExited = false;

  constructor(argv: readonly string[]) {
    this.process = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout!, this.process.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        this.#wake();
      });
    }
    this.exited = once(this.process, 'close').then(([code]) => {
      this.#hasExited = true;
      this.#wake();
      return code as number | null;
    });
  }

  /** The first line at or after `from` that matches; throws when the process ends without it. */
  async line(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      for (const line of this.lines.slice(from)) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      if (this.#hasExited) throw new Error(`ended without ${pattern}:\n${this.lines.join('\n')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** A command in this process: what starts no node needs no process of its own. */
async function holdfast(...argv: string[]): Promise<{ code: number; text: string }> {
  const { code, out, err } = await run(...argv);
  return { code, text: out + err };
}

async function ownProcess(...argv: string[]): Promise<{ code: number | null; text: string }> {
  const running = new Running(argv);
  const code = await running.exited;
  return { code, text: running.lines.join('\n') };
}

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-cluster-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const pidOf = (directory: string, id: string): number =>
  (JSON.parse(readFileSync(join(directory, `${id}.pid`), 'utf8')) as { pid: number }).pid;

t.test(
  'three nodes start, elect, survive a kill, stop in order and find their data again',
  async (t) => {
    const directory = join(temporaryDirectory(t), 'cluster');
    const place = ['--directory', directory];
    const first = new Running(['cluster', 'start', ...place, '--base-port', String(BASE_PORT)]);
    t.teardown(() => first.process.kill('SIGKILL'));
    await first.line(/^formed cluster [0-9a-f]{32} of 3 nodes/);
    const [, leader] = await first.line(/^leader (n\d) term \d+$/);
    const created = await holdfast('collection', 'create', 'docs', '--dimension', '2', ...place);
    t.equal(created.code, 0, created.text);
    const points = join(directory, 'points.jsonl');
    writeFileSync(points, '{"id":1,"vector":[1,0]}\n{"id":2,"vector":[0,1]}\n');
    const imported = await holdfast('import', points, '--collection', 'docs', ...place);
    t.match(imported, { code: 0, text: /2 points imported/ });
    const again = await holdfast('cluster', 'start', ...place);
    t.match(again, { code: 1, text: /DATA_DIR_LOCKED: node n1 .* runs already/ });

    const mark = first.lines.length;
    process.kill(pidOf(directory, leader!), 'SIGKILL');
    await first.line(new RegExp(`^node ${leader} ended: SIGKILL`), mark);
    await first.line(/^leader n\d term \d+$/, mark);
    await first.line(new RegExp(`^node ${leader} is started again`), mark);
    const found = await holdfast('get', 'docs', '1', '2', ...place);
    t.match(found, { code: 0, text: /"id":1.*\n.*"id":2/ });
    // One Ctrl-C reaches a command under npm twice: from the terminal and from npm.
    first.process.kill('SIGINT');
    first.process.kill('SIGINT');
    t.equal(await first.exited, 0);
    const stops = first.lines.filter((line) => /^node n\d stopped$/.test(line));
    t.equal(stops.length, 3);
    t.equal(existsSync(join(directory, 'n1.pid')), false);

    t.teardown(() => holdfast('cluster', 'stop', ...place));
    const detached = await ownProcess('cluster', 'start', '--detach', ...place);
    t.match(detached, { code: 0, text: /^found cluster [\s\S]*leader n\d term/ });
    const kept = await holdfast('search', 'docs', '--vector', '[1,0.1]', '--json', ...place);
    t.match(JSON.parse(kept.text), { hits: [{ id: 1 }, { id: 2 }] });
    const status = await holdfast('cluster', 'status', ...place);
    t.equal(status.code, 0, status.text);
    const stopped = await holdfast('cluster', 'stop', ...place);
    t.match(stopped, { code: 0, text: /n1 stopped\nnode n2 stopped\nnode n3 stopped/ });
    for (const id of ['n1', 'n2', 'n3'])
      t.equal((await holdfast('fsck', join(directory, id))).code, 0);
  },
);

t.test('emptied nodes refuse to start, and the one that is left elects nobody', async (t) => {
  const directory = temporaryDirectory(t);
  const ports = (i: number) =>
    [BASE_PORT + 40 + i, BASE_PORT + 140 + i].map((port) => `127.0.0.1:${port}`);
  const ids = ['n1', 'n2', 'n3'];
  const serveFlags = (i: number): readonly string[] => [
    ...['serve', '--data', join(directory, ids[i]!), '--node-id', ids[i]!],
    ...['--listen', ports(i)[0]!, '--peer-listen', ports(i)[1]!],
  ];
  const nodes = ids.flatMap((id, i) => [
    '--node',
    `${id}=${directory}/${id},${ports(i).join(',')}`,
  ]);
  t.equal((await holdfast('cluster', 'init', ...nodes)).code, 0);
  for (const id of ['n2', 'n3']) {
    rmSync(join(directory, id), { recursive: true });
    mkdirSync(join(directory, id));
  }
  const survivor = new Running(serveFlags(0));
  t.teardown(() => survivor.process.kill('SIGKILL'));
  await survivor.line(/^holdfast: node n1 serves clients/);
  for (const i of [1, 2]) {
    const refused = await holdfast(...serveFlags(i));
    t.match(refused, { code: 1, text: /holdfast: DATA_DIR_EMPTY: .*cluster init/ });
    t.equal(existsSync(join(directory, ids[i]!, 'identity.json')), false, 'no identity was made');
  }
  const health = await fetchHealth(ports(0)[0]!, 5_000);
  t.match(health, { nodeId: 'n1' });
  t.not(health?.role, 'leader');
  const wrongName = await holdfast(...serveFlags(0).map((flag) => (flag === 'n1' ? 'n2' : flag)));
  t.match(wrongName, { code: 1, text: /DATA_DIR_FOREIGN: .*belongs to node/ });
  const locked = await holdfast(...serveFlags(0));
  t.match(locked, { code: 1, text: /holdfast: DATA_DIR_LOCKED: / });
  survivor.process.kill('SIGTERM');
  t.equal(await survivor.exited, 0);
  t.match(survivor.lines.at(-1), /n1 stopped after SIGTERM/);
});

t.test('a cluster whose port is taken says so and leaves no process behind', async (t) => {
  const directory = join(temporaryDirectory(t), 'cluster');
  const { createServer } = await import('node:net');
  const squatter = createServer();
  squatter.listen(BASE_PORT + 81, '127.0.0.1');
  await once(squatter, 'listening');
  const port = String(BASE_PORT + 80);
  const ran = await ownProcess(
    'cluster',
    'start',
    '--directory',
    directory,
    '--nodes',
    '1',
    '--base-port',
    port,
  );
  t.match(ran, { code: 1, text: /node n1 could not start; see .*n1\.log[\s\S]*ADDRESS_IN_USE/ });
  t.equal(existsSync(join(directory, 'n1.pid')), false);
  squatter.close();
});
