/**
 * Goal: sixteen groups on each node share one timer, one log and one connection, and are each as
 * safe as one alone. Method: counters on a simulated cluster with faults; then the real log thread
 * and real sockets.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GroupId, NodeId } from '@holdfast/base';
import {
  clusterId,
  deriveSeed,
  groupId,
  makeConf,
  must,
  nodeId,
  SeededRandom,
} from '@holdfast/base';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import { InlineWal, ThreadWal, type Wal } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { GroupHost } from '../src/replica/group-host.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../src/system-time.ts';
import { SimProcess } from '../src/testing/sim-process.ts';
import { SimScheduler } from '../src/testing/sim-scheduler.ts';
import { FAIR_WEATHER, SimNetwork } from '../src/testing/sim-transport.ts';
import { CounterGroup } from './support/counter-group.ts';
import { createPeers, incarnationOf, startPeers, stopPeers } from './support/peer-net.ts';
import { until } from './support/until.ts';

const GROUPS: readonly GroupId[] = Array.from({ length: 16 }, (_, i) => groupId(i + 1));
const IDS = ['n1', 'n2', 'n3'].map(nodeId);
const CONF = makeConf(
  IDS.map((id) => ({
    nodeId: id,
    incarnation: incarnationOf(id),
    address: `${id}:2`,
    clientAddress: null,
  })),
);

/** One machine with all groups; its disk outlives its processes. */
class Machine {
  readonly id: NodeId;
  readonly disk = new MemoryFileSystem();
  groups = new Map<GroupId, CounterGroup>();
  wal: InlineWal | null = null;
  #process: SimProcess | null = null;
  readonly #cluster: Cluster;
  #bootCount = 0;

  constructor(cluster: Cluster, id: NodeId) {
    this.#cluster = cluster;
    this.id = id;
    this.disk.makeDirectory('/data/wal');
  }

  start(): void {
    const { scheduler, network, seed, acknowledged } = this.#cluster;
    this.#bootCount += 1;
    const process = new SimProcess({
      ...{ scheduler, driftPpm: 0, wallOffsetMs: 0 },
      onStep: () => undefined,
      onCrash: (signal) => {
        throw signal;
      },
    });
    this.#process = process;
    const wal = InlineWal.open({
      ...{ fileSystem: this.disk, directory: '/data/wal', options: { fileSizeBytes: 256 * 1024 } },
      schedule: process.defer,
    });
    this.wal = wal;
    const transport = network.attach(this.id, process, {
      clusterId: clusterId('c'.repeat(32)),
      incarnation: incarnationOf(this.id),
      epoch: 1,
      peerAddress: `${this.id}:2`,
      clientAddress: `${this.id}:1`,
    });
    const { defer } = process;
    const host = new GroupHost({ wal, clock: process, timers: process, defer });
    transport.onMessages((messages) => host.receive(messages));
    this.groups = new Map(
      GROUPS.map((group) => {
        const random = new SeededRandom(deriveSeed(seed, `${this.id}/${group}/${this.#bootCount}`));
        const parts = {
          ...{ nodeId: this.id, incarnation: incarnationOf(this.id), group, conf: CONF },
          ...{ wal, host, clock: process, defer, random },
          send: transport.send.bind(transport),
        };
        return [group, new CounterGroup(parts, must(acknowledged.get(group)))];
      }),
    );
    for (const group of this.groups.values()) group.driver.start();
  }

  stop(): void {
    this.#process?.end();
    this.#process = null;
    this.wal = null;
    this.groups = new Map();
    this.#cluster.network.detach(this.id);
  }

  get isUp(): boolean {
    return this.#process !== null;
  }
}

class Cluster {
  readonly seed: number;
  readonly scheduler = new SimScheduler();
  readonly network: SimNetwork;
  readonly acknowledged = new Map<GroupId, number[]>(GROUPS.map((group) => [group, []]));
  readonly machines: readonly Machine[];
  #nextValue = 1;

  constructor(seed: number, lossRate: number) {
    this.seed = seed;
    this.network = new SimNetwork({
      scheduler: this.scheduler,
      random: new SeededRandom(deriveSeed(seed, 'network')),
      weather: { ...FAIR_WEATHER, delayMsMax: 5, lossRate },
    });
    this.machines = IDS.map((id) => new Machine(this, id));
    for (const machine of this.machines) machine.start();
  }

