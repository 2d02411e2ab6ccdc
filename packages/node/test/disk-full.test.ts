/**
 * A disk that fills up under one node of three, the leader's and a follower's: writes go on at the
 * others or are refused with a code, reads go on, and when space returns so does the node, by
 * itself. Real nodes, each on a file system of its own with a size limit, which takes root.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, must, nodeId, SILENT_LOGGER } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { NodeFileSystem } from '@holdfast/storage';
import t, { type Test } from 'tap';
import { initCluster } from '../src/cluster/init.ts';
import { startNode } from '../src/compose.ts';
import { formatEndpoint, parseEndpoint } from '../src/config/endpoint.ts';
import { loadConfig } from '../src/config/load.ts';
import type { RunningNode } from '../src/service-api.ts';
import { metricOf } from './support/metrics.ts';
import { TcpProxy } from './support/tcp-proxy.ts';

const IDS = ['n1', 'n2', 'n3'] as const;
type Id = (typeof IDS)[number];
const DISK_SIZE = '16m';
const DIMENSION = 128;
const MIB = 1024 * 1024;

const canMount = process.platform === 'linux' && process.getuid?.() === 0;

class World {
  readonly nodes = new Map<Id, RunningNode>();
  readonly #directory = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  readonly #proxies = new Map<Id, TcpProxy>();
  readonly #mounted: string[] = [];

  async start(): Promise<void> {
    for (const id of IDS) {
      const disk = this.#disk(id);
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_SIZE}`, 'tmpfs', disk]);
      this.#mounted.push(disk);
      const proxy = new TcpProxy();
      await proxy.start();
      proxy.isRefusing = true;
      this.#proxies.set(id, proxy);
    }
    initCluster(
      new NodeFileSystem(),
      IDS.map((id, i) => ({
        ...{ nodeId: nodeId(id), dataDirectory: join(this.#disk(id), 'data') },
        ...{ publicAddress: `127.0.0.1:${7101 + i}`, peerAddress: `127.0.0.1:${7201 + i}` },
      })),
    );
    for (const id of IDS) await this.#startNode(id);
    for (const proxy of this.#proxies.values()) proxy.isRefusing = false;
  }

  async #startNode(id: Id): Promise<void> {
    const peers = IDS.filter((other) => other !== id).map(
      (to) => `${to}=${formatEndpoint(must(this.#proxies.get(to)).endpoint)}`,
    );
    const config = loadConfig({
      environment: {},
      flags: {
        ...{ data: join(this.#disk(id), 'data'), nodeId: id, laneCount: '1' },
        ...{ listen: '127.0.0.1:0', peerListen: '127.0.0.1:0', peers: peers.join(',') },
        walFileSizeBytes: String(MIB),
      },
    });
    const node = await startNode(config, { logger: SILENT_LOGGER, hasProcessMetrics: false });
    this.nodes.set(id, node);
    must(this.#proxies.get(id)).target = parseEndpoint(node.addresses.peer);
  }

  /** Takes all the space that is left on the node's disk. */
  fill(id: Id): void {
    for (let i = 0; ; i++) {
      try {
        writeFileSync(join(this.#disk(id), `filler-${i}`), new Uint8Array(64 * 1024));
      } catch {
        return;
      }
    }
  }

  free(id: Id): void {
    execFileSync('sh', ['-c', `rm -f ${this.#disk(id)}/filler-*`]);
  }

  async metric(id: Id, name: string): Promise<number> {
    return metricOf(must(this.nodes.get(id)).addresses.public, name);
  }

  /** What the node tells of its recovery of `key`, in order. */
  async told(id: Id, key: string): Promise<readonly string[]> {
    const address = must(this.nodes.get(id)).addresses.public;
    const answer = await fetch(`http://${address}/api/v1/admin/recovery`);
    const { events } = (await answer.json()) as { events: { key: string; kind: string }[] };
    return events.flatMap((event) => (event.key === key ? event.kind : []));
  }

  isBlocked = async (id: Id): Promise<boolean> =>
    (await this.metric(id, 'holdfast_wal_circuit_breaker_state{state="closed"}')) === 0;

  async stop(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.stop()));
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.stop()));
    for (const disk of this.#mounted) execFileSync('umount', [disk]);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #disk(id: Id): string {
    return join(this.#directory, id);
  }
}

