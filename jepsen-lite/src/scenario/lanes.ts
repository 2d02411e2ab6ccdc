/**
 * Threads of lanes that die, hang and leak, one after the other, on the leader and on followers of
 * real processes, under load whose every answer is checked. Each must come back by itself within
 * the target of its priority, as one recovery that the node tells of, and no answer may be wrong.
 */
import { HoldfastError, must } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { LANE_FAULT_IDS } from '@holdfast/node/testing';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeName } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { DirectReader } from '../net/direct-reader.ts';
import { pause, waitFor } from '../wait.ts';
import { SteadyLoad } from '../workload/steady-load.ts';

/** What lanes can be told to do; a heap is small in these clusters, see LANE_SETTINGS. */
export const LANE_FAULTS = ['exit', 'hang', 'hangAtNextApply', 'leak'] as const;
export type LaneFault = (typeof LANE_FAULTS)[number];

/** Of every node: two lanes, checkpoints that lanes come back from, heaps that fill soon. */
export const LANE_SETTINGS = {
  ...{ laneCount: 2, checkpointIntervalMs: 2_000, laneHeapSizeMbMax: 48 },
} as const;

/** From finding to recovered, by priority; the node's own promise. */
const TARGETS_MS: readonly number[] = [30_000, 120_000, 300_000, 3_600_000];

export interface LaneStep {
  readonly fault: LaneFault;
  readonly victim: 'leader' | 'follower';
}

export interface LaneOutcome extends LaneStep {
  readonly node: NodeName;
  /** As the node classed it: `laneDied`, `laneHung`, `laneLeaking`. */
  readonly type: string;
  /** From the order to the event that says the fault was found. */
  readonly noticedMs: number;
  /** From there until the lane had its state back. */
  readonly tookMs: number;
  readonly targetMs: number;
}

export interface LanesReport {
  readonly outcomes: readonly LaneOutcome[];
  readonly acknowledgedCount: number;
  readonly searchCount: number;
  /** Operations that failed beyond the client's retries. */
  readonly failures: readonly string[];
  /** Reads and searches that were answered wrongly; must be empty. */
  readonly wrongAnswers: readonly string[];
  readonly lostIds: readonly number[];
}

export interface LanesOptions {
  readonly cluster: ProcessCluster;
  readonly steps: readonly LaneStep[];
  readonly log?: (line: string) => void;
}

const COLLECTION = 'lanes';
const ROW_COUNT = 400;
const OPERATION_TIMEOUT_MS = 60_000;
/** The order itself is lost with the thread: nobody waits for its answer. */
const ORDER_TIMEOUT_MS = 2_000;
const RECOVERY_TIMEOUT_MS = 300_000;
/** What is refused at once must not be asked again at once. */
const FAILURE_PAUSE_MS = 100;

export async function runLanes(options: LanesOptions): Promise<LanesReport> {
  const nodes = [...options.cluster.addresses];
  const client = await HoldfastClient.connect({ nodes, timeoutMs: OPERATION_TIMEOUT_MS });
  const load = await SteadyLoad.start({
    ...{ addresses: nodes, workerCount: 3, timeoutMs: OPERATION_TIMEOUT_MS },
  });
  try {
    return await new Lanes(options, client, load).run();
  } finally {
    await load.close();
    await client.close();
  }
}

interface RecoveryEvent {
  readonly number: number;
  readonly kind: string;
  readonly key: string;
  readonly type: string;
  readonly priority: number;
  readonly facts: Readonly<Record<string, unknown>>;
}

class Lanes {
  readonly #options: LanesOptions;
  readonly #client: HoldfastClient;
  readonly #load: SteadyLoad;
  readonly #failures: string[] = [];
  readonly #wrongAnswers: string[] = [];
  #searchCount = 0;
  #isOver = false;

  constructor(options: LanesOptions, client: HoldfastClient, load: SteadyLoad) {
    this.#options = options;
    this.#client = client;
    this.#load = load;
  }

