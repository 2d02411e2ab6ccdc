/**
 * Every change of the membership, one after the other, on real processes under load: a fourth node
 * joins, takes the leadership, the first leader is removed, a wiped node comes back as another
 * life, a lost node is replaced by a new one, a leader is stopped in order. The clients know only
 * the first three nodes; at the end none of those that they were given need be there.
 *
 * Promised: no operation fails beyond the retries of the client library, nothing acknowledged is
 * lost, and all members hold the same state.
 */
import { HoldfastClient, type ListMembersResult } from '@holdfast/client';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeName } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause, waitFor } from '../wait.ts';
import { type LoadInterval, SteadyLoad } from '../workload/steady-load.ts';

export interface MembershipOptions {
  readonly cluster: ProcessCluster;
  /** Time under load between two steps. */
  readonly pauseMs: number;
  readonly workerCount?: number;
  readonly onStep?: (step: MembershipStep) => void;
}

export interface MembershipStep extends LoadInterval {
  readonly name: string;
  readonly tookMs: number;
}

export interface MembershipReport {
  readonly steps: readonly MembershipStep[];
  readonly acknowledgedCount: number;
  readonly failureCount: number;
  readonly lostIds: readonly number[];
  readonly staleReads: readonly string[];
  readonly memberNames: readonly NodeName[];
  /** Nodes that were removed or replaced. */
  readonly removedNames: readonly NodeName[];
  readonly digest: string;
}

/** Longer than any election: a failure is a broken promise, not impatience. */
const OPERATION_TIMEOUT_MS = 20_000;
const CHANGE_TIMEOUT_MS = 60_000;
const WORKER_COUNT = 8;

export async function runMembership(options: MembershipOptions): Promise<MembershipReport> {
  const { cluster } = options;
  const nodes = [...cluster.addresses];
  const admin = await HoldfastClient.connect({ nodes, timeoutMs: CHANGE_TIMEOUT_MS });
  const load = await SteadyLoad.start({
    addresses: nodes,
    workerCount: options.workerCount ?? WORKER_COUNT,
    timeoutMs: OPERATION_TIMEOUT_MS,
  });
  try {
    return await new Membership(options, admin, load).run();
  } finally {
    await load.close();
    await admin.close();
  }
}

class Membership {
  readonly #options: MembershipOptions;
  readonly #client: HoldfastClient;
  readonly #load: SteadyLoad;
  readonly #steps: MembershipStep[] = [];
  readonly #removed: NodeName[] = [];

  constructor(options: MembershipOptions, client: HoldfastClient, load: SteadyLoad) {
    this.#options = options;
    this.#client = client;
    this.#load = load;
  }

  async run(): Promise<MembershipReport> {
    const { cluster } = this.#options;
    const { admin } = this.#client;
    const first = (await admin.members()).leader.nodeId;
    await this.#step('load on three nodes', async () => {});
    const fourth = await this.#step('a fourth node joins', () => this.#join());
    await this.#step('it takes the leadership', () => admin.transferLeadership(fourth));
    await this.#step('the first leader is removed', async () => {
      await admin.removeMember(first);
      await cluster.signal(first, 'SIGTERM');
      cluster.forget(first);
      this.#removed.push(first);
    });
    await this.#step('a wiped node comes back', async () => this.#wipe(await this.#follower()));
    await this.#step('a lost node is replaced', async () => this.#replace(await this.#follower()));
    await this.#step('the leader stops in order', () => this.#restartLeader());
    await this.#load.stop();
    const digests = await expectEqualDigests(cluster);
    return {
      steps: this.#steps,
      acknowledgedCount: this.#load.acknowledgedCount,
      failureCount: this.#load.failures.length,
      lostIds: await this.#load.findLost(),
      staleReads: this.#load.staleReads,
      memberNames: (await admin.members()).members.map(({ nodeId }) => nodeId),
      removedNames: this.#removed,
      digest: digests[0]?.digest ?? '',
    };
  }

  async #step<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
    const startMs = performance.now();
    const result = await run();
    const tookMs = performance.now() - startMs;
    await pause(this.#options.pauseMs);
    const step = { name, tookMs, ...this.#load.mark() };
    this.#steps.push(step);
    this.#options.onStep?.(step);
    return result;
  }

  async #join(): Promise<NodeName> {
    const { cluster } = this.#options;
    const name = await cluster.addNode();
    await cluster.start(name);
    await this.#untilJoining(name);
    await this.#client.admin.addMember({ nodeId: name });
    await this.#untilVoter(name);
    return name;
  }

  async #wipe(name: NodeName): Promise<void> {
    const { cluster } = this.#options;
    await cluster.signal(name, 'SIGKILL');
    cluster.wipe(name);
    await cluster.start(name);
    await this.#untilJoining(name);
    await this.#client.admin.addMember({ nodeId: name });
    await this.#untilVoter(name);
  }

  async #replace(old: NodeName): Promise<void> {
    const { cluster } = this.#options;
    await cluster.signal(old, 'SIGKILL');
    cluster.wipe(old);
    cluster.forget(old);
    this.#removed.push(old);
    const by = await cluster.addNode();
    await cluster.start(by);
    await this.#untilJoining(by);
    await this.#client.admin.replaceMember({ nodeId: old, by });
    await this.#untilVoter(by);
    await this.#until(`${old} to be gone`, ({ members }) =>
      members.every(({ nodeId }) => nodeId !== old),
    );
  }

  async #restartLeader(): Promise<void> {
    const { cluster } = this.#options;
    const { leader } = await this.#client.admin.members();
    await cluster.signal(leader.nodeId, 'SIGTERM');
    await cluster.start(leader.nodeId);
    await cluster.waitUntilReady();
  }

  async #follower(): Promise<NodeName> {
    const { members } = await this.#client.admin.members();
    const follower = members.find(({ isLeader, role }) => !isLeader && role === 'voter');
    if (follower === undefined) throw new Error('the cluster has no follower');
    return follower.nodeId;
  }

  #untilJoining(name: NodeName): Promise<void> {
    return this.#until(`${name} to announce itself`, ({ joining }) =>
      joining.some(({ nodeId }) => nodeId === name),
    );
  }

  #untilVoter(name: NodeName): Promise<void> {
    return this.#until(`${name} to be a voter`, ({ members, isJoint, isPending }) =>
      members.some(
        ({ nodeId, role }) => nodeId === name && role === 'voter' && !isJoint && !isPending,
      ),
    );
  }

  async #until(what: string, isMet: (list: ListMembersResult) => boolean): Promise<void> {
    await waitFor({ what, timeoutMs: CHANGE_TIMEOUT_MS, pollIntervalMs: 50 }, async () =>
      isMet(await this.#client.admin.members()) ? true : null,
    );
  }
}
