/**
 * Peer transports whose members change: who is dialled, who may connect without being a member, and
 * what a stranger can find out. On loopback, through proxies; conditions are awaited, never timed.
 */
import type { Member } from '@holdfast/base';
import { incarnation, nodeId } from '@holdfast/base';
import t, { type Test } from 'tap';
import { formatEndpoint } from '../src/config/endpoint.ts';
import { GUEST_COUNT_MAX } from '../src/peer/link-table.ts';
import { decodePingTime, encodePingTime, PeerClocks } from '../src/peer/peer-clocks.ts';
import { WebSocketPeerTransport } from '../src/peer/peer-transport.ts';
import {
  createPeers,
  incarnationOf,
  message,
  type Peer,
  type PeerNetOptions,
  startPeers,
  stopPeers,
} from './support/peer-net.ts';
import { until } from './support/until.ts';

/** Links that nobody needs are closed soon, so that a test can see it. */
const SHORT: PeerNetOptions['patch'] = (_id, options) => ({
  ...options,
  timing: { lingerMs: 30, reconnectDelayMsMin: 1, reconnectDelayMsMax: 5 },
});

const memberOf = (peer: Peer): Member => ({
  nodeId: peer.id,
  incarnation: peer.options.incarnation,
  address: formatEndpoint(peer.proxy.endpoint),
  clientAddress: null,
});

/** Started peers; each knows only the members that `knows` names. */
async function peersThatKnow(
  t: Test,
  ids: readonly string[],
  knows: (id: string) => readonly string[],
  patch: PeerNetOptions['patch'] = SHORT,
): Promise<Peer[]> {
  const peers = await createPeers({ ids, knows, ...(patch === undefined ? {} : { patch }) });
  t.teardown(() => stopPeers(peers));
  await startPeers(peers);
  return peers;
}

const connectedCount = (peer: Peer): number => peer.transport.stats().connectedPeerCount;
const guestCount = (peer: Peer): number => peer.transport.stats().guestCount;

t.test('a member that is added is dialled, and both sides talk', async (t) => {
  const all = (id: string) => (id === 'n3' ? ['n1', 'n2', 'n3'] : ['n1', 'n2']);
  const [n1, n2, n3] = (await peersThatKnow(t, ['n1', 'n2', 'n3'], all)) as [Peer, Peer, Peer];
  await until(() => connectedCount(n1) === 1 && connectedCount(n2) === 1);
  const members = [n1, n2, n3].map(memberOf);
  for (const peer of [n1, n2]) peer.transport.setMembers(members, 5);
  await until(() => [n1, n2, n3].every((peer) => connectedCount(peer) === 2));
  n1.transport.send([message('n1', 'n3', 1)]);
  n3.transport.send([message('n3', 'n1', 2)]);
  await until(() => n3.received.length === 1 && n1.received.length === 1);
  t.equal(guestCount(n1), 0, 'a member is no guest, also when it was one before');
});

t.test('a link to a dropped member lingers for its last messages', async (t) => {
  // The dropped one does not dial: only the link that lingers reaches it.
  const knows = (id: string) => (id === 'n1' ? ['n1', 'n2'] : []);
  const patient: PeerNetOptions['patch'] = (_id, options) => ({
    ...options,
    timing: { lingerMs: 60_000 },
  });
  const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], knows, patient)) as [Peer, Peer];
  await until(() => connectedCount(n1) === 1);
  n1.transport.setMembers([memberOf(n1)], 5);
  t.equal(connectedCount(n1), 0, 'it is no member any more');
  let turnCount = 0;
  await until(() => ++turnCount > 50);
  n1.transport.send([message('n1', 'n2', 1)]);
  await until(() => n2.received.length === 1 || n1.transport.stats().messagesDropped > 0);
  t.equal(n2.received.length, 1);
});

t.test('a link to a dropped member is closed in the end, on both sides', async (t) => {
  const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], () => ['n1', 'n2'])) as [Peer, Peer];
  await until(() => connectedCount(n1) === 1 && connectedCount(n2) === 1);
  n1.transport.setMembers([memberOf(n1)], 5);
  await until(() => guestCount(n1) === 1);
  n2.transport.setMembers([memberOf(n2)], 5);
  await until(() => guestCount(n1) === 0);
  await until(() => {
    n1.transport.send([message('n1', 'n2', 2)]);
    return n1.transport.stats().messagesDropped > 0;
  });
  t.equal(guestCount(n2), 0, 'two nodes that know each other no more let each other go');
});

