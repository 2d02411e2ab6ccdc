/**
 * Goal: the steps that docs/OPERATING.md gives for the loss of a site work as they are written.
 * Method: nodes of this process with real disks and sockets, the command line, and a folder as the
 * store between the two clusters. The same with processes: jepsen-lite/test/standby.test.ts.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { nodeId, SILENT_LOGGER } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { NodeFileSystem, readIdentity } from '@holdfast/storage';
import t, { type Test } from 'tap';
import { initCluster } from '../src/cluster/init.ts';
import { startNode } from '../src/compose.ts';
import { loadConfig } from '../src/config/load.ts';
import type { RunningNode } from '../src/service-api.ts';
import { run } from './support/run-cli.ts';

// Real disks and sockets take as long as the machine lets them.
t.setTimeout(0);

/** What is written right before the loss is not archived any more. */
const ARCHIVE_INTERVAL_MS = 20_000;
const SECRET = 'one-word-of-a-secret';

class Site {
  readonly directory: string;
  readonly #store: string;
  readonly #archiveIntervalMs: number;
  #node: RunningNode | null = null;
  #client: HoldfastClient | null = null;

  constructor(directory: string, store: string, archiveIntervalMs = 50) {
    this.directory = directory;
    this.#store = store;
    this.#archiveIntervalMs = archiveIntervalMs;
  }

  get address(): string {
    return this.#node?.addresses.public ?? '';
  }

  get clusterId(): string {
    return readIdentity(new NodeFileSystem(), this.directory).clusterId;
  }

  async start(): Promise<void> {
    const config = loadConfig({
      environment: {},
      flags: {
        ...{ data: this.directory, nodeId: 'n1', laneCount: '1' },
        ...{ listen: '127.0.0.1:0', peerListen: '127.0.0.1:0' },
        ...{ electionTimeoutMs: '100', heartbeatIntervalMs: '20' },
        backupSinks: pathToFileURL(this.#store).href,
        ...{ backupFullSchedule: 'off', backupIncrementalSchedule: 'off' },
        ...{ archiveIntervalMs: String(this.#archiveIntervalMs), fenceLookIntervalMs: '500' },
      },
    });
    this.#node = await startNode(config, { logger: SILENT_LOGGER, hasProcessMetrics: false });
    // A session is opened with a patience of its own: not before there is somebody to open it.
    await this.until(['standby', 'status'], /, leader: /);
    this.#client = await HoldfastClient.connect({ nodes: [this.address], timeoutMs: 30_000 });
  }

  /** With what the archive has; what it does not have stays behind. */
  async stop(): Promise<void> {
    await this.#client?.close();
    await this.#node?.stop();
    this.#client = null;
    this.#node = null;
  }

  get client(): HoldfastClient {
    if (this.#client === null) throw new Error('the site is down');
    return this.#client;
  }

  async write(from: number, to: number): Promise<number> {
    let index = 0;
    for (let id = from; id <= to; id++) {
      ({ index } = await this.client.collection('docs').upsert({ id, vector: [id, 1] }));
    }
    return index;
  }

  async count(): Promise<number> {
    return (await this.client.collection('docs').count()).count;
  }

  async holdfast(...argv: string[]): Promise<string> {
    return holdfast(...argv, '--nodes', this.address);
  }

  /** Asks until the answer is as it should be. */
  async until(argv: readonly string[], expected: RegExp): Promise<string> {
    for (;;) {
      // A node that has just started may have no replica yet.
      const { code, out } = await run(...argv, '--nodes', this.address);
      if (code === 0 && expected.test(out)) return out;
    }
  }
}

async function holdfast(...argv: string[]): Promise<string> {
  const { code, err, out } = await run(...argv);
  if (code !== 0) throw new Error(`holdfast ${argv.join(' ')}: ${err}`);
  return out;
}

function directoriesOf(t: Test) {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-standby-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const paths = ['old', 'new', 'store'].map((name) => join(root, name));
  for (const path of paths) mkdirSync(path);
  const [old = '', standby = '', store = ''] = paths;
  return { old, plan: join(root, 'plan.json'), standby, store };
}

t.test('a site is lost: the standby takes over, and the old primary is fenced', async (t) => {
  const { old, plan, standby: standbyDirectory, store } = directoriesOf(t);
  initCluster(new NodeFileSystem(), [
    {
      ...{ nodeId: nodeId('n1'), dataDirectory: old },
      ...{ publicAddress: '127.0.0.1:7101', peerAddress: '127.0.0.1:7201' },
    },
  ]);
  let primary = new Site(old, store);
  t.teardown(() => primary.stop());
  await primary.start();
  await primary.client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' });
  await primary.write(1, 20);
  await primary.holdfast('backup', 'create');

  const member = 'n1=127.0.0.1:7202';
  const said = await holdfast(
    ...['restore', 'plan', '--standby', '--from', store, '--plan', plan, '--member', member],
  );
  t.match(said, new RegExp(`a standby of ${primary.clusterId}`));
  const place = ['--node-id', 'n1', '--data-dir', standbyDirectory];
  await holdfast('restore', 'run', '--from', store, '--plan', plan, ...place);
  writeFileSync(join(standbyDirectory, 'cluster.secret'), SECRET);
  const standby = new Site(standbyDirectory, store);
  t.teardown(() => standby.stop());
  await standby.start();
  const archived = await primary.write(21, 40);
  await standby.until(['standby', 'status'], new RegExp(`at index ${archived},`));
  t.equal(await standby.count(), 40);
  await t.rejects(standby.write(41, 41), { code: 'READ_ONLY' });
  t.match(await standby.until(['standby', 'status'], /following/), /0 entries/);

  // It comes back with an archive that is slow, and is lost before it has put what came last.
  await primary.stop();
  primary = new Site(old, store, ARCHIVE_INTERVAL_MS);
  await primary.start();
  const last = await primary.write(41, 43);
  await primary.stop();

  const promoted = await standby.holdfast('standby', 'promote');
  t.match(promoted, new RegExp(`took over from cluster ${primary.clusterId} behind index`));
  await standby.write(100, 101);
  t.equal(await standby.count(), 42);
  t.match(await standby.holdfast('standby', 'status'), /primary, took over from/);
  await standby.until(['backup', 'status'], /vectors/);

  await primary.start();
  await primary.until(['standby', 'status'], /FENCED/);
  await t.rejects(primary.write(44, 44), { code: 'FENCED' });
  t.equal(await primary.count(), 43, 'reads go on');
  const listed = await primary.holdfast('standby', 'diff');
  t.match(listed, /^3 requests of clients are in the old cluster only$/m);
  for (const id of [41, 42, 43]) t.match(listed, new RegExp(`upsert docs 1 points: ${id}$`, 'm'));
  await primary.stop();
  const fromDisk = await holdfast(
    ...['standby', 'diff', '--from', store, '--data-dir', old, '--json'],
  );
  const { differences } = JSON.parse(fromDisk) as {
    readonly differences: readonly { readonly index: number; readonly ids: readonly number[] }[];
  };
  t.equal(differences.length, 3);
  t.match(differences.at(-1), { index: last, ids: [43], collection: /^#/ });
});
