/**
 * Members come and go while a cluster works. Whole nodes on virtual time: what an operator asks is
 * executed as it comes over the wire, and the state of every member is compared afterwards.
 */
import { HoldfastError, incarnation, type Member, makeConf, must, nodeId } from '@holdfast/base';
import type {
  ChangeMembersResult,
  ListMembersResult,
  MemberInfo,
  Request,
  ResultBody,
  UpsertResult,
} from '@holdfast/protocol';
import type { PeerStatus } from '@holdfast/raft';
import t from 'tap';
import { planChange } from '../src/replica/member-plan.ts';
import { SimCluster, type SimClusterOptions, type SimNode } from '../src/testing/sim-cluster.ts';

type Asked = Request extends infer Each ? (Each extends Request ? Omit<Each, 'id'> : never) : never;

/** A cluster with the requests that these tests make of it. */
class World {
  readonly cluster: SimCluster;
  #written = 0;

  private constructor(cluster: SimCluster) {
    this.cluster = cluster;
  }

  static async start(options: Partial<SimClusterOptions> = {}): Promise<World> {
    const cluster = new SimCluster({
      nodeCount: 3,
      seed: 11,
      latency: { networkMsMax: 3, diskMsMax: 3 },
      ...options,
    });
    await cluster.start();
    const world = new World(cluster);
    await world.ask({ kind: 'createCollection', name: 'docs', dimension: 2, metric: 'l2' });
    return world;
  }

  /** Asks the leader, or `node`. */
  async ask(request: Asked, node?: SimNode): Promise<ResultBody> {
    const asked = node ?? (await this.cluster.leader());
    return this.cluster.execute(asked, { id: 1, ...request } as Request, 20_000);
  }

  change(request: Asked, node?: SimNode): Promise<ChangeMembersResult> {
    return this.ask(request, node) as Promise<ChangeMembersResult>;
  }

  async codeOf(request: Asked, node?: SimNode): Promise<string> {
    try {
      await this.ask(request, node);
      return 'OK';
    } catch (thrown) {
      if (thrown instanceof HoldfastError) return thrown.code;
      throw thrown;
    }
  }

  async list(): Promise<ListMembersResult> {
    return (await this.ask({ kind: 'listMembers' })) as ListMembersResult;
  }

  async member(id: string): Promise<MemberInfo | undefined> {
    return (await this.list()).members.find((member) => member.nodeId === id);
  }

