/**
 * Kills leaders, one after the other: with kill -9 at a random moment, or at a failpoint of the
 * archive or of a backup. Every life of a node draws its order when it starts; only who leads gets
 * to those places. Whoever died is started again with a new order, so that sometimes two are down.
 *
 * Seeded: what is drawn is the same again; when a process gets to a place is not.
 */
import type { Failpoint } from '@holdfast/base';
import { SeededRandom } from '@holdfast/base';
import type { NodeName } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause, WaitExpired } from '../wait.ts';

export interface LeaderKill {
  readonly nodeName: NodeName;
  /** `at a moment`, or the order of the failpoint. */
  readonly how: string;
}

export interface HuntOptions {
  /** Formed; nobody runs. */
  readonly cluster: ProcessCluster;
  readonly seed: number;
  /** Where leaders may die; none: only at moments. Hits are drawn from 1 to the number. */
  readonly places: Readonly<Partial<Record<Failpoint, number>>>;
  readonly onKill: (kill: LeaderKill, number: number) => void;
}

/** Passed by leaders of a cluster that archives while full backups are made all the time. */
export const BACKUP_PLACES: HuntOptions['places'] = {
  'archive.before-chunk': 20,
  'archive.after-chunk': 20,
  'archive.before-adoption': 1,
  'backup.before-pins': 2,
  'backup.after-pins': 2,
  'backup.before-file': 6,
  'backup.after-files': 2,
  'backup.before-manifest': 2,
  'backup.after-manifest': 2,
  'backup.before-check': 2,
  'backup.after-check': 2,
};

const VARIABLE = 'HOLDFAST_TEST_FAILPOINTS';
/** A new archive begins once: these are for the first leaders. */
const FIRST_PLACES = ['archive.before-timeline', 'archive.after-timeline'] as const;
const MOMENT_MS_MAX = 2_000;
/** A place that is not reached in this time: the leader dies all the same. */
const PATIENCE_MS = 12_000;
const DOWN_MS_MAX = 500;
const POLL_INTERVAL_MS = 40;
const WHOLE_TIMEOUT_MS = 240_000;

export class LeaderHunter {
  readonly #options: HuntOptions;
  readonly #random: SeededRandom;
  readonly #orders = new Map<NodeName, string | null>();
  readonly #kills: LeaderKill[] = [];
  #wantedCount = Number.POSITIVE_INFINITY;
  /** Who led when it was last asked. */
  #leader: NodeName | null = null;

  constructor(options: HuntOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
  }

  get kills(): readonly LeaderKill[] {
    return this.#kills;
  }

  /** Starts every node; two of them die when they begin the archive. */
  async launch(): Promise<void> {
    const { cluster, places } = this.#options;
    const first = Object.keys(places).length === 0 ? [] : FIRST_PLACES;
    for (const [i, nodeName] of cluster.nodeNames.entries()) {
      const place = first[i];
      await this.#start(nodeName, place === undefined ? null : `${place}=kill@1`);
    }
    await this.#untilWhole();
  }

  /** Until so many leaders were killed, or a few more; all nodes run again when it resolves. */
  async run(killCount: number): Promise<readonly LeaderKill[]> {
    this.#wantedCount = killCount;
    while (this.#kills.length < killCount) await this.#killOne();
    await this.#untilWhole();
    return this.#kills;
  }

  /** Every node is started anew, without orders, and stays. */
  async callOff(): Promise<void> {
    const { cluster } = this.#options;
    await cluster.stopNodes();
    this.#orders.clear();
    await cluster.startAll();
    await cluster.waitUntilReady();
  }

  async #killOne(): Promise<void> {
    const { cluster } = this.#options;
    await this.#untilWhole();
    const leader = this.#leader;
    if (leader === null) return;
    const order = this.#orders.get(leader) ?? null;
    const waitMs = order === null ? this.#random.nextBelow(MOMENT_MS_MAX) : PATIENCE_MS;
    const endMs = performance.now() + waitMs;
    while (performance.now() < endMs && cluster.isRunning(leader)) await pause(POLL_INTERVAL_MS);
    // Noted with the others that died.
    if (!cluster.isRunning(leader)) return;
    const now = await cluster.leader();
    if (now?.nodeName !== leader) return;
    this.#orders.set(leader, null);
    await cluster.signal(leader, 'SIGKILL');
  }

  /** Everybody runs, and all know one leader. Whoever is dead is noted, and started again. */
  async #untilWhole(): Promise<void> {
    const { cluster } = this.#options;
    const deadlineMs = performance.now() + WHOLE_TIMEOUT_MS;
    for (;;) {
      await this.#reviveDead();
      const healths = await Promise.all(cluster.nodeNames.map((name) => cluster.health(name)));
      const leading = await cluster.leader();
      if (leading !== null) this.#leader = leading.nodeName;
      const isWhole = healths.every(
        (health) => health?.isReady === true && health.leader === leading?.nodeName,
      );
      if (isWhole && leading !== null) return;
      if (performance.now() > deadlineMs) {
        throw new WaitExpired(`no whole cluster after ${WHOLE_TIMEOUT_MS} ms\n${this.#story()}`);
      }
      await pause(POLL_INTERVAL_MS);
    }
  }

  async #reviveDead(): Promise<void> {
    const { cluster } = this.#options;
    for (const nodeName of cluster.nodeNames) {
      if (cluster.isRunning(nodeName)) continue;
      this.#note(nodeName);
      await pause(this.#random.nextBelow(DOWN_MS_MAX));
      await this.#start(nodeName, this.#drawOrder());
    }
  }

  /** Who got to a place led: to archive, or because a leader is asked for backups. */
  #note(nodeName: NodeName): void {
    const exit = this.#options.cluster.exitTextOf(nodeName);
    if (exit?.includes('SIGKILL') !== true) {
      throw new Error(`node ${nodeName} ${exit}, and nobody killed it\n${this.#story()}`);
    }
    const order = this.#orders.get(nodeName) ?? null;
    const kill = { nodeName, how: order ?? 'at a moment' };
    this.#kills.push(kill);
    this.#options.onKill(kill, this.#kills.length);
  }

  /** Null: this life ends at a moment, or is left alone, because there were enough. */
  #drawOrder(): string | null {
    if (this.#kills.length >= this.#wantedCount) return null;
    const places = Object.entries(this.#options.places);
    // A quarter of the leaders dies at moments that no place has a name for.
    const choice = this.#random.nextBelow(4);
    const drawn = places[this.#random.nextBelow(Math.max(1, places.length))];
    if (choice === 0 || drawn === undefined) return null;
    const [place, hitMax] = drawn;
    return `${place}=kill@${1 + this.#random.nextBelow(hitMax)}`;
  }

  async #start(nodeName: NodeName, order: string | null): Promise<void> {
    this.#orders.set(nodeName, order);
    await this.#options.cluster.start(nodeName, order === null ? {} : { [VARIABLE]: order });
  }

  #story(): string {
    const told = this.#kills.map(({ how, nodeName }) => `${nodeName} ${how}`).join(', ');
    return `killed: ${told}\n${this.#options.cluster.describeLogs()}`;
  }
}