  leaderOf(group: GroupId): CounterGroup | undefined {
    return this.machines.map((one) => one.groups.get(group)).find((one) => one?.isLeader === true);
  }

  /** One write to each group that has a leader, all in one turn. */
  writeEverywhere(): void {
    for (const group of GROUPS) this.leaderOf(group)?.add(this.#nextValue++);
  }

  failures(): readonly string[] {
    return this.machines.flatMap(({ id, groups }) =>
      [...groups].flatMap(([group, { failure }]) =>
        failure === null ? [] : [`${id}/${group}: ${failure.message}`],
      ),
    );
  }

  isEqualEverywhere(): boolean {
    return GROUPS.every((group) => {
      const [first, ...rest] = this.machines.map((one) => must(one.groups.get(group)));
      const { commit, lastIndex } = must(first).core.status();
      return rest.every((one) => {
        const status = one.core.status();
        return status.commit === commit && commit === lastIndex && status.applied === commit;
      });
    });
  }
}

const hasLeaders = (cluster: Cluster): boolean =>
  GROUPS.every((group) => cluster.leaderOf(group) !== undefined);

t.test('appends of all groups of one turn are one batch and one sync of the log', async (t) => {
  const cluster = new Cluster(1, 0);
  await cluster.scheduler.until(() => hasLeaders(cluster), 10_000);
  await cluster.scheduler.until(() => cluster.isEqualEverywhere(), 10_000);
  const leads = new Map<Machine, number>();
  for (const machine of cluster.machines) {
    leads.set(machine, [...machine.groups.values()].filter((one) => one.isLeader).length);
  }
  const [machine, leadCount] = must([...leads].sort((left, right) => right[1] - left[1])[0]);
  const before = must(machine.wal).stats();
  for (const group of machine.groups.values()) if (group.isLeader) group.add(7);
  await cluster.scheduler.settle();
  const after = must(machine.wal).stats();
  t.ok(leadCount >= 6, `${leadCount} groups were written to`);
  t.equal(after.batches - before.batches, 1);
  t.equal(after.syncs - before.syncs, 1);
});

t.test('sixteen groups under faults lose nothing and agree', async (t) => {
  let acknowledgedCount = 0;
  for (let seed = 1; seed <= 4; seed++) {
    const cluster = new Cluster(seed, 0.03);
    const random = new SeededRandom(deriveSeed(seed, 'faults'));
    const { scheduler, network } = cluster;
    for (let round = 0; round < 40; round++) {
      await scheduler.advance(150);
      cluster.writeEverywhere();
      const machine = must(cluster.machines[random.nextBelow(3)]);
      const others = IDS.filter((id) => id !== machine.id);
      switch (random.nextBelow(8)) {
        case 0:
          if (cluster.machines.every((one) => one.isUp)) {
            machine.stop();
            machine.disk.crash({ seed: round, keepUnsynced: 'random', tearsSectors: true });
          }
          break;
        case 1:
          network.isolate(machine.id, others);
          break;
        case 2:
          for (const id of others) network.cut(machine.id, id);
          break;
        case 3:
        case 4:
          for (const from of IDS) for (const to of IDS) network.mend(from, to);
          break;
        default:
          for (const one of cluster.machines) if (!one.isUp) one.start();
      }
    }
    network.heal();
    for (const one of cluster.machines) if (!one.isUp) one.start();
    await scheduler.until(() => hasLeaders(cluster), 30_000);
    cluster.writeEverywhere();
    await scheduler.until(() => cluster.isEqualEverywhere(), 30_000);
    t.strictSame(cluster.failures(), [], `seed ${seed}`);
    for (const group of GROUPS) {
      const [first, ...rest] = cluster.machines.map((one) => must(one.groups.get(group)).values);
      for (const other of rest) t.strictSame(other, first, `seed ${seed}, group ${group}`);
      const acknowledged = must(cluster.acknowledged.get(group));
      const lost = acknowledged.filter((value) => must(first).indexOf(value) < 0);
      t.strictSame(lost, [], `seed ${seed}, group ${group}: nothing acknowledged is lost`);
      t.equal(new Set(first).size, must(first).length, 'and nothing is there twice');
      acknowledgedCount += acknowledged.length;
    }
  }
  t.ok(acknowledgedCount > 4 * 16 * 10, `${acknowledgedCount} writes were acknowledged`);
});

t.test('a group that stops leaves the others alone', async (t) => {
  const cluster = new Cluster(9, 0);
  await cluster.scheduler.until(() => hasLeaders(cluster), 10_000);
  const stopped = must(GROUPS[4]);
  for (const machine of cluster.machines) must(machine.groups.get(stopped)).driver.stop();
  const others = GROUPS.filter((group) => group !== stopped);
  const before = others.map((group) => must(cluster.leaderOf(group)).values.length);
  cluster.writeEverywhere();
  await cluster.scheduler.advance(2_000);
  others.forEach((group, i) => {
    t.equal(must(cluster.leaderOf(group)).values.length, must(before[i]) + 1, `group ${group}`);
  });
});

t.test('sixteen groups share a real log thread and real sockets', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-groups-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const codec = { encode: encodeRaftMessage, decode: decodeRaftMessage };
  const peers = await createPeers({ patch: (_id, options) => ({ ...options, codec }) });
  const acknowledged = new Map<GroupId, number[]>(GROUPS.map((group) => [group, []]));
  const nodes: { wal: Wal; host: GroupHost; groups: readonly CounterGroup[] }[] = [];
  for (const [i, { id, transport }] of peers.entries()) {
    const walDirectory = join(directory, id);
    const wal = ThreadWal.open({ directory: walDirectory, clock: SYSTEM_CLOCK });
    const defer = (callback: () => void): void => void setImmediate(callback);
    const host = new GroupHost({ wal, clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, defer });
    transport.onMessages((messages) => host.receive(messages));
    const groups = GROUPS.map((group) => {
      const random = new SeededRandom(100 * (i + 1) + group);
      const parts = {
        ...{ nodeId: id, incarnation: incarnationOf(id), group, conf: CONF, wal, host },
        ...{ clock: SYSTEM_CLOCK, defer, random, send: transport.send.bind(transport) },
      };
      return new CounterGroup(parts, must(acknowledged.get(group)));
    });
    nodes.push({ wal, host, groups });
  }
  t.teardown(async () => {
    for (const { groups } of nodes) for (const { driver } of groups) driver.stop();
    await stopPeers(peers);
    for (const { wal } of nodes) await wal.close();
  });
  await startPeers(peers);
  for (const { groups } of nodes) for (const { driver } of groups) driver.start();
  const leaderOf = (position: number): CounterGroup | undefined =>
    nodes.map(({ groups }) => must(groups[position])).find((one) => one.isLeader);
  await until(() => GROUPS.every((_, i) => leaderOf(i) !== undefined));
  const roundCount = 20;
  for (let round = 0; round < roundCount; round++) {
    const terms = GROUPS.map(() => -1);
    await until(() => {
      let doneCount = 0;
      for (const [i, group] of GROUPS.entries()) {
        const leader = leaderOf(i);
        const { term = -1 } = leader?.core.status() ?? {};
        if (must(acknowledged.get(group)).length > round) doneCount += 1;
        // On a busy machine a group may get another leader, which has not heard of the value.
        else if (leader !== undefined && term !== terms[i]) leader.add(round * 100 + i);
        terms[i] = term;
      }
      return doneCount === GROUPS.length;
    });
  }
  for (const [i, group] of GROUPS.entries()) {
    const isEqual = (): boolean =>
      new Set(nodes.map(({ groups }) => must(groups[i]).values.join(' '))).size === 1;
    const values = (): readonly number[] => must(must(nodes[0]).groups[i]).values;
    await until(() => values().length >= roundCount && isEqual());
    const lost = must(acknowledged.get(group)).filter((value) => !values().includes(value));
    t.strictSame(lost, [], `group ${group}`);
  }
  t.strictSame(
    nodes.flatMap(({ groups }) => groups.map(({ failure }) => failure)).filter(Boolean),
    [],
  );
  for (const [i, { transport }] of peers.entries()) {
    const { messagesSent, framesSent } = transport.stats();
    t.ok(framesSent < messagesSent / 2, `${framesSent} frames for ${messagesSent} messages`);
    const { batches } = must(nodes[i]).wal.stats();
    t.ok(batches < (GROUPS.length * roundCount) / 2, `${batches} batches for 320 entries`);
  }
});
