/** The client follows the members of its cluster. On virtual time, against the model cluster. */
import { SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { Request } from '@holdfast/protocol';
import { decodeUp, encodeDown } from '@holdfast/protocol';
import t from 'tap';
import { HoldfastClient } from '../src/client.ts';
import type { ConnectOptions } from '../src/options.ts';
import { FakeTransport } from '../src/testing/fake-transport.ts';
import { ModelCluster } from '../src/testing/model-cluster.ts';
import { pass, passUntil } from '../src/testing/pass.ts';

const ADDRESSES = ['h1:1', 'h2:1', 'h3:1', 'h4:1'] as const;
const member = (i: number) => ({ nodeId: `n${i}`, address: `h${i}:1` });

function world() {
  const clock = new VirtualClock();
  const random = new SeededRandom(3);
  const transport = new FakeTransport({ timers: clock, random, delayMsMax: 1 });
  const cluster = new ModelCluster({ timers: clock, random, transport, addresses: ADDRESSES });
  cluster.setMembers([1, 2, 3].map(member), 1);
  const seams = { transport, clock, timers: clock, random };
  const connect = (options: Partial<ConnectOptions> = {}) =>
    passUntil(clock, HoldfastClient.connect({ nodes: ['h1:1'], ...seams, ...options }), 20_000);
  const close = (client: HoldfastClient) => passUntil(clock, client.close(), 1_000);
  return { clock, random, transport, cluster, connect, close };
}

/** Which of the four the client is connected to. */
async function connectedTo(
  clock: VirtualClock,
  client: HoldfastClient,
): Promise<readonly string[]> {
  await pass(clock, 20);
  const found: string[] = [];
  for (const { nodeId } of [1, 2, 3, 4].map(member)) {
    const answered = client.status(nodeId, { timeoutMs: 5 }).then(
      () => found.push(nodeId),
      () => undefined,
    );
    await passUntil(clock, answered, 100);
  }
  return found;
}

t.test('a client that was given one node connects to all members', async (t) => {
  const { clock, connect, close } = world();
  const client = await connect();
  t.same(await connectedTo(clock, client), ['n1', 'n2', 'n3']);
  await close(client);
});

t.test('members that come are connected, members that go are let go', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  await connectedTo(clock, client);
  cluster.setMembers([1, 2, 3, 4].map(member), 2);
  t.same(await connectedTo(clock, client), ['n1', 'n2', 'n3', 'n4']);
  cluster.setMembers([2, 3, 4].map(member), 3);
  t.same(await connectedTo(clock, client), ['n1', 'n2', 'n3', 'n4'], 'the node it was given stays');
  cluster.setMembers([1, 4].map(member), 4);
  t.same(await connectedTo(clock, client), ['n1', 'n4']);
  await close(client);
});

t.test('what a node that lags says about the members is not believed', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  cluster.setMembers([1, 2, 3, 4].map(member), 9);
  t.same(await connectedTo(clock, client), ['n1', 'n2', 'n3', 'n4']);
  cluster.setMembers([1].map(member), 8);
  t.same(await connectedTo(clock, client), ['n1', 'n2', 'n3', 'n4']);
  await close(client);
});

t.test('the given nodes may all be gone once the client has met the others', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  cluster.setMembers([1, 2, 3, 4].map(member), 2);
  await connectedTo(clock, client);
  cluster.setMembers([2, 3, 4].map(member), 3);
  await pass(clock, 20);
  cluster.elect(null);
  cluster.kill(0);
  cluster.elect(3);
  const written = client.collection('docs').upsert({ id: 1, vector: [1] });
  t.ok((await passUntil(clock, written, 5_000)).index > 0);
  t.equal(client.leader?.nodeId, 'n4');
  await close(client);
});

t.test('a node that is reached by another name than it says is one connection', async (t) => {
  const { clock, transport, cluster, connect, close } = world();
  let openCount = 0;
  // The same node behind another address, as a client that says localhost would have it.
  transport.listen('alias:1', {
    onConnect(end) {
      openCount += 1;
      return {
        onFrame(bytes) {
          const message = decodeUp(bytes);
          if (message.kind === 'hello') {
            end.send(
              encodeDown({
                kind: 'welcome',
                protocolVersion: 1,
                clusterId: 'c'.repeat(32),
                nodeId: 'n1',
                leader: cluster.leader,
                term: 1,
                nodes: [1, 2, 3].map(member),
                epoch: 1,
                confIndex: 1,
                limits: {
                  frameSizeBytesMax: 1 << 20,
                  batchPointCountMax: 1_000,
                  inflightRequestCountMax: 256,
                },
              }),
            );
          }
        },
        onClose() {
          openCount -= 1;
        },
      };
    },
  });
  const client = await connect({ nodes: ['alias:1'] });
  await pass(clock, 200);
  const connected: string[] = [];
  client.on('connected', ({ address }) => connected.push(address));
  cluster.setMembers([1, 2, 3].map(member), 2);
  await pass(clock, 200);
  t.same(connected, [], 'n1 is not dialled a second time');
  t.equal(openCount, 1);
  await close(client);
});