  async run(): Promise<LanesReport> {
    const { cluster, steps } = this.#options;
    await this.#prepare();
    const searching = this.#searchAllTheTime();
    const outcomes: LaneOutcome[] = [];
    try {
      for (const step of steps) outcomes.push(await this.#step(step));
    } finally {
      this.#isOver = true;
      await searching;
    }
    await this.#load.stop();
    await cluster.waitUntilReady();
    await expectEqualDigests(cluster);
    return {
      outcomes,
      acknowledgedCount: this.#load.acknowledgedCount,
      searchCount: this.#searchCount,
      failures: [
        ...this.#failures,
        ...this.#load.failures.map(({ code, message, what }) => `${what}: ${code}: ${message}`),
      ],
      wrongAnswers: [...this.#wrongAnswers, ...this.#load.staleReads],
      lostIds: await this.#load.findLost(),
    };
  }

  async #prepare(): Promise<void> {
    const spec = { name: COLLECTION, dimension: 4, metric: 'l2', shardCount: 4 } as const;
    await this.#client.createCollection(spec);
    const points = Array.from({ length: ROW_COUNT }, (_unused, id) => ({
      ...{ id, vector: vectorOf(id) },
    }));
    await this.#client.collection(COLLECTION).upsert(points);
  }

  async #step({ fault, victim }: LaneStep): Promise<LaneOutcome> {
    const { cluster, log } = this.#options;
    const { nodeName: leader } = await cluster.waitUntilReady();
    const follower = must(cluster.nodeNames.find((name) => name !== leader));
    const node = victim === 'leader' ? leader : follower;
    const since = (await this.#events(node, 0)).at(-1)?.number ?? 0;
    const startMs = performance.now();
    const ordered = this.#order(node, fault);
    const found = await this.#event(node, since, 'found');
    const noticedMs = performance.now() - startMs;
    await ordered;
    const recovered = await this.#event(node, since, 'recovered');
    const tookMs = Number(recovered.facts.tookMs);
    const targetMs = must(TARGETS_MS[found.priority]);
    log?.(
      `${fault} on ${node} (${victim}): ${found.type} noticed after ${Math.round(noticedMs)} ms, ` +
        `back after ${Math.round(tookMs)} ms, target P${found.priority} ${targetMs} ms`,
    );
    return { fault, victim, node, type: found.type, noticedMs, tookMs, targetMs };
  }

  async #order(node: NodeName, fault: LaneFault): Promise<void> {
    const reader = new DirectReader(this.#options.cluster.addressOf(node), ORDER_TIMEOUT_MS);
    try {
      await reader.get(COLLECTION, LANE_FAULT_IDS[fault], 'linearizable');
    } catch (thrown) {
      // The thread that should have answered is gone. Anything else is a bug of the harness.
      if (!(thrown instanceof HoldfastError)) throw thrown;
    } finally {
      await reader.close();
    }
  }

  async #events(node: NodeName, since: number): Promise<readonly RecoveryEvent[]> {
    const path = `/api/v1/admin/recovery?since=${since}`;
    const answer = await readJson(this.#options.cluster.addressOf(node), path);
    return answer?.status === 200 ? (answer.body.events as RecoveryEvent[]) : [];
  }

  async #event(node: NodeName, since: number, kind: string): Promise<RecoveryEvent> {
    const what = `a lane of ${node} to be ${kind}`;
    return waitFor({ what, timeoutMs: RECOVERY_TIMEOUT_MS }, async () => {
      const events = await this.#events(node, since);
      return events.find((event) => event.kind === kind && event.key.startsWith('lane ')) ?? null;
    });
  }

  /** One question after the other; each has one right answer, whatever happens to lanes. */
  async #searchAllTheTime(): Promise<void> {
    const docs = this.#client.collection(COLLECTION);
    for (let id = 0; !this.#isOver; id = (id + 7) % ROW_COUNT) {
      try {
        const { degraded, hits } = await docs.search(vectorOf(id), { k: 3 });
        this.#searchCount += 1;
        const found = hits.map((hit) => hit.id);
        if (degraded.length === 0 && found.join() !== nearestTo(id).join())
          this.#wrongAnswers.push(`search for ${id}: ${found.join()}`);
      } catch (thrown) {
        if (!(thrown instanceof HoldfastError)) throw thrown;
        this.#failures.push(`search: ${thrown.code}: ${thrown.message}`);
        await pause(FAILURE_PAUSE_MS);
      }
    }
  }
}

/** On a line, so that the nearest ones are known. */
const vectorOf = (id: number): Float32Array => Float32Array.from([id, 0, 0, 0]);

/** Itself and its neighbours; equal distances come by id. */
function nearestTo(id: number): readonly number[] {
  if (id === 0) return [0, 1, 2];
  if (id === ROW_COUNT - 1) return [id, id - 1, id - 2];
  return [id, id - 1, id + 1];
}
