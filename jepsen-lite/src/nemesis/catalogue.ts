/**
 * Every nemesis by name: whole families, and single faults of them for runs that are about one.
 * Those of one family must not be combined; those of different families may.
 */
import { CLOCK_FAULTS, clockNemesis } from './clock.ts';
import { DISK_FAULTS, type DiskFaultKind, diskNemesis } from './disk.ts';
import { EVERYWHERE, FILE_FAULTS, type FileFault, filesNemesis, LOG_TAIL } from './files.ts';
import { HOSTILITIES, hostileNemesis } from './hostile.ts';
import { MEMBER_CHANGES, membersNemesis } from './members.ts';
import { MOMENTS, momentNemesis } from './moment.ts';
import type { Nemesis, NemesisFamily } from './nemesis.ts';
import { partitionNemesis } from './partition.ts';
import { PARTITIONS } from './partitions.ts';
import { powerNemesis } from './power.ts';
import { processNemesis } from './process.ts';
import { SQUEEZES, squeezeNemesis } from './squeeze.ts';
import { storeNemesis } from './store.ts';
import { WEATHER_KINDS, weatherNemesis } from './weather.ts';
import { wipeNemesis } from './wipe.ts';

type Make = (name: string) => Nemesis;

const isOfVolume = (kind: DiskFaultKind): boolean => kind.startsWith('volume-');
const running = FILE_FAULTS.filter((kind) => kind.endsWith('-while-running'));
const down = FILE_FAULTS.filter((kind) => kind.endsWith('-while-down'));
const everywhere: readonly FileFault[] = [EVERYWHERE];

/** Of every client's address only where that is asked for: it needs proxies in front of them. */
const partitionsOfNodes = PARTITIONS.filter((kind) => kind !== 'leader-with-clients');

