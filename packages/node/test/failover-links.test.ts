/**
 * Links that break in odd ways must not cost the cluster its leader, and must not hide that it is
 * dead. Real nodes in this process; every directed link goes through a proxy of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, nodeId, SILENT_LOGGER } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { NodeFileSystem } from '@holdfast/storage';
import t, { type Test } from 'tap';
import { initCluster } from '../src/cluster/init.ts';
import { startNode } from '../src/compose.ts';
import { formatEndpoint, parseEndpoint } from '../src/config/endpoint.ts';
import { loadConfig } from '../src/config/load.ts';
import type { RunningNode } from '../src/service-api.ts';
import { TcpProxy } from './support/tcp-proxy.ts';

const IDS = ['n1', 'n2', 'n3'] as const;
type Id = (typeof IDS)[number];

class Net {
  readonly #proxies = new Map<string, TcpProxy>();
  readonly #nodes = new Map<Id, RunningNode>();
  readonly #directory = mkdtempSync(join(tmpdir(), 'holdfast-links-'));
  #client: HoldfastClient | null = null;
  #written = 0;

  static async start(t: Test): Promise<Net> {
    const net = new Net();
    t.teardown(() => net.stop());
    await net.#start();
    return net;
  }

  /** The proxy that `from` dials to reach `to`. */
  link(from: Id, to: Id): TcpProxy {
    return must(this.#proxies.get(`${from}>${to}`));
  }

  /** Accepts and closes, as a load balancer in front of a dead server does. */
  acceptAndClose(from: Id, to: Id): void {
    this.link(from, to).isRefusing = true;
    this.link(from, to).cutAll();
  }

  mend(): void {
    for (const proxy of this.#proxies.values()) proxy.isRefusing = false;
  }

  async write(count: number): Promise<void> {
    const client = must(this.#client);
    for (let i = 0; i < count; i++) {
      this.#written += 1;
      await client.collection('docs').upsert({ id: this.#written, vector: [1, 2] });
    }
  }

  async leadership(): Promise<{ leader: Id; term: number }> {
    const { leader, term } = await must(this.#client).admin.members();
    return { leader: leader.nodeId as Id, term };
  }

  async metric(id: Id, name: string): Promise<number> {
    const response = await fetch(`http://${must(this.#nodes.get(id)).addresses.public}/metrics`);
    const line = (await response.text()).split('\n').find((each) => each.startsWith(`${name} `));
    return Number(line?.split(' ')[1]);
  }

  async #start(): Promise<void> {
    for (const from of IDS) {
      for (const to of IDS) {
        if (from === to) continue;
        const proxy = new TcpProxy();
        await proxy.start();
        proxy.isRefusing = true;
        this.#proxies.set(`${from}>${to}`, proxy);
      }
    }
    initCluster(
      new NodeFileSystem(),
      IDS.map((id, i) => ({
        nodeId: nodeId(id),
        dataDirectory: join(this.#directory, id),
        publicAddress: `127.0.0.1:${7101 + i}`,
        peerAddress: `127.0.0.1:${7201 + i}`,
      })),
    );
    for (const id of IDS) await this.#startNode(id);
    this.mend();
    const nodes = [...this.#nodes.values()].map(({ addresses }) => addresses.public);
    this.#client = await HoldfastClient.connect({ nodes, timeoutMs: 30_000 });
    await this.#client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' });
  }

  async #startNode(id: Id): Promise<void> {
    const others = IDS.filter((other) => other !== id);
    const peers = others.map((to) => `${to}=${formatEndpoint(this.link(id, to).endpoint)}`);
    const config = loadConfig({
      environment: {},
      flags: {
        ...{ data: join(this.#directory, id), nodeId: id, laneCount: '1' },
        ...{ listen: '127.0.0.1:0', peerListen: '127.0.0.1:0', peers: peers.join(',') },
      },
    });
    const node = await startNode(config, { logger: SILENT_LOGGER, hasProcessMetrics: false });
    this.#nodes.set(id, node);
    for (const from of others) this.link(from, id).target = parseEndpoint(node.addresses.peer);
  }

  async stop(): Promise<void> {
    await this.#client?.close();
    await Promise.all([...this.#nodes.values()].map((node) => node.stop()));
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.stop()));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

const followersOf = (leader: Id): readonly [Id, Id] => {
  const [first, second] = IDS.filter((id) => id !== leader);
  return [must(first), must(second)];
};

/**
 * A whole WebSocket frame of data (RFC 6455, section 5.2): a byte near its end is not of the
 * WebSocket layer, whatever the sockets have joined or cut.
 */
function isOneFrame(chunk: Buffer): boolean {
  if (chunk.byteLength < 60 || chunk[0] !== 0x82) return false;
  const second = must(chunk[1]);
  const maskSizeBytes = second & 0x80 ? 4 : 0;
  const shortSize = second & 0x7f;
  if (shortSize === 127) return false;
  const [headSize, size] = shortSize === 126 ? [4, chunk.readUInt16BE(2)] : [2, shortSize];
  return chunk.byteLength === headSize + maskSizeBytes + size;
}

t.test('a corrupt frame is dropped and counted, and deposes nobody', async (t) => {
  const net = await Net.start(t);
  await net.write(5);
  const before = await net.leadership();
  const [follower] = followersOf(before.leader);
  const name = 'holdfast_peer_frames_corrupt_total';
  for (const [from, to] of [
    [follower, before.leader],
    [before.leader, follower],
  ] as const) {
    const countBefore = await net.metric(to, name);
    let isDue = true;
    net.link(from, to).onForward = (chunk) => {
      if (!isDue || !isOneFrame(chunk)) return undefined;
      isDue = false;
      chunk[chunk.byteLength - 5]! ^= 0x10;
      return undefined;
    };
    // A greeting that is hit is refused, not counted: the next frame is hit instead.
    while ((await net.metric(to, name)) === countBefore) {
      await net.write(20);
      isDue = true;
    }
    isDue = false;
  }
  await net.write(20);
  t.same(await net.leadership(), before, 'the same leader in the same term');
});

t.test('a follower whose way to the leader accepts and closes deposes nobody', async (t) => {
  const net = await Net.start(t);
  await net.write(5);
  const before = await net.leadership();
  const [follower] = followersOf(before.leader);
  const link = net.link(follower, before.leader);
  net.acceptAndClose(follower, before.leader);
  // Several times over: it is told so again and again, and asks the others for their votes.
  while (link.refusedCount < 12) await net.write(1);
  t.same(await net.leadership(), before, 'the same leader in the same term');
  net.mend();
  await net.write(5);
  t.same(await net.leadership(), before);
});

t.test('a leader that is gone behind something that accepts and closes is replaced', async (t) => {
  const net = await Net.start(t);
  await net.write(5);
  const before = await net.leadership();
  for (const follower of followersOf(before.leader)) {
    net.acceptAndClose(follower, before.leader);
    net.acceptAndClose(before.leader, follower);
  }
  const startMs = performance.now();
  await net.write(1);
  t.comment(`the next write was acknowledged after ${Math.round(performance.now() - startMs)} ms`);
  const after = await net.leadership();
  t.not(after.leader, before.leader);
  net.mend();
  await net.write(10);
  t.same(await net.leadership(), after, 'the old one comes back as a follower');
});