  async write(count = 1): Promise<UpsertResult> {
    let result: ResultBody | null = null;
    for (let i = 0; i < count; i++) {
      this.#written += 1;
      const vector = new Float32Array([this.#written, i]);
      const points = [{ id: this.#written, vector }];
      result = await this.ask({ kind: 'upsert', collection: 'docs', points });
    }
    return must(result) as UpsertResult;
  }

  async count(node?: SimNode): Promise<number> {
    const result = await this.ask({ kind: 'count', collection: 'docs' }, node);
    return (result as { count: number }).count;
  }

  get written(): number {
    return this.#written;
  }

  /** A node that was started to join and has announced itself. */
  async joining(name: string): Promise<SimNode> {
    const node = this.cluster.addJoining(name);
    await node.start();
    await this.until(() => this.#knowsJoining(name));
    return node;
  }

  /** Every member that runs has it as a guest. */
  #knowsJoining(name: string): boolean {
    const { nodes, network } = this.cluster;
    const members = nodes.filter((node) => node.isRunning && standing(node) !== 'joining');
    return members.every(({ id }) =>
      network
        .endpoint(id)
        ?.guests()
        .some(({ nodeId }) => nodeId === name),
    );
  }

  until(condition: () => boolean): Promise<void> {
    return this.cluster.scheduler.until(condition, 60_000);
  }

  async untilVoter(node: SimNode): Promise<void> {
    await this.until(() => standing(node) === 'voter');
  }

  async agreed(): Promise<boolean> {
    const digests = await this.cluster.digests();
    return new Set(digests.map(({ digest }) => digest)).size === 1;
  }

  async followers(): Promise<readonly [SimNode, SimNode]> {
    const leader = await this.cluster.leader();
    const [first, second] = this.cluster.nodes.filter((node) => node !== leader);
    return [must(first), must(second)];
  }
}

const standing = (node: SimNode): string => node.node.service.status().membership;

t.test(
  'a node that joins catches up, gets its vote by itself and holds the same data',
  async (t) => {
    const world = await World.start();
    await world.write(100);
    const n4 = await world.joining('n4');
    t.equal(standing(n4), 'joining');
    t.equal(n4.node.service.status().isReady, false);
    const { joining } = await world.list();
    t.match(joining, [{ nodeId: 'n4', address: 'n4:2', clientAddress: 'n4:1' }]);
    t.equal(await world.codeOf({ kind: 'count', collection: 'docs' }, n4), 'NOT_MEMBER');

    const added = await world.change({ kind: 'addMember', nodeId: 'n4' });
    t.match(added, { isChanged: true, term: 1 });
    t.match(await world.member('n4'), { role: 'learner', isToBePromoted: true });
    await world.write(50);
    await world.untilVoter(n4);
    t.match(await world.member('n4'), { role: 'voter', isToBePromoted: false });
    t.ok(await world.agreed());
    t.equal(await world.count(n4), world.written, 'it serves reads of its own');

    const again = await world.change({ kind: 'addMember', nodeId: 'n4' });
    t.match(again, { isChanged: false }, 'the same request again does no harm');
  },
);

t.test('with four voters two may not fail, and with the fourth back one may', async (t) => {
  const world = await World.start();
  const n4 = await world.joining('n4');
  await world.change({ kind: 'addMember', nodeId: 'n4' });
  await world.untilVoter(n4);
  const leader = await world.cluster.leader();
  const others = world.cluster.nodes.filter((node) => node !== leader);
  for (const node of others.slice(0, 2)) node.kill();
  const write: Asked = {
    kind: 'upsert',
    collection: 'docs',
    points: [{ id: 900, vector: new Float32Array([1, 1]) }],
  };
  t.not(await world.codeOf(write, leader), 'OK', 'three of four are a majority, two are not');
  await must(others[0]).start();
  await world.write(1);
  await must(others[1]).start();
  t.ok(await world.agreed());
});

t.test('a node that joins long after the log was compacted gets a snapshot', async (t) => {
  const settings = { retainedEntryCount: 0 };
  const world = await World.start({ settings });
  await world.write(30);
  for (const round of [1, 2]) {
    for (const node of world.cluster.nodes) {
      await world.cluster.scheduler.resolve(node.node.replica.checkpoint());
    }
    await world.write(round);
  }
  const n4 = await world.joining('n4');
  await world.change({ kind: 'addMember', nodeId: 'n4' });
  await world.untilVoter(n4);
  t.equal(n4.snapshotsInstalled, 1);
  t.ok(await world.agreed());
  t.equal(await world.count(n4), world.written);
});

t.test('a learner stays one until it is promoted, and a voter can be made a learner', async (t) => {
  const world = await World.start();
  const n4 = await world.joining('n4');
  await world.change({ kind: 'addMember', nodeId: 'n4', isLearner: true });
  await world.write(20);
  await world.cluster.scheduler.advance(5_000);
  t.match(await world.member('n4'), { role: 'learner', isToBePromoted: false });
  t.equal(await world.codeOf({ kind: 'addMember', nodeId: 'n4' }), 'MEMBER_EXISTS');
  t.match(await world.change({ kind: 'promoteMember', nodeId: 'n4' }), { isChanged: true });
  t.equal(standing(n4), 'voter');
  t.match(await world.change({ kind: 'promoteMember', nodeId: 'n4' }), { isChanged: false });
  t.match(await world.change({ kind: 'demoteMember', nodeId: 'n4' }), { isChanged: true });
  t.match(await world.member('n4'), { role: 'learner' });
  await world.write(5);
  t.ok(await world.agreed(), 'it keeps its copy up to date');
  n4.kill();
  await world.cluster.scheduler.advance(2_000);
  t.equal(await world.codeOf({ kind: 'promoteMember', nodeId: 'n4' }), 'MEMBER_BEHIND');
});

t.test('leadership goes where the operator wants it, and nothing is lost on the way', async (t) => {
  const world = await World.start();
  await world.write(10);
  const leader = await world.cluster.leader();
  const [to, other] = await world.followers();
  const result = await world.ask({ kind: 'transferLeadership', to: to.id });
  t.match(result, { leader: to.id, term: 2 });
  t.equal((await world.cluster.leader()).id, to.id);
  t.match(await world.ask({ kind: 'transferLeadership', to: to.id }), { leader: to.id, term: 2 });
  await world.write(10);
  const anywhere = (await world.ask({ kind: 'transferLeadership' })) as { leader: string };
  t.ok([leader.id, other.id].includes(anywhere.leader as never), 'to whoever is up to date');
  t.equal(await world.codeOf({ kind: 'transferLeadership', to: 'nobody' }), 'MEMBER_UNKNOWN');
  await world.joining('n4');
  await world.change({ kind: 'addMember', nodeId: 'n4', isLearner: true });
  t.equal(await world.codeOf({ kind: 'transferLeadership', to: 'n4' }), 'MEMBERSHIP_INVALID');
  const dead = must((await world.followers())[0]);
  dead.kill();
  t.equal(await world.codeOf({ kind: 'transferLeadership', to: dead.id }), 'TRANSFER_FAILED');
  await world.write(5);
  t.equal(await world.count(), world.written, 'the old leader goes on');
});

t.test('a leader that is removed answers, steps down, and says so from then on', async (t) => {
  const world = await World.start();
  await world.write(10);
  const leader = await world.cluster.leader();
  const removed = await world.change({ kind: 'removeMember', nodeId: leader.id }, leader);
  t.match(removed, { isChanged: true, term: 1 });
  await world.until(() => standing(leader) === 'removed');
  const status = leader.node.service.status();
  t.match(status, { role: 'follower', isReady: false, membership: 'removed' });
  t.equal(await world.codeOf({ kind: 'count', collection: 'docs' }, leader), 'NOT_MEMBER');
  t.equal(await world.codeOf({ kind: 'status' }, leader), 'OK');
  const successor = await world.cluster.leader();
  t.not(successor.id, leader.id);
  await world.write(10);
  t.equal(await world.codeOf({ kind: 'removeMember', nodeId: leader.id }), 'MEMBER_UNKNOWN');
  leader.kill();
  await leader.start();
  await world.cluster.scheduler.advance(5_000);
  t.equal(leader.node.service.status().isReady, false, 'also after a restart');
  t.not(await world.codeOf({ kind: 'count', collection: 'docs' }, leader), 'OK');
  t.equal((await world.cluster.leader()).id, successor.id, 'and it disturbs nobody');
});

t.test('a removal that is repeated for one life of a node removes no other', async (t) => {
  const world = await World.start();
  const [n] = await world.followers();
  const life = must(await world.member(n.id)).incarnation;
  const remove = { kind: 'removeMember', nodeId: n.id, incarnation: life } as const;
  t.match(await world.change(remove), { isChanged: true });
  t.match(await world.change(remove), { isChanged: false });
  n.kill();
  world.cluster.wipe(n);
  await n.start();
  await world.until(() => world.cluster.network.endpoint(n.id) !== undefined);
  await world.cluster.scheduler.advance(3_000);
  await world.change({ kind: 'addMember', nodeId: n.id });
  await world.untilVoter(n);
  t.match(await world.change(remove), { isChanged: false }, 'its new life stays');
  t.equal(standing(n), 'voter');
});

t.test('a voter is replaced in one step once the new node has caught up', async (t) => {
  const world = await World.start();
  await world.write(60);
  const [old] = await world.followers();
  const n4 = await world.joining('n4');
  const replace = { kind: 'replaceMember', nodeId: old.id, by: 'n4' } as const;
  t.match(await world.change(replace), { isChanged: true });
  t.match(await world.member('n4'), { role: 'learner', replaces: old.id });
  t.match(await world.change(replace), { isChanged: false });
  await world.untilVoter(n4);
  await world.until(() => standing(old) === 'removed');
  const { members, isJoint } = await world.list();
  t.equal(isJoint, false);
  t.equal(members.length, 3);
  t.notOk(members.some(({ nodeId }) => nodeId === old.id));
  t.match(await world.change(replace), { isChanged: false }, 'done is done');
  old.kill();
  await world.write(5);
  t.ok(await world.agreed());
});

t.test('a learner takes the place of a voter at once', async (t) => {
  const world = await World.start();
  const [old] = await world.followers();
  const n4 = await world.joining('n4');
  await world.change({ kind: 'addMember', nodeId: 'n4', isLearner: true });
  await world.write(5);
  await world.cluster.scheduler.advance(1_000);
  const replaced = await world.change({ kind: 'replaceMember', nodeId: old.id, by: 'n4' });
  t.match(replaced, { isChanged: true });
  t.match(await world.list(), { isJoint: false, isPending: false }, 'answered when complete');
  t.equal(standing(n4), 'voter');
});

t.test(
  'a member that lost its disk is let in again as another life, when the old is silent',
  async (t) => {
    const world = await World.start();
    await world.write(40);
    const [n] = await world.followers();
    const before = must(await world.member(n.id)).incarnation;
    n.kill();
    world.cluster.wipe(n);
    await n.start();
    await world.until(() => standing(n) === 'joining');
    await world.untilVoter(n);
    t.match(await world.change({ kind: 'addMember', nodeId: n.id }), { isChanged: false });
    const after = must(await world.member(n.id)).incarnation;
    t.not(after, before);
    t.ok(await world.agreed());
  },
);

t.test('the new leader goes on with what the old one began', async (t) => {
  const world = await World.start();
  await world.write(40);
  const n4 = await world.joining('n4');
  const leader = await world.cluster.leader();
  n4.pause();
  await world.change({ kind: 'addMember', nodeId: 'n4', address: 'n4:2' }, leader);
  leader.kill();
  n4.resume();
  await world.untilVoter(n4);
  await leader.start();
  t.ok(await world.agreed());
  t.equal((await world.list()).members.length, 4);
});

t.test(
  'a checkpoint carries the members as of its index, and a restart goes by them',
  async (t) => {
    const world = await World.start({ settings: { retainedEntryCount: 0 } });
    await world.write(5);
    const n4 = await world.joining('n4');
    await world.change({ kind: 'addMember', nodeId: 'n4' });
    await world.untilVoter(n4);
    const [old] = (await world.followers()).filter((node) => node !== n4);
    const removed = must(old);
    await world.write(1);
    t.ok(await world.agreed());
    for (const round of [1, 2]) {
      for (const node of world.cluster.nodes) {
        const root = await world.cluster.scheduler.resolve(node.node.replica.checkpoint());
        t.equal(root.meta.conf.voters.length, 4);
        t.ok(root.meta.confIndex > 0 && root.meta.confIndex <= root.meta.index);
      }
      await world.write(round);
    }
    await world.change({ kind: 'removeMember', nodeId: removed.id });
    await world.write(5);
    for (const node of world.cluster.nodes) node.kill();
    for (const node of world.cluster.nodes) if (node !== removed) await node.start();
    await world.write(1);
    const { members } = await world.list();
    t.same(
      members.map(({ nodeId }) => nodeId),
      world.cluster.nodes
        .map(({ id }) => id)
        .filter((id) => id !== removed.id)
        .sort(),
    );
    t.ok(await world.agreed());
  },
);

t.test(
  'what makes no sense or no quorum is refused with its reason, and changes nothing',
  async (t) => {
    const world = await World.start();
    const leader = await world.cluster.leader();
    const [first, second] = await world.followers();
    await world.joining('n4');
    await world.joining('n5');
    const before = (await world.list()).confIndex;
    const refusals: readonly (readonly [Asked, string])[] = [
      [{ kind: 'removeMember', nodeId: 'nobody' }, 'MEMBER_UNKNOWN'],
      [{ kind: 'promoteMember', nodeId: 'n4' }, 'MEMBER_UNKNOWN'],
      [{ kind: 'demoteMember', nodeId: 'n4' }, 'MEMBER_UNKNOWN'],
      [{ kind: 'updateMember', nodeId: 'n4', address: 'x:1' }, 'MEMBER_UNKNOWN'],
      [{ kind: 'updateMember', nodeId: first.id }, 'MEMBERSHIP_INVALID'],
      [{ kind: 'addMember', nodeId: 'n6' }, 'MEMBER_UNKNOWN'],
      [{ kind: 'addMember', nodeId: 'n6', address: 'n6:2' }, 'MEMBER_UNREACHABLE'],
      [{ kind: 'addMember', nodeId: 'n6', address: 'n4:2' }, 'MEMBER_UNREACHABLE'],
      [{ kind: 'addMember', nodeId: first.id, isLearner: true }, 'MEMBER_EXISTS'],
      [{ kind: 'replaceMember', nodeId: first.id, by: first.id }, 'MEMBERSHIP_INVALID'],
      [{ kind: 'replaceMember', nodeId: first.id, by: second.id }, 'MEMBERSHIP_INVALID'],
      [{ kind: 'replaceMember', nodeId: 'n4', by: 'n5' }, 'MEMBER_UNKNOWN'],
      [{ kind: 'replaceMember', nodeId: first.id, by: 'n6' }, 'MEMBER_UNKNOWN'],
    ];
    for (const [request, code] of refusals) {
      t.equal(await world.codeOf(request), code, JSON.stringify(request));
      t.equal(await world.codeOf(request, first), 'NOT_LEADER', 'a follower redirects');
    }
    first.kill();
    await world.cluster.scheduler.advance(2_000);
    t.equal(await world.codeOf({ kind: 'removeMember', nodeId: second.id }), 'QUORUM_AT_RISK');
    t.equal(await world.codeOf({ kind: 'removeMember', nodeId: leader.id }), 'QUORUM_AT_RISK');
    t.equal((await world.list()).confIndex, before);
    t.match(
      await world.change({ kind: 'removeMember', nodeId: first.id }),
      { isChanged: true },
      'the dead one may go',
    );
    await world.write(1);
  },
);

t.test('one change at a time: the second waits for the first', async (t) => {
  const world = await World.start();
  const [first, second] = await world.followers();
  await world.joining('n4');
  // Nothing is committed while the followers stand still.
  first.pause();
  second.pause();
  const leader = await world.cluster.leader();
  const { scheduler } = world.cluster;
  const deadlineMs = leader.node.replica.stalenessMs() + 1e9;
  const add = leader.node.service.execute(
    { id: 1, kind: 'addMember', nodeId: 'n4' },
    { deadlineMs },
  );
  await scheduler.settle();
  await scheduler.advance(20);
  t.equal(await world.codeOf({ kind: 'setLeases', isEnabled: true }, leader), 'MEMBERSHIP_PENDING');
  first.resume();
  second.resume();
  t.match(await scheduler.resolve(add), { isChanged: true });
  t.match(await world.change({ kind: 'setLeases', isEnabled: true }), { isChanged: true });
});

t.test('a member that moves tells its new addresses to everybody', async (t) => {
  const world = await World.start();
  const [n] = await world.followers();
  const update = { kind: 'updateMember', nodeId: n.id, clientAddress: 'elsewhere:1' } as const;
  t.match(await world.change(update), { isChanged: true });
  t.match(await world.change(update), { isChanged: false });
  await world.cluster.scheduler.advance(500);
  for (const node of world.cluster.nodes) {
    if (node === n) continue;
    const member = node.node.service.members().find(({ nodeId }) => nodeId === n.id);
    t.equal(member?.publicAddress, 'elsewhere:1', node.id);
  }
});

t.test(
  'a checkpoint made while a change is not committed carries the members before it',
  async (t) => {
    const world = await World.start();
    await world.write(5);
    await world.joining('n4');
    const leader = await world.cluster.leader();
    const followers = await world.followers();
    const { scheduler } = world.cluster;
    for (const node of followers.filter(({ id }) => id !== 'n4')) node.pause();
    const deadlineMs = scheduler.clock.monotonicMs() + 60_000;
    const request = { id: 1, kind: 'addMember', nodeId: 'n4' } as const;
    const added = leader.node.service.execute(request, { deadlineMs });
    await scheduler.until(() => leader.node.replica.membership.conf.members.length === 4, 1_000);
    const root = await scheduler.resolve(leader.node.replica.checkpoint());
    t.equal(root.meta.conf.members.length, 3, 'the change may still be taken back');
    t.equal(root.meta.confIndex, 0);
    for (const node of followers) node.resume();
    t.match(await scheduler.resolve(added), { isChanged: true });
  },
);

t.test('another life of a member is let in only while its old life is silent', (t) => {
  const member = (id: string, life: string): Member => ({
    nodeId: nodeId(id),
    incarnation: incarnation(life.repeat(32)),
    address: `${id}:2`,
    clientAddress: null,
  });
  const conf = makeConf([member('n1', 'a'), member('n2', 'b'), member('n3', 'c')]);
  const newcomer = member('n2', 'd');
  const peer = (isRecentlyActive: boolean) =>
    ({ id: nodeId('n2'), matchIndex: 0, isRecentlyActive }) as PeerStatus;
  const plan = (isRecentlyActive: boolean) =>
    planChange(
      { id: 1, kind: 'addMember', nodeId: 'n2' },
      { conf, newcomer, peers: [peer(isRecentlyActive)], lastIndex: 9 },
    );
  t.same(plan(false), [
    { kind: 'remove', nodeId: 'n2' },
    { kind: 'addLearner', member: newcomer, promotion: { replaces: null } },
  ]);
  t.throws(() => plan(true), { code: 'MEMBER_EXISTS' });
  t.end();
});
