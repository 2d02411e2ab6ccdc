/**
 * Files of nodes change behind their back: flipped bits, zeroed pages, cut files, an old content
 * put back, files gone; while the node runs or is down. What is spared and why is in torture/,
 * which does the damage here too.
 *
 * The data of at most a minority are damaged at one time, until the node itself has found nothing
 * wrong any more; only `flip-everywhere` hits every node, each in another kind of file.
 */
import { deriveSeed } from '@holdfast/base';
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import type { FileKind } from '../torture/file-kinds.ts';
import { DAMAGE_KINDS, type DamageCounts, type DamageKind, drawPlan } from '../torture/plan.ts';
import { Victim } from '../torture/victim.ts';
import { waitFor } from '../wait.ts';
import { claimsOf } from './claims.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { isServingSoon, startIfDown } from './restart.ts';
import { rotLogTail } from './rot.ts';
import { chanceOf, minorityOf, shuffled } from './targets.ts';

export const EVERYWHERE = 'flip-everywhere';
/** What no checkpoint has yet, of nodes that start again at once: others give it back. */
export const LOG_TAIL = 'rot-log-tail';
export const FILE_FAULTS = [
  ...DAMAGE_KINDS.flatMap((damage) => [`${damage}-while-running`, `${damage}-while-down`] as const),
  ...[EVERYWHERE, LOG_TAIL],
] as const;
export type FileFault = (typeof FILE_FAULTS)[number];

const HEAL = 'wait-for-sound-files';
/** Damages of checkpoints that a new one sweeps away at once are no loss here. */
const ALWAYS_YOUNG_MS = Number.POSITIVE_INFINITY;
/** Of one node in one strike: more would hide one behind the other. */
const DAMAGE_COUNT_MAX = 3;
/** Drawn so many, because for some there is no file of that kind now. */
const DRAWN_COUNT = 24;
const SOUND_TIMEOUT_MS = 60_000;
/** No two nodes are hit in what the other would be repaired from. */
const KINDS_EVERYWHERE: readonly FileKind[] = ['segment', 'wal', 'manifest', 'meta', 'growing'];

const NO_DAMAGES: DamageCounts = {
  ...{ flip: 0, truncate: 0, zeroPage: 0, swap: 0, stale: 0, delete: 0 },
};

export function filesNemesis(kinds: readonly FileFault[] = FILE_FAULTS, name = 'files'): Nemesis {
  const files = new FileFaults(name);
  return {
    ...{ name, family: 'files', colour: '#b5179e' },
    // Checkpoints and passes over all files often enough to matter within a window.
    needs: {
      settings: {
        ...{ checkpointIntervalMs: 3_000, checkpointLogSizeBytes: 16 << 20 },
        // Many log files at rest, and each cheap to look through.
        walFileSizeBytes: 1 << 20,
        ...{ scrubIntervalMs: 2_000, scrubThrottleMbps: 0, digestVerifyIntervalMs: 5_000 },
      },
    },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: (action, pick, cluster) => files.perform(action, pick, cluster),
  };
}

class FileFaults {
  readonly #owner: string;
  readonly #victims = new Map<NodeName, Victim>();

  constructor(owner: string) {
    this.#owner = owner;
  }