t.test('a client that is told not to follow stays with what it was given', async (t) => {
  const { clock, connect, close } = world();
  const client = await connect({ followsMembers: false, nodes: ['h1:1', 'h2:1'] });
  t.same(await connectedTo(clock, client), ['n1', 'n2']);
  await t.rejects(connect({ followsMembers: 'no' as never }), { code: 'ARGUMENT_INVALID' });
  await close(client);
});

const LIFE = 'd'.repeat(32);

/** A node that keeps what it is asked and answers it. */
function listeningNode(transport: FakeTransport): Request[] {
  const asked: Request[] = [];
  transport.listen('h1:1', {
    onConnect: (end) => ({
      onFrame(bytes) {
        const message = decodeUp(bytes);
        if (message.kind === 'hello') {
          const limits = {
            frameSizeBytesMax: 1 << 20,
            batchPointCountMax: 1_000,
            inflightRequestCountMax: 256,
          };
          const welcome = { kind: 'welcome', protocolVersion: 1, nodeId: 'n1' } as const;
          const leader = { nodeId: 'n1', address: 'h1:1' };
          const clusterId = 'c'.repeat(32);
          const cluster = { clusterId, epoch: 1, leader, term: 1, nodes: [], confIndex: 0 };
          end.send(encodeDown({ ...welcome, ...cluster, limits }));
          return;
        }
        asked.push(message);
        end.send(encodeDown({ id: message.id, ok: true, result: answerTo(message) }));
      },
      onClose() {},
    }),
  });
  return asked;
}

function answerTo({ kind }: Request) {
  if (kind === 'transferLeadership') return { leader: 'n2', term: 4 };
  if (kind !== 'listMembers') return { index: 7, term: 3, isChanged: true };
  const one = { role: 'voter', isLeader: false, address: 'a:1', clientAddress: null } as const;
  const rest = { isToBePromoted: false, replaces: null, progress: null };
  return {
    leader: { nodeId: 'n1', address: 'h1:1' },
    ...{ term: 1, confIndex: 5, isPending: false, isJoint: false },
    ...{ isLeaseEnabled: false, lastIndex: 9, joining: [] },
    members: [{ nodeId: 'n2', incarnation: LIFE, ...one, ...rest }],
  };
}

t.test('changes of the membership are asked as the protocol has them', async (t) => {
  const clock = new VirtualClock();
  const random = new SeededRandom(4);
  const transport = new FakeTransport({ timers: clock, random, delayMsMax: 1 });
  const asked = listeningNode(transport);
  const seams = { transport, clock, timers: clock, random };
  const connecting = HoldfastClient.connect({ nodes: ['h1:1'], ...seams });
  const { admin, ...client } = await passUntil(clock, connecting, 1_000).then((each) => ({
    admin: each.admin,
    close: () => each.close(),
  }));
  const run = <Value>(promise: Promise<Value>): Promise<Value> => passUntil(clock, promise, 1_000);
  t.match(await run(admin.addMember({ nodeId: 'n4', address: 'h4:2' })), { isChanged: true });
  t.match(await run(admin.removeMember('n2')), { index: 7 });
  await run(admin.removeMember('n9'));
  await run(admin.replaceMember({ nodeId: 'n2', by: 'n4' }));
  await run(admin.promoteMember('n4'));
  await run(admin.demoteMember('n4'));
  await run(admin.updateMember({ nodeId: 'n4', clientAddress: 'h4:1' }));
  await run(admin.setLeases(true));
  t.same(await run(admin.transferLeadership('n2')), { leader: 'n2', term: 4 });
  const plain = asked.map(({ id: _id, timeoutMs: _timeoutMs, ...rest }) => rest);
  t.same(plain, [
    { kind: 'addMember', nodeId: 'n4', address: 'h4:2' },
    { kind: 'listMembers' },
    { kind: 'removeMember', nodeId: 'n2', incarnation: LIFE },
    { kind: 'listMembers' },
    { kind: 'removeMember', nodeId: 'n9' },
    { kind: 'replaceMember', nodeId: 'n2', by: 'n4' },
    { kind: 'promoteMember', nodeId: 'n4' },
    { kind: 'demoteMember', nodeId: 'n4' },
    { kind: 'updateMember', nodeId: 'n4', clientAddress: 'h4:1' },
    { kind: 'setLeases', isEnabled: true },
    { kind: 'transferLeadership', to: 'n2' },
  ]);
  await t.rejects(async () => admin.addMember({ nodeId: '../n' }), { code: 'REQUEST_INVALID' });
  await run(client.close());
});
