/**
 * SIGSTOP of the leader under load, SIGCONT much later. While it stands still another leads and a
 * counter goes on there; all the time the frozen node is asked for the counter, with lease reads
 * and linearizable ones, so that a pile of questions waits for it when it wakes up believing that
 * it leads. None may be answered with less than was acknowledged before it was asked.
 */
import { HoldfastError } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeName } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { DirectReader } from '../net/direct-reader.ts';
import { pause, waitFor } from '../wait.ts';
import { SteadyLoad } from '../workload/steady-load.ts';

export interface PauseLeaderOptions {
  readonly cluster: ProcessCluster;
  readonly pauseMs: number;
  /** Lease reads are switched on; false: only linearizable reads are asked for. */
  readonly hasLeases: boolean;
  readonly log?: (line: string) => void;
}

export interface PauseLeaderReport {
  readonly paused: NodeName;
  readonly successor: NodeName;
  readonly writeGapMs: number;
  readonly acknowledgedCount: number;
  readonly failureCount: number;
  readonly lostIds: readonly number[];
  /** Of the steady load and of the counter; must be empty. */
  readonly staleReads: readonly string[];
  /** Questions to the frozen node: those it answered, and those it refused. */
  readonly answeredCount: number;
  readonly refusedCount: number;
  readonly roleAfterwards: string;
}

const COLLECTION = 'pause-leader';
const COUNTER_ID = 1;
const OPERATION_TIMEOUT_MS = 20_000;
const ASK_INTERVAL_MS = 20;
/** After SIGCONT: the first moments are the dangerous ones. */
const AFTERWARDS_MS = 3_000;
const READY_TIMEOUT_MS = 60_000;

export async function runPauseLeader(options: PauseLeaderOptions): Promise<PauseLeaderReport> {
  const { cluster, hasLeases } = options;
  const nodes = [...cluster.addresses];
  const client = await HoldfastClient.connect({ nodes, timeoutMs: OPERATION_TIMEOUT_MS });
  const load = await SteadyLoad.start({
    addresses: nodes,
    workerCount: 4,
    timeoutMs: OPERATION_TIMEOUT_MS,
  });
  try {
    if (hasLeases) await client.admin.setLeases(true);
    return await new PauseLeader(options, client, load).run();
  } finally {
    await load.close();
    await client.close();
  }
}

class PauseLeader {
  readonly #options: PauseLeaderOptions;
  readonly #client: HoldfastClient;
  readonly #load: SteadyLoad;
  readonly #staleReads: string[] = [];
  #counter = 0;
  #acknowledgedCounter = 0;
  #answeredCount = 0;
  #refusedCount = 0;
  #isOver = false;

  constructor(options: PauseLeaderOptions, client: HoldfastClient, load: SteadyLoad) {
    this.#options = options;
    this.#client = client;
    this.#load = load;
  }

  async run(): Promise<PauseLeaderReport> {
    const { cluster, pauseMs, log } = this.#options;
    await this.#client.createCollection({ name: COLLECTION, dimension: 2, metric: 'l2' });
    const counting = this.#count();
    await pause(1_000);
    this.#load.mark();
    const { leader } = await this.#client.admin.members();
    const paused = leader.nodeId;
    const asking = this.#askAllTheTime(paused);
    await pause(500);
    await cluster.signal(paused, 'SIGSTOP');
    log?.(`${paused} leads and is stopped`);
    const resumeAtMs = performance.now() + pauseMs;
    const successor = await this.#successorOf(paused);
    log?.(`${successor} leads now`);
    while (performance.now() < resumeAtMs) await pause(50);
    const { writeGapMs } = this.#load.mark();
    await cluster.signal(paused, 'SIGCONT');
    log?.(`${paused} goes on`);
    await pause(AFTERWARDS_MS);
    this.#isOver = true;
    await Promise.all([counting, asking]);
    await this.#load.stop();
    await cluster.waitUntilReady(READY_TIMEOUT_MS);
    await expectEqualDigests(cluster);
    return {
      ...{ paused, successor, writeGapMs },
      acknowledgedCount: this.#load.acknowledgedCount,
      failureCount: this.#load.failures.length,
      lostIds: await this.#load.findLost(),
      staleReads: [...this.#load.staleReads, ...this.#staleReads],
      answeredCount: this.#answeredCount,
      refusedCount: this.#refusedCount,
      roleAfterwards: (await cluster.health(paused))?.role ?? 'unreachable',
    };
  }

  async #successorOf(paused: NodeName): Promise<NodeName> {
    const { cluster } = this.#options;
    const what = `a successor of ${paused}`;
    const { nodeName } = await waitFor({ what, timeoutMs: READY_TIMEOUT_MS }, async () => {
      const leader = await cluster.leader();
      return leader === null || leader.nodeName === paused ? null : leader;
    });
    return nodeName;
  }

  /** One writer, so that the values are acknowledged in order. */
  async #count(): Promise<void> {
    while (!this.#isOver) {
      this.#counter += 1;
      const value = this.#counter;
      const vector = new Float32Array([value, 0]);
      await this.#client
        .collection(COLLECTION)
        .upsert({ id: COUNTER_ID, vector, payload: { value } });
      this.#acknowledgedCounter = value;
    }
  }

  async #askAllTheTime(node: NodeName): Promise<void> {
    const { cluster, pauseMs, hasLeases } = this.#options;
    const timeoutMs = pauseMs + READY_TIMEOUT_MS;
    const reader = new DirectReader(cluster.addressOf(node), timeoutMs);
    const open = new Set<Promise<void>>();
    try {
      for (let i = 0; !this.#isOver; i++) {
        const consistency = hasLeases && i % 2 === 0 ? 'lease' : 'linearizable';
        const asked = this.#ask(reader, consistency).finally(() => open.delete(asked));
        open.add(asked);
        await pause(ASK_INTERVAL_MS);
      }
      await Promise.all(open);
    } finally {
      await reader.close();
    }
  }

  async #ask(reader: DirectReader, consistency: 'lease' | 'linearizable'): Promise<void> {
    const expected = this.#acknowledgedCounter;
    try {
      const point = await reader.get(COLLECTION, COUNTER_ID, consistency);
      this.#answeredCount += 1;
      const value = Number(point?.payload?.value ?? 0);
      if (value >= expected) return;
      this.#staleReads.push(`${consistency} read: ${value}, but ${expected} was acknowledged`);
    } catch (thrown) {
      // A refusal is always right. Anything else is a bug of the harness.
      if (!(thrown instanceof HoldfastError)) throw thrown;
      this.#refusedCount += 1;
    }
  }
}