t.test('a member that moves is dialled at its new address', async (t) => {
  const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], () => ['n1', 'n2'])) as [Peer, Peer];
  await until(() => connectedCount(n1) === 1);
  n2.proxy.isRefusing = true;
  n2.proxy.cutAll();
  await until(() => connectedCount(n1) === 0);
  const moved = { ...memberOf(n2), address: n2.transport.address };
  n1.transport.setMembers([memberOf(n1), moved], 5);
  await until(() => connectedCount(n1) === 1);
  n1.transport.send([message('n1', 'n2', 1)]);
  await until(() => n2.received.length === 1);
  t.pass();
});

t.test('a node that is no member yet is a guest: it is heard and answered', async (t) => {
  const knows = (id: string) => (id === 'n1' ? ['n1'] : ['n1', 'n2']);
  const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], knows)) as [Peer, Peer];
  await until(() => guestCount(n1) === 1 && connectedCount(n2) === 1);
  n2.transport.send([message('n2', 'n1', 1)]);
  await until(() => n1.received.length === 1);
  await until(() => {
    n1.transport.send([message('n1', 'n2', 2)]);
    return n2.received.length > 0;
  });
  const [guest] = n1.transport.guests();
  t.match(guest, { nodeId: 'n2', address: formatEndpoint(n2.proxy.endpoint), isJoining: false });
  t.equal(connectedCount(n1), 0, 'but it is not counted among the members');
  await n2.transport.stop();
  await until(() => guestCount(n1) === 0);
  t.same(n1.transport.guests(), [], 'and forgotten when it leaves');
});

t.test('a joining node announces itself to its contacts until it is a member', async (t) => {
  const knows = (id: string) => (id === 'n2' ? [] : ['n1']);
  const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], knows)) as [Peer, Peer];
  n2.transport.setContacts([memberOf(n1)]);
  await until(() => n1.transport.guests().length === 1);
  t.match(n1.transport.guests(), [{ nodeId: 'n2', isJoining: true }]);
  const members = [n1, n2].map(memberOf);
  n1.transport.setMembers(members, 4);
  n2.transport.setMembers(members, 4);
  await until(() => connectedCount(n1) === 1 && connectedCount(n2) === 1);
  t.same(n1.transport.guests(), []);
});

t.test('another life of a member is let in only if it joins or knows more', async (t) => {
  const other = incarnation('e'.repeat(32));
  const cases = [
    { name: 'joins', members: [], confIndex: 0, isLetIn: true },
    { name: 'knows more', members: ['n1'], confIndex: 9, isLetIn: true },
    { name: 'knows as much', members: ['n1'], confIndex: 5, isLetIn: false },
  ] as const;
  for (const { name, members, confIndex, isLetIn } of cases) {
    const patch: PeerNetOptions['patch'] = (id, options) => ({
      ...(SHORT?.(id, options) ?? options),
      ...(id === 'n2' ? { incarnation: other } : {}),
    });
    const peers = await createPeers({ ids: ['n1', 'n2'], knows: () => [], patch });
    const [n1, n2] = peers as [Peer, Peer];
    const known = [memberOf(n1), { ...memberOf(n2), incarnation: incarnationOf('n2') }];
    n1.transport.setMembers(known, 5);
    n2.transport.setMembers(members.length === 0 ? [] : [memberOf(n1), memberOf(n2)], confIndex);
    await startPeers(peers);
    if (members.length === 0) n2.transport.setContacts([memberOf(n1)]);
    const isRefused = (): boolean =>
      n2.log.some((line) => line.fields.code === 'PEER_WRONG_INCARNATION');
    await until(() => guestCount(n1) === 1 || isRefused());
    t.equal(guestCount(n1) === 1, isLetIn, name);
    t.equal(isRefused(), !isLetIn, name);
    await until(() => n1.log.some((line) => line.fields.code === 'PEER_WRONG_INCARNATION'));
    t.equal(connectedCount(n1), 0, 'and its old life is not reached at its address any more');
    await stopPeers(peers);
  }
});

t.test('guests are bounded, and members are not kept out by them', async (t) => {
  const peers = await createPeers({ ids: ['n1', 'n2'], patch: SHORT });
  const [n1, n2] = peers as [Peer, Peer];
  const strangers: WebSocketPeerTransport[] = [];
  t.teardown(async () => {
    for (const stranger of strangers) await stranger.stop();
    await stopPeers(peers);
  });
  await startPeers(peers);
  n2.proxy.isRefusing = true;
  n2.proxy.cutAll();
  for (let i = 0; i <= GUEST_COUNT_MAX; i++) {
    const stranger = new WebSocketPeerTransport({
      ...n2.options,
      nodeId: nodeId(`stranger-${i}`),
      incarnation: incarnation(i.toString(16).padStart(32, '0')),
      peerAddress: () => stranger.address,
    });
    strangers.push(stranger);
    await stranger.start();
    stranger.setContacts([memberOf(n1)]);
    if (i < GUEST_COUNT_MAX) await until(() => guestCount(n1) === i + 1);
  }
  await until(() => n1.log.some((line) => line.fields.code === 'TOO_MANY_CONNECTIONS'));
  t.equal(guestCount(n1), GUEST_COUNT_MAX);
  n2.proxy.isRefusing = false;
  await until(() => connectedCount(n1) === 1 && connectedCount(n2) === 1);
  t.pass('a member still gets in');
});