  async perform(action: string, pick: number, cluster: Cluster): Promise<FaultOutcome> {
    if (action === HEAL) return this.#heal(cluster);
    this.#archive(cluster);
    if (action === EVERYWHERE) return this.#everywhere(pick, cluster);
    if (action === LOG_TAIL) {
      return this.#minority(pick, cluster, async (name) => {
        await cluster.signal(name, 'SIGKILL');
        const place = rotLogTail(cluster.dataDirectoryOf(name), chanceOf(deriveSeed(pick, name)));
        // At once, while the others still have these entries in their logs.
        await startIfDown(cluster, name);
        return place === null ? [] : [`${name} flip ${place}`];
      });
    }
    const damage = DAMAGE_KINDS.find((one) => action.startsWith(`${one}-while-`));
    if (damage === undefined) return skipped(`unknown action ${action}`);
    return this.#minority(pick, cluster, async (name) => {
      if (action.endsWith('-down')) await cluster.signal(name, 'SIGKILL');
      return this.#damage(cluster, name, damage, deriveSeed(pick, name), null);
    });
  }

  async #minority(
    pick: number,
    cluster: Cluster,
    damage: (name: NodeName) => Promise<readonly string[]>,
  ): Promise<FaultOutcome> {
    const claims = claimsOf(cluster);
    const random = chanceOf(pick);
    const count = 1 + random.nextBelow(minorityOf(cluster.nodeNames.length) || 1);
    const targets: NodeName[] = [];
    for (const name of shuffled(cluster.nodeNames, random)) {
      if (targets.length >= count || !claims.take(name, this.#owner, 'harmed')) continue;
      targets.push(name);
    }
    if (targets.length === 0) return skipped('as many nodes are harmed already as may be');
    const done: string[] = [];
    for (const name of targets) done.push(...(await damage(name)));
    return done.length > 0
      ? installed(done.join('; '), targets)
      : { kind: 'indeterminate', detail: `no file of ${targets} could be hit`, targets };
  }

  #everywhere(pick: number, cluster: Cluster): FaultOutcome {
    const { nodeNames } = cluster;
    if (nodeNames.length > KINDS_EVERYWHERE.length) return skipped('too many nodes');
    if (!claimsOf(cluster).takeAll(nodeNames, this.#owner)) {
      return skipped('another fault holds a node');
    }
    const kinds = shuffled(KINDS_EVERYWHERE, chanceOf(pick));
    const done = nodeNames.flatMap((name, i) =>
      this.#damage(cluster, name, 'flip', deriveSeed(pick, name), kinds[i] ?? null),
    );
    return done.length > 0
      ? installed(done.join('; '), nodeNames)
      : { kind: 'indeterminate', detail: 'no file could be hit', targets: nodeNames };
  }

  /** What was done, for people. */
  #damage(
    cluster: Cluster,
    nodeName: NodeName,
    damage: DamageKind,
    seed: number,
    fileKind: FileKind | null,
  ): readonly string[] {
    const victim = this.#victimOf(cluster, nodeName);
    victim.archive();
    const before = victim.injuries.length;
    const counts = { ...NO_DAMAGES, [damage]: DRAWN_COUNT };
    for (const drawn of drawPlan({ seed, counts, nodeNames: [nodeName] })) {
      const planned = fileKind === null ? drawn : { ...drawn, fileKind, fileKinds: [fileKind] };
      const isElsewhere = (path: string): boolean =>
        [...this.#victims.values()].some((one) => one !== victim && one.isOpenAt(path));
      victim.damage(planned, isElsewhere);
      if (victim.injuries.length - before >= (fileKind === null ? DAMAGE_COUNT_MAX : 1)) break;
    }
    return victim.injuries
      .slice(before)
      .map(({ path, spans }) => `${nodeName} ${damage} ${path} at ${spans[0]?.from ?? 0}`);
  }

  /** What is now will be old one day: kept once before any damage, and then of who is hit. */
  #archive(cluster: Cluster): void {
    for (const name of cluster.nodeNames) {
      if (!this.#victims.has(name)) this.#victimOf(cluster, name).archive();
    }
  }

  #victimOf(cluster: Cluster, nodeName: NodeName): Victim {
    const known = this.#victims.get(nodeName);
    if (known !== undefined) return known;
    const directory = cluster.dataDirectoryOf(nodeName);
    const address = cluster.addressOf(nodeName);
    const victim = new Victim(nodeName, address, directory, ALWAYS_YOUNG_MS);
    this.#victims.set(nodeName, victim);
    return victim;
  }

  /** Sound is a node that looked at every one of its files and found nothing wrong. */
  async #heal(cluster: Cluster): Promise<FaultOutcome> {
    const claims = claimsOf(cluster);
    const owned = claims.ownedBy(this.#owner);
    const late: NodeName[] = [];
    for (const name of owned) await startIfDown(cluster, name);
    for (const name of owned) {
      const isServing = await isServingSoon(cluster, name);
      if (isServing && (await isSoundSoon(cluster, name))) {
        claims.release(name, this.#owner);
        await this.#victims.get(name)?.follow();
      } else late.push(name);
    }
    if (late.length === 0) return installed(`${owned.join(',') || 'everyone'} is sound`, owned);
    return { kind: 'indeterminate', detail: `${late} is not sound yet`, targets: late };
  }
}

/** By two passes that began after it was asked for the first time. */
async function isSoundSoon(cluster: Cluster, nodeName: NodeName): Promise<boolean> {
  const what = `${nodeName} to find all its files sound`;
  let firstPasses: number | null = null;
  try {
    await waitFor({ what, timeoutMs: SOUND_TIMEOUT_MS, pollIntervalMs: 250 }, async () => {
      if (await startIfDown(cluster, nodeName)) firstPasses = null;
      const answer = await readJson(cluster.addressOf(nodeName), '/api/v1/admin/scrub');
      if (answer?.status !== 200) return null;
      const passes = passesOf(answer.body);
      firstPasses = Math.min(firstPasses ?? passes, passes);
      return passes >= firstPasses + 2 && isSound(answer.body) ? true : null;
    });
    return true;
  } catch {
    return false;
  }
}

type Answer = Readonly<Record<string, unknown>>;

/** Ended since the process started. */
function passesOf({ totals }: Answer): number {
  const passes = isObject(totals) ? totals.passes : null;
  if (typeof passes !== 'number') throw new Error('the answer has no number of passes');
  return passes;
}

/**
 * Pure: the newest pass saw everything, no recovery is under way or has been given up, and what is
 * damaged still are log files only: rot in one stays until the file goes, after its entries were
 * written anew.
 */
export function isSound({ newest, recoveries, unrecovered }: Answer): boolean {
  if (!isObject(newest) || !isObject(recoveries)) return false;
  const { damaged, isComplete } = newest;
  const { parked, running, waiting } = recoveries;
  const isIdle = parked === 0 && running === 0 && waiting === 0;
  const isLog = (file: unknown): boolean => isObject(file) && file.kind === 'wal';
  const isMended = Array.isArray(damaged) && damaged.every(isLog);
  const isNobodyCalled = Array.isArray(unrecovered) && unrecovered.length === 0;
  return isComplete === true && isMended && isIdle && isNobodyCalled;
}

const isObject = (value: unknown): value is Answer => typeof value === 'object' && value !== null;