const MAKERS: Readonly<Record<string, Make>> = {
  partition: (name) => partitionNemesis(partitionsOfNodes, name),
  ...Object.fromEntries(
    PARTITIONS.map((kind) => [
      `partition-${kind}`,
      (name: string) => partitionNemesis([kind], name),
    ]),
  ),
  weather: (name) => weatherNemesis(WEATHER_KINDS, name),
  ...Object.fromEntries(
    WEATHER_KINDS.map((kind) => [
      `network-${kind}`,
      (name: string) => weatherNemesis([kind], name),
    ]),
  ),
  kill: (name) =>
    processNemesis(['kill-leader', 'kill-one', 'kill-minority', 'kill-all', 'strand-leader'], name),
  'kill-one': (name) => processNemesis(['kill-one'], name),
  'kill-follower': (name) => processNemesis(['kill-follower'], name),
  'kill-leader': (name) => processNemesis(['kill-leader'], name),
  'kill-minority': (name) => processNemesis(['kill-minority'], name),
  'kill-all': (name) => processNemesis(['kill-all'], name),
  'kill-loop': (name) => processNemesis(['kill-loop', 'kill-leader-loop'], name),
  'strand-leader': (name) => processNemesis(['strand-leader'], name),
  pause: (name) =>
    processNemesis(['freeze-leader', 'freeze-one', 'freeze-minority', 'freeze-all'], name),
  'pause-leader': (name) => processNemesis(['freeze-leader'], name),
  'pause-short': (name) =>
    processNemesis(['pause-leader-briefly', 'pause-one-briefly', 'stutter-leader'], name),
  'rolling-restart': (name) => processNemesis(['rolling-restart'], name),
  ...Object.fromEntries(
    MOMENTS.map((moment) => [
      `kill-during-${moment}`,
      (name: string) => momentNemesis([moment], name),
    ]),
  ),
  members: (name) => membersNemesis(MEMBER_CHANGES, name),
  transfer: (name) => membersNemesis(['transfer-leadership'], name),
  'members-removed': (name) => membersNemesis(['remove-one', 'remove-leader'], name),
  disk: (name) =>
    diskNemesis(
      DISK_FAULTS.filter((kind) => !isOfVolume(kind)),
      name,
    ),
  'disk-slow': (name) => diskNemesis(['slow-leader', 'slow-one', 'slow-minority'], name),
  'disk-slow-leader': (name) => diskNemesis(['slow-leader'], name),
  'disk-sync-error': (name) =>
    diskNemesis(['sync-error-leader', 'sync-error-one', 'write-error-one'], name),
  'disk-full': (name) =>
    diskNemesis(['full-leader', 'full-minority', 'full-all', 'over-quota-one'], name),
  'volume-full': (name) => diskNemesis(DISK_FAULTS.filter(isOfVolume), name),
  clock: (name) => clockNemesis(CLOCK_FAULTS, name),
  'clock-jump': (name) =>
    clockNemesis(['jump-leader', 'jump-one', 'jump-minority', 'jump-all-apart'], name),
  'clock-drift': (name) => clockNemesis(['drift-leader', 'drift-all-apart'], name),
  'clock-strobe': (name) => clockNemesis(['strobe-leader'], name),
  'files-running': (name) => filesNemesis(running, name),
  'files-down': (name) => filesNemesis(down, name),
  'files-everywhere': (name) => filesNemesis(everywhere, name),
  'files-log-tail': (name) => filesNemesis([LOG_TAIL], name),
  ...Object.fromEntries(
    running.map((kind) => [
      `files-${kind.split('-')[0]}`,
      (name: string) => filesNemesis([kind], name),
    ]),
  ),
  wipe: (name) => wipeNemesis(['wipe-one', 'wipe-leader', 'wipe-minority'], name),
  power: (name) => powerNemesis(['power-cut-all', 'power-cut-leader', 'power-cut-minority'], name),
  'power-all': (name) => powerNemesis(['power-cut-all'], name),
  cpu: (name) =>
    squeezeNemesis(
      SQUEEZES.filter((kind) => kind.startsWith('cpu-')),
      name,
    ),
  memory: (name) =>
    squeezeNemesis(
      SQUEEZES.filter((kind) => kind.startsWith('memory-')),
      name,
    ),
  'store-away': storeNemesis,
  hostile: (name) => hostileNemesis(HOSTILITIES, name),
  ...Object.fromEntries(
    HOSTILITIES.map((kind) => [`hostile-${kind}`, (name: string) => hostileNemesis([kind], name)]),
  ),
};

/**
 * The order in which faults are healed at the end of a run: first what keeps nodes from each other
 * and from their disks, last what waits until a node is whole again.
 */
const HEALING_ORDER: readonly NemesisFamily[] = [
  ...(['network', 'disk', 'store', 'clock', 'hostile', 'pause', 'process', 'power'] as const),
  ...(['moment', 'members', 'wipe', 'files'] as const),
];

/** Pure. */
export const inHealingOrder = (nemeses: readonly Nemesis[]): readonly Nemesis[] =>
  [...nemeses].sort(
    (left, right) => HEALING_ORDER.indexOf(left.family) - HEALING_ORDER.indexOf(right.family),
  );

export const NEMESIS_NAMES: readonly string[] = Object.keys(MAKERS);

/** A new one, for one run. @throws TypeError naming all that there are */
export function nemesisNamed(name: string): Nemesis {
  const make = MAKERS[name];
  if (make === undefined) {
    throw new TypeError(`unknown nemesis '${name}'; there are: ${NEMESIS_NAMES.join(', ')}`);
  }
  return make(name);
}

/** Why these cannot be in one run; null when they can. */
export function whyNotTogether(nemeses: readonly Nemesis[]): string | null {
  for (const [i, nemesis] of nemeses.entries()) {
    const other = nemeses.slice(0, i).find(({ family }) => family === nemesis.family);
    if (other === undefined) continue;
    const both = `${other.name} and ${nemesis.name}`;
    return `${both} would undo each other's harm: both are ${nemesis.family} faults`;
  }
  return null;
}
