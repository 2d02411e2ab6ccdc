/** Asks every node a few times a second for its memory and the delay of its event loop. */
import type { NodeName } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause } from '../wait.ts';

export interface Sample {
  readonly nodeName: NodeName;
  readonly timeMs: number;
  readonly residentSizeBytes: number;
  /** The longest since the look before. */
  readonly eventLoopDelayMs: number;
}

/** A node looks at most twice a second: so every look is seen. */
const INTERVAL_MS = 250;

export class NodeSampler {
  readonly #cluster: ProcessCluster;
  readonly #nowMs: () => number;
  readonly #samples: Sample[] = [];
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  constructor(cluster: ProcessCluster, nowMs: () => number) {
    this.#cluster = cluster;
    this.#nowMs = nowMs;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** All samples, in order. */
  async stop(): Promise<readonly Sample[]> {
    this.#isOver = true;
    await this.#running;
    return this.#samples;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      await Promise.all(this.#cluster.nodeNames.map((nodeName) => this.#look(nodeName)));
      await pause(INTERVAL_MS);
    }
  }

  async #look(nodeName: NodeName): Promise<void> {
    const answer = await readJson(this.#cluster.addressOf(nodeName), '/api/v1/admin/workers');
    if (answer?.status !== 200 || !Array.isArray(answer.body.workers)) return;
    const worker: unknown = answer.body.workers.find((one) => one.kind === 'process');
    const sample = sampleOf(worker);
    if (sample !== null) this.#samples.push({ nodeName, timeMs: this.#nowMs(), ...sample });
  }
}

/** Pure. Null: it does not say. */
function sampleOf(worker: unknown): Pick<Sample, 'residentSizeBytes' | 'eventLoopDelayMs'> | null {
  if (typeof worker !== 'object' || worker === null) return null;
  const { eventLoopDelayMs, residentSizeBytes } = worker as Readonly<Record<string, unknown>>;
  if (typeof eventLoopDelayMs !== 'number' || typeof residentSizeBytes !== 'number') return null;
  return { eventLoopDelayMs, residentSizeBytes };
}
