/**
 * Looks at every node of a cluster while a run goes on: what it says of itself (for the
 * invariants), and what it costs (memory, descriptors, lag of its event loop). A node that does not
 * answer gives no sample; one that was replaced while it answered neither, because nobody knows
 * whose answer it is. Linux: memory and descriptors come from /proc.
 */
import { readdir, readFile } from 'node:fs/promises';
import type { StatusSample } from './checker/invariants.ts';
import { DESCRIPTORS_SERIES, LAG_SERIES, RSS_SERIES } from './checker/resources.ts';
import type { Cluster, NodeName } from './cluster/cluster.ts';
import type { Series } from './store/series.ts';
import { pause } from './wait.ts';

export interface Samples {
  readonly statuses: readonly StatusSample[];
  readonly series: readonly Series[];
}

const SAMPLE_INTERVAL_MS = 500;
/** Every so many looks the metrics are read too: they are a long text. */
const METRICS_EACH = 2;
/** Two hours of five nodes. */
const SAMPLE_COUNT_MAX = 100_000;
const PAGE_SIZE_BYTES = 4_096;
const BYTES_PER_MIB = 1 << 20;
const UNITS: Readonly<Record<string, string>> = {
  [RSS_SERIES]: 'MiB',
  [DESCRIPTORS_SERIES]: 'descriptors',
  [LAG_SERIES]: 'ms',
};

/** `stop` waits for the look that is under way. One per run. */
export class Sampler {
  readonly #cluster: Cluster;
  readonly #nowMs: () => number;
  readonly #statuses: StatusSample[] = [];
  readonly #points = new Map<string, [timeMs: number, value: number][]>();
  readonly #lives = new Map<NodeName, { readonly pid: number; readonly life: number }>();
  #isOver = false;
  #sampling: Promise<unknown> | null = null;

  constructor(cluster: Cluster, nowMs: () => number) {
    this.#cluster = cluster;
    this.#nowMs = nowMs;
  }

  start(): void {
    this.#sampling = Promise.all(this.#cluster.nodeNames.map((name) => this.#follow(name)));
    // Told by `stop`; a failure must not end the process before.
    this.#sampling.catch(() => {});
  }

  /** @throws Error when a node answered in a shape that is not its own */
  async stop(): Promise<Samples> {
    this.#isOver = true;
    await this.#sampling;
    const series = [...this.#points].map(([key, points]) => {
      const [name = '', owner = ''] = key.split('\n');
      return { name, owner, unit: UNITS[name] ?? '', points };
    });
    return { statuses: this.#statuses, series };
  }

  /** Each node at its own pace: one that is frozen must not keep us from looking at the others. */
  async #follow(nodeName: NodeName): Promise<void> {
    for (let look = 0; !this.#isOver; look++) {
      if (this.#statuses.length >= SAMPLE_COUNT_MAX) return;
      const pid = this.#cluster.pidOf(nodeName);
      if (pid !== undefined) await this.#lookAt(nodeName, pid, look % METRICS_EACH === 0);
      await pause(SAMPLE_INTERVAL_MS);
    }
  }

  async #lookAt(nodeName: NodeName, pid: number, isWithMetrics: boolean): Promise<void> {
    const timeMs = this.#nowMs();
    const status = await this.#cluster.status(nodeName);
    const cost = await costOf(pid);
    const lagSeconds = isWithMetrics
      ? await this.#cluster.metric(nodeName, 'holdfast_event_loop_delay_seconds')
      : null;
    if (this.#cluster.pidOf(nodeName) !== pid) return;
    if (cost !== null) {
      this.#note(RSS_SERIES, nodeName, timeMs, cost.rssMib);
      this.#note(DESCRIPTORS_SERIES, nodeName, timeMs, cost.descriptorCount);
    }
    if (lagSeconds !== null) this.#note(LAG_SERIES, nodeName, timeMs, lagSeconds * 1_000);
    if (status === null) return;
    const { digest, ...rest } = status;
    this.#statuses.push({
      ...{ nodeName, timeMs, life: this.#lifeOf(nodeName, pid), ...rest },
      ...{ digest: digest.digest, digestIndex: digest.appliedIndex },
    });
  }

  #lifeOf(nodeName: NodeName, pid: number): number {
    const known = this.#lives.get(nodeName);
    if (known?.pid === pid) return known.life;
    const life = (known?.life ?? 0) + 1;
    this.#lives.set(nodeName, { pid, life });
    return life;
  }

  #note(name: string, owner: NodeName, timeMs: number, value: number): void {
    const key = `${name}\n${owner}`;
    const points = this.#points.get(key) ?? [];
    points.push([timeMs, value]);
    this.#points.set(key, points);
  }
}

/** Null: the process is gone. */
async function costOf(
  pid: number,
): Promise<{ readonly rssMib: number; readonly descriptorCount: number } | null> {
  try {
    const [memory, descriptors] = await Promise.all([
      readFile(`/proc/${pid}/statm`, 'utf8'),
      readdir(`/proc/${pid}/fd`),
    ]);
    const rssMib = (Number(memory.split(' ')[1]) * PAGE_SIZE_BYTES) / BYTES_PER_MIB;
    return { rssMib, descriptorCount: descriptors.length };
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw thrown;
  }
}
