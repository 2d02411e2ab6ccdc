/**
 * Damages files of running nodes while clients write and read, and waits until the product has
 * found and repaired each of them by itself: no scrub is asked for here, only configured.
 */

import { ProcessCluster } from '../cluster/process-cluster.ts';
import type { ServerSettings } from '../cluster/server-command.ts';
import { waitFor } from '../wait.ts';
import { TortureClients } from './clients.ts';
import type { FileKind } from './file-kinds.ts';
import { finalChecks, sealedFiles } from './final-checks.ts';
import { type DamageCounts, drawPlan, type PlannedDamage, type PlanOptions } from './plan.ts';
import type { TortureReport } from './report.ts';
import { Victim } from './victim.ts';

export interface TortureOptions {
  readonly seed: number;
  readonly counts: DamageCounts;
  /** Nodes whose files are damaged: 1 or 2 of three. */
  readonly victimCount: number;
  /** Of this many rows a shard seals a segment; see the size of the data. */
  readonly rowCount: number;
  readonly shardCount: number;
  readonly outstandingMax: number;
  readonly isKept?: boolean;
  readonly checkpointIntervalMs?: number;
  readonly isSpared?: PlanOptions['isSpared'];
  /** Every victim has files of these kinds before anything is damaged. */
  readonly awaitedKinds?: readonly FileKind[];
  /** False: what is damaged is judged by its repair alone, without the checks at the end. */
  readonly isCheckedAtEnd?: boolean;
  /** Over the settings of a torture, for example to show that it can fail. */
  readonly settings?: ServerSettings;
  /** The damaging is given up when this much time has passed. */
  readonly timeoutMs: number;
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly planned: number;
  readonly injected: number;
  readonly repaired: number;
  readonly open: number;
  readonly wrong: number;
}

const TORTURE_SETTINGS: ServerSettings = {
  walFileSizeBytes: 2 * 1024 * 1024,
  checkpointLogSizeBytes: 16 * 1024 * 1024,
  logRetentionSizeBytesMax: 24 * 1024 * 1024,
  logRetentionEntryCount: 1_000_000,
};
/**
 * Of the nodes that are damaged: a pass over the data of a torture takes about a second, and the
 * next one begins soon after. The others scrub as they do by default.
 */
const VICTIM_SETTINGS: ServerSettings = { scrubIntervalMs: 250, scrubThrottleMbps: 0 };
/**
 * Half of it is long against the time to detection, also on a slow machine: a new checkpoint
 * replaces the files of the one before.
 */
const CHECKPOINT_INTERVAL_MS = 40_000;

const AWAITED_KINDS: readonly FileKind[] = ['previousRoot', 'segment', 'growing'];

const WRITER_COUNT = 3;
const TURN_MS = 200;
const SETTLE_TIMEOUT_MS = 180_000;
/** Planned damages that are looked at in one turn; those that cannot be done now wait. */
const LOOKED_AT_COUNT_MAX = 64;

export async function runTorture(options: TortureOptions): Promise<TortureReport> {
  const checkpointIntervalMs = options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS;
  const settings = { ...TORTURE_SETTINGS, checkpointIntervalMs, ...options.settings };
  const cluster = await ProcessCluster.launch({
    ...{ name: 'torture', settings },
    ...(options.isKept === true ? { isKept: true } : {}),
  });
  let clients: TortureClients | null = null;
  try {
    clients = await TortureClients.load({
      ...{ addresses: cluster.addresses, seed: options.seed, rowCount: options.rowCount },
      ...{ shardCount: options.shardCount, writerCount: WRITER_COUNT },
    });
    return await new Torture(options, cluster, clients).run();
  } finally {
    await clients?.close();
    await cluster.stop();
  }
}

class Torture {
  readonly #options: TortureOptions;
  readonly #cluster: ProcessCluster;
  readonly #clients: TortureClients;
  readonly #victims: readonly Victim[];
  /** The damaging begins. */
  #startMs = performance.now();
  #waiting: readonly PlannedDamage[];