async function fillAndFree(t: Test, role: 'leader' | 'follower'): Promise<void> {
  const world = new World();
  t.teardown(() => world.stop());
  await world.start();
  const addresses = [...world.nodes.values()].map((node) => node.addresses.public);
  const client = await HoldfastClient.connect({ nodes: addresses, timeoutMs: 30_000 });
  t.teardown(() => client.close());
  await client.createCollection({ name: 'docs', dimension: DIMENSION, metric: 'l2' });
  const docs = client.collection('docs');
  const acknowledged = new Map<number, number>();
  const codes = new Set<string>();
  let next = 0;
  const write = async (): Promise<void> => {
    const first = (next * 20) % 4_000;
    const value = ++next;
    const ids = Array.from({ length: 20 }, (_, i) => first + i);
    try {
      await docs.upsert(ids.map((id) => ({ id, vector: new Float32Array(DIMENSION).fill(value) })));
      for (const id of ids) acknowledged.set(id, value);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      codes.add(error.code);
      for (const id of ids) acknowledged.delete(id);
    }
  };
  for (let i = 0; i < 10; i++) await write();

  const { leader } = await client.admin.members();
  const leaderId = leader.nodeId as Id;
  const full = role === 'leader' ? leaderId : must(IDS.find((id) => id !== leaderId));
  world.fill(full);
  while (!(await world.isBlocked(full))) await write();
  const errors = await world.metric(full, 'holdfast_wal_errors_total{type="disk_full"}');
  t.ok(errors >= 1, 'the error is counted by its type');
  for (let i = 0; i < 30; i++) await write();
  t.ok(await world.isBlocked(full), 'it is still full');
  if (role === 'leader')
    t.not((await client.admin.members()).leader.nodeId, full, 'another node leads');
  const some = must([...acknowledged.keys()][0]);
  t.equal((await docs.get(some, { withVector: true }))?.vector?.[0], acknowledged.get(some));
  t.same((await world.told(full, 'log')).slice(0, 2), ['found', 'started']);
  const own = await HoldfastClient.connect({
    ...{ nodes: [must(world.nodes.get(full)).addresses.public], followsMembers: false },
    usesSession: false,
  });
  t.teardown(() => own.close());
  const options = { consistency: 'stale', maxStalenessMs: 600_000 } as const;
  t.ok(await own.collection('docs').get(some, options), 'the full node itself answers reads');

  world.free(full);
  while (await world.isBlocked(full)) await write();
  const lastIndex = async (id: Id) => world.metric(id, 'holdfast_applied_index');
  while ((await lastIndex(full)) < (await lastIndex(must(IDS.find((id) => id !== full)))));
  for (let i = 0; i < 5; i++) await write();
  t.same([...codes], [], 'the client was refused nothing');
  t.equal((await world.told(full, 'log')).at(-1), 'recovered', 'and the node has told it');
  const problems: string[] = [];
  const ids = [...acknowledged.keys()];
  for (let start = 0; start < ids.length; start += 500) {
    const asked = ids.slice(start, start + 500);
    const points = await docs.get(asked, { withVector: true });
    const found = new Map(points.map((point) => [point.id, point.vector?.[0]]));
    for (const id of asked)
      if (found.get(id) !== acknowledged.get(id)) problems.push(`${id}: found ${found.get(id)}`);
  }
  t.same(problems, [], `${acknowledged.size} acknowledged points are there`);
}

for (const role of ['leader', 'follower'] as const)
  t.test(
    `a full disk under the ${role} costs no acknowledged write, and room sets it going again`,
    { skip: canMount ? false : 'mounting a file system of a given size takes root on Linux' },
    (t) => fillAndFree(t, role),
  );