t.test(
  'an inquiry says who is there and who the members are, to whoever knows the secret',
  async (t) => {
    const knows = (id: string) => (id === 'n2' ? [] : ['n1']);
    const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], knows)) as [Peer, Peer];
    const answer = await n2.transport.inquire(n1.transport.address);
    t.match(answer.identity, { nodeId: 'n1', clusterId: n1.options.clusterId, isJoining: false });
    t.same(answer.members, [memberOf(n1)]);
    const reverse = await n1.transport.inquire(n2.transport.address);
    t.match(reverse.identity, { nodeId: 'n2', incarnation: incarnationOf('n2'), isJoining: true });
    t.same(reverse.members, []);
    t.equal(guestCount(n1) + guestCount(n2), 0, 'nobody became a guest by asking');

    const stranger = new WebSocketPeerTransport({ ...n2.options, secret: 'some-other-secret' });
    t.teardown(() => stranger.stop());
    await t.rejects(stranger.inquire(n1.transport.address), { code: 'PEER_UNAUTHENTICATED' });
    await t.rejects(n2.transport.inquire('nowhere'), { code: 'CONNECTION_LOST' });
  },
);

t.test(
  'a joining node that does not know the cluster id yet may inquire, and no more',
  async (t) => {
    const patch: PeerNetOptions['patch'] = (id, options) => ({
      ...(SHORT?.(id, options) ?? options),
      ...(id === 'n2' ? { clusterId: '0'.repeat(32) as never } : {}),
    });
    const knows = (id: string) => (id === 'n2' ? [] : ['n1']);
    const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], knows, patch)) as [Peer, Peer];
    const { identity } = await n2.transport.inquire(n1.transport.address);
    t.equal(identity.clusterId, n1.options.clusterId);
    n2.transport.setContacts([memberOf(n1)]);
    await until(() => n2.log.some((line) => line.fields.code === 'PEER_WRONG_CLUSTER'));
    t.equal(guestCount(n1), 0);
  },
);

t.test('nodes tell each other their wall clocks', async (t) => {
  const patch: PeerNetOptions['patch'] = (id, options) => {
    const { clock } = options;
    const aheadMs = id === 'n2' ? 90_000 : 0;
    return {
      ...options,
      timing: { pingIntervalMs: 5 },
      clock: {
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs() + aheadMs,
      },
    };
  };
  const [n1, n2] = (await peersThatKnow(t, ['n1', 'n2'], () => ['n1', 'n2'], patch)) as [
    Peer,
    Peer,
  ];
  const isNear = (found: number | undefined, wanted: number): boolean =>
    found !== undefined && Math.abs(found - wanted) < 1_000;
  await until(() => isNear(n1.transport.clockOffsetsMs().get(n2.id), 90_000));
  await until(() => isNear(n2.transport.clockOffsetsMs().get(n1.id), -90_000));
  t.pass();
});

t.test('the quietest of the last samples of a clock counts, and old ones do not', (t) => {
  let nowMs = 1_000;
  const clocks = new PeerClocks({ monotonicMs: () => nowMs, wallMs: () => 500_000 });
  const n2 = nodeId('n2');
  clocks.observe(n2, 500_000 - 3_000);
  clocks.observe(n2, 500_000 - 20);
  clocks.observe(n2, 500_000 - 7_000);
  t.equal(clocks.offsetsMs().get(n2), -20, 'what came late says nothing');
  nowMs += 20_000;
  t.equal(clocks.offsetsMs().size, 0);
  for (let i = 0; i < 20; i++) clocks.observe(n2, 500_000 + i);
  t.equal(clocks.offsetsMs().get(n2), 19);
  for (let i = 0; i < 300; i++) clocks.observe(nodeId(`x${i}`), 0);
  t.ok(clocks.offsetsMs().size <= 128, 'bounded, whoever connects');
  t.equal(decodePingTime(encodePingTime(1_234.5)), 1_234.5);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.alloc(9),
    encodePingTime(Number.NaN),
    encodePingTime(-1),
  ])
    t.equal(decodePingTime(bytes), null);
  t.end();
});
