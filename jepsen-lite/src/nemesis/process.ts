/** Faults of processes: killed without warning, frozen, restarted in order, and brought back. */
import { type Random, unreachable } from '@holdfast/base';
import type { Cluster, KillSignal, NodeName } from '../cluster/cluster.ts';
import { pause, waitFor } from '../wait.ts';
import { Background } from './background.ts';
import { claimsOf } from './claims.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { startIfDown } from './restart.ts';
import { chanceOf, drawTargets, leaderNameOf, type TargetKind } from './targets.ts';

export const PROCESS_FAULTS = [
  'kill-leader',
  'kill-follower',
  'kill-one',
  'kill-minority',
  'kill-all',
  'kill-loop',
  'kill-leader-loop',
  'strand-leader',
  'freeze-leader',
  'freeze-one',
  'freeze-minority',
  'freeze-all',
  'pause-leader-briefly',
  'pause-one-briefly',
  'stutter-leader',
  'rolling-restart',
] as const;
export type ProcessFault = (typeof PROCESS_FAULTS)[number];

const HEAL = 'restart-and-thaw';
/** How long a stranded leader could acknowledge what it must not. */
const STRANDED_MS = 400;
/** The others must elect one of them before the stranded node comes back. */
const SUCCESSOR_TIMEOUT_MS = 60_000;
/** Shorter than an election timeout of 600 ms; twice in a row it is longer. */
const BRIEF_PAUSE_MS = 350;
/** Of a loop of kills: from a start to the next kill, so that some die before they serve. */
const LOOP_LIFE_MS_MAX = 1_500;
/** A node of a rolling restart must serve again before the next one goes. */
const RESTART_TIMEOUT_MS = 60_000;

/** Where all faults let the node live, the family is that of pauses. */
const isPause = (fault: ProcessFault): boolean => /^(freeze|pause|stutter)-/.test(fault);

/** Draws from `faults`; healing starts and thaws the nodes that these faults have struck. */
export function processNemesis(
  faults: readonly ProcessFault[] = PROCESS_FAULTS,
  name = 'process',
): Nemesis {
  const processes = new ProcessFaults(name);
  return {
    ...{ name, family: faults.every(isPause) ? 'pause' : 'process', needs: {} },
    colour: faults.every(isPause) ? '#edae49' : '#d1495b',
    harmfulActions: faults,
    healingAction: HEAL,
    perform: (action, pick, cluster) => processes.perform(action, pick, cluster),
  };
}

class ProcessFaults {
  readonly #owner: string;
  readonly #background = new Background();
  /** Who may be dead or frozen because of this. */
  readonly #struck = new Set<NodeName>();

  constructor(owner: string) {
    this.#owner = owner;
  }

  async perform(action: string, pick: number, cluster: Cluster): Promise<FaultOutcome> {
    if (action === HEAL) return this.#heal(cluster);
    const fault = PROCESS_FAULTS.find((one) => one === action);
    if (fault === undefined) return skipped(`unknown action ${action}`);
    return this.#strike(fault, chanceOf(pick), cluster);
  }