  constructor(options: TortureOptions, cluster: ProcessCluster, clients: TortureClients) {
    const { counts, isSpared, seed, victimCount } = options;
    this.#options = options;
    this.#cluster = cluster;
    this.#clients = clients;
    const nodeNames = cluster.nodeNames.slice(0, victimCount);
    this.#victims = nodeNames.map(
      (name) =>
        new Victim(
          ...([name, cluster.addressOf(name), cluster.dataDirectoryOf(name)] as const),
          options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS,
        ),
    );
    this.#waiting = drawPlan({
      ...{ seed, counts, nodeNames },
      ...(isSpared === undefined ? {} : { isSpared }),
    });
  }

  async run(): Promise<TortureReport> {
    this.#clients.start();
    await this.#untilCheckpoints();
    const segmentCount = sealedFiles(this.#cluster, this.#cluster.nodeNames[0] ?? '').size;
    const planned = this.#waiting.length;
    this.#startMs = performance.now();
    while (this.#isGoingOn()) {
      await this.#turn();
      this.#tell(planned);
      await new Promise((resolve) => setTimeout(resolve, TURN_MS));
    }
    await this.#clients.stop();
    const finalFailures = await this.#ending();
    const { counts, rowCount, seed } = this.#options;
    return {
      ...{ seed, rowCount, segmentCount, finalFailures, planned: counts },
      nodeNames: this.#victims.map(({ nodeName }) => nodeName),
      durationMs: Math.round(performance.now() - this.#startMs),
      clients: this.#clients.report(),
      injuries: this.#victims.flatMap(({ injuries }) => injuries),
      notInjected: this.#waiting,
      notes: this.#victims.flatMap(({ nodeName, notes }) => notes.map((n) => `${nodeName} ${n}`)),
    };
  }

  /** Usually every kind of file: two checkpoints, and sealed segments named by them. */
  async #untilCheckpoints(): Promise<void> {
    for (const victim of this.#victims) await this.#restart(victim);
    const awaited = this.#options.awaitedKinds ?? AWAITED_KINDS;
    const what = `files of kind ${awaited.join(', ')} on every victim`;
    await waitFor({ what, timeoutMs: SETTLE_TIMEOUT_MS, pollIntervalMs: 250 }, () => {
      const isReady = this.#victims.every((victim) => {
        const kinds = new Set(victim.files().map(({ kind }) => kind));
        return awaited.every((kind) => kinds.has(kind));
      });
      return isReady ? true : null;
    });
  }

  /** What it wrote at its first start becomes old, and it begins to scrub all the time. */
  async #restart(victim: Victim): Promise<void> {
    victim.archive();
    this.#cluster.configure(victim.nodeName, VICTIM_SETTINGS);
    await this.#cluster.signal(victim.nodeName, 'SIGTERM');
    await this.#cluster.start(victim.nodeName);
    await this.#cluster.waitUntilReady();
  }

  #isGoingOn(): boolean {
    if (this.#deadNodes().length > 0) return false;
    const isOver = performance.now() - this.#startMs > this.#options.timeoutMs;
    const isOpen = this.#victims.some(({ openCount }) => openCount > 0);
    return !isOver && (this.#waiting.length > 0 || isOpen);
  }

  async #turn(): Promise<void> {
    for (const victim of this.#victims) victim.archive();
    const rest: PlannedDamage[] = [];
    for (const [i, planned] of this.#waiting.entries()) {
      const isRoom = this.#openCount() < this.#options.outstandingMax;
      const isDone = isRoom && i < LOOKED_AT_COUNT_MAX && this.#damage(planned);
      if (!isDone) rest.push(planned);
    }
    this.#waiting = rest;
    for (const victim of this.#victims) await victim.follow();
  }

  #damage(planned: PlannedDamage): boolean {
    const victim = this.#victims.find(({ nodeName }) => nodeName === planned.nodeName);
    const others = this.#victims.filter((other) => other !== victim);
    return victim?.damage(planned, (path) => others.some((other) => other.isOpenAt(path))) ?? false;
  }

  #openCount(): number {
    return this.#victims.reduce((sum, { openCount }) => sum + openCount, 0);
  }

  #deadNodes(): readonly string[] {
    return this.#cluster.nodeNames.filter((nodeName) => !this.#cluster.isRunning(nodeName));
  }

  async #ending(): Promise<readonly string[]> {
    const dead = this.#deadNodes();
    if (dead.length > 0) return [`${dead.join(', ')} ended:\n${this.#cluster.describeLogs()}`];
    if (this.#options.isCheckedAtEnd === false) return [];
    return finalChecks(this.#cluster, this.#clients);
  }

  #tell(planned: number): void {
    const injuries = this.#victims.flatMap((victim) => victim.injuries);
    this.#options.onProgress?.({
      planned,
      injected: injuries.length,
      repaired: injuries.filter(({ state }) => state === 'repaired').length,
      open: this.#openCount(),
      wrong: this.#clients.report().wrong.length,
    });
  }
}