  async #strike(fault: ProcessFault, random: Random, cluster: Cluster): Promise<FaultOutcome> {
    switch (fault) {
      case 'kill-leader':
        return this.#send('SIGKILL', 'leader', random, cluster);
      case 'kill-follower':
        return this.#send('SIGKILL', 'follower', random, cluster);
      case 'kill-one':
        return this.#send('SIGKILL', 'one', random, cluster);
      case 'kill-minority':
        return this.#send('SIGKILL', 'minority', random, cluster);
      case 'kill-all':
        return this.#send('SIGKILL', 'all', random, cluster);
      case 'freeze-leader':
        return this.#send('SIGSTOP', 'leader', random, cluster);
      case 'freeze-one':
        return this.#send('SIGSTOP', 'one', random, cluster);
      case 'freeze-minority':
        return this.#send('SIGSTOP', 'minority', random, cluster);
      case 'freeze-all':
        return this.#send('SIGSTOP', 'all', random, cluster);
      case 'pause-leader-briefly':
        return this.#pauseBriefly('leader', random, cluster);
      case 'pause-one-briefly':
        return this.#pauseBriefly('one', random, cluster);
      case 'stutter-leader':
        return this.#loop('stutter', cluster, async (wait) => {
          await this.#pauseBriefly('leader', random, cluster);
          await wait(BRIEF_PAUSE_MS);
        });
      case 'kill-loop':
        return this.#loop('one after the other', cluster, (wait) =>
          this.#killAndStart('one', random, cluster, wait),
        );
      case 'kill-leader-loop':
        return this.#loop('every leader', cluster, (wait) =>
          this.#killAndStart('leader', random, cluster, wait),
        );
      case 'strand-leader':
        return this.#strandLeader(cluster);
      case 'rolling-restart':
        return this.#restartAll(cluster);
      default:
        return unreachable(fault);
    }
  }

  async #targets(kind: TargetKind, random: Random, cluster: Cluster): Promise<readonly NodeName[]> {
    const claims = claimsOf(cluster);
    const { nodeNames } = cluster;
    const candidates = nodeNames.filter(
      (name) => cluster.isRunning(name) && !claims.isTaken(name, this.#owner),
    );
    const leader = await leaderNameOf(cluster);
    return drawTargets(kind, { candidates, leader, nodeCount: nodeNames.length }, random);
  }

  async #send(
    signal: KillSignal,
    kind: TargetKind,
    random: Random,
    cluster: Cluster,
  ): Promise<FaultOutcome> {
    const targets = await this.#targets(kind, random, cluster);
    if (targets.length === 0) return skipped(`no such node at this moment: ${kind}`);
    for (const name of targets) this.#struck.add(name);
    await Promise.all(targets.map((name) => cluster.signal(name, signal)));
    return installed(targets.join(','), targets);
  }

  async #pauseBriefly(kind: TargetKind, random: Random, cluster: Cluster): Promise<FaultOutcome> {
    const outcome = await this.#send('SIGSTOP', kind, random, cluster);
    if (outcome.kind !== 'installed') return outcome;
    await pause(BRIEF_PAUSE_MS);
    for (const name of outcome.targets ?? []) await cluster.signal(name, 'SIGCONT');
    return { ...outcome, detail: `${outcome.detail} for ${BRIEF_PAUSE_MS} ms` };
  }

  async #killAndStart(
    kind: TargetKind,
    random: Random,
    cluster: Cluster,
    wait: (delayMs: number) => Promise<void>,
  ): Promise<void> {
    for (const name of await this.#targets(kind, random, cluster)) {
      this.#struck.add(name);
      await cluster.signal(name, 'SIGKILL');
      if (!cluster.isRunning(name)) await cluster.start(name);
    }
    await wait(random.nextBelow(LOOP_LIFE_MS_MAX));
  }

  async #loop(
    detail: string,
    cluster: Cluster,
    turn: Parameters<Background['start']>[0],
  ): Promise<FaultOutcome> {
    if ((await leaderNameOf(cluster)) === null) return skipped('no leader at this moment');
    this.#background.start(turn);
    return installed(`${detail}, until healed`);
  }

  /**
   * Kills all followers, lets the leader go on alone for a moment, kills it, and brings back only
   * the others, which go on without it. A leader that acknowledges what no majority has on disk
   * loses it here (killing only the leader would not show it: what it sent is still in sockets).
   */
  async #strandLeader(cluster: Cluster): Promise<FaultOutcome> {
    const leader = await leaderNameOf(cluster);
    if (leader === null) return skipped('no leader at this moment');
    const claims = claimsOf(cluster);
    if (cluster.nodeNames.some((name) => claims.isTaken(name, this.#owner))) {
      return skipped('another fault holds a node');
    }
    const others = cluster.nodeNames.filter((name) => name !== leader);
    for (const name of cluster.nodeNames) this.#struck.add(name);
    await Promise.all(others.map((name) => cluster.signal(name, 'SIGKILL')));
    await pause(STRANDED_MS);
    await cluster.signal(leader, 'SIGKILL');
    for (const name of others) await cluster.start(name);
    const what = `a successor of the stranded ${leader}`;
    const successor = await waitFor({ what, timeoutMs: SUCCESSOR_TIMEOUT_MS }, () =>
      cluster.leader(),
    );
    return installed(`${leader} stranded, then ${successor.nodeName} led`, [leader]);
  }

  /** One after the other, each in order, as an operator does it. */
  async #restartAll(cluster: Cluster): Promise<FaultOutcome> {
    const claims = claimsOf(cluster);
    const free = cluster.nodeNames.filter((name) => !claims.isTaken(name, this.#owner));
    for (const name of free) {
      this.#struck.add(name);
      await cluster.signal(name, 'SIGTERM');
      if (!cluster.isRunning(name)) await cluster.start(name);
      const what = `${name} to serve again after its restart`;
      const isServing = async (): Promise<true | null> =>
        (await cluster.health(name))?.isReady === true ? true : null;
      try {
        await waitFor({ what, timeoutMs: RESTART_TIMEOUT_MS }, isServing);
      } catch (thrown) {
        // Other faults may keep it from it: the checkers judge the run, not this one.
        return { kind: 'indeterminate', detail: String(thrown), targets: free };
      }
    }
    return installed(free.join(' then '), free);
  }

  async #heal(cluster: Cluster): Promise<FaultOutcome> {
    await this.#background.stop();
    const claims = claimsOf(cluster);
    const targets = [...this.#struck];
    const restarted: NodeName[] = [];
    for (const name of targets) {
      this.#struck.delete(name);
      // Whoever has taken it since brings it back.
      if (claims.isTaken(name, this.#owner)) continue;
      // Harmless for a process that is not frozen.
      await cluster.signal(name, 'SIGCONT');
      if (await startIfDown(cluster, name)) restarted.push(name);
    }
    const detail = restarted.length === 0 ? 'thawed' : `started ${restarted.join(',')}`;
    return installed(detail, targets);
  }
}
