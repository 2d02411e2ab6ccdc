/**
 * Draws a plan from a seed. Each seed has a temper of its own: which kinds of fault it knows, how
 * often they strike, how fast its clients are. A run that only cuts links reaches states that a run
 * with everything at once never settles down enough to reach.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import { drawBackup } from './draw-backup.ts';
import { drawJointCheckpoint } from './draw-joint.ts';
import { node, span } from './draw-parts.ts';
import { drawCare, drawStorageFaults, STORAGE_FAULT_KINDS } from './draw-storage.ts';
import type { Fault, FaultKind, Keep, SimPlan, StorageFault, TimedFault } from './plan.ts';

/** Every run takes at least this long under faults. */
export const DURATION_MS = 30_000;

type Draw = (random: SeededRandom) => Fault;

interface FaultRecipe {
  /** Share among the kinds that a seed knows. */
  readonly weight: number;
  readonly draw: Draw;
}

const keep = (random: SeededRandom): Keep =>
  (['none', 'random', 'random', 'all'] as const)[random.nextBelow(4)] ?? 'none';

function drawPowerCutAtDiskOperation(random: SeededRandom): Fault {
  const at = (['any', 'logWrite', 'logSync'] as const)[random.nextBelow(3)] ?? 'any';
  const countMax = at === 'any' && random.nextBelow(2) === 0 ? 200 : 12;
  return {
    kind: 'powerCutAtDiskOperation',
    node: node(random),
    at,
    operationCount: 1 + random.nextBelow(countMax),
    downMs: span(random, 3_000),
    salt: random.nextU32(),
  };
}

/** Faults of disks and lanes are drawn by themselves, see draw-storage.ts. */
type PlainFaultKind = Exclude<FaultKind, StorageFault['kind']>;

const RECIPES: Readonly<Record<PlainFaultKind, FaultRecipe>> = {
  kill: { weight: 6, draw: (r) => ({ kind: 'kill', node: node(r), downMs: span(r, 4_000) }) },
  killAll: { weight: 1, draw: (r) => ({ kind: 'killAll', downMs: span(r, 1_000) }) },
  powerCut: {
    weight: 5,
    draw: (r) => ({
      kind: 'powerCut',
      node: node(r),
      downMs: span(r, 4_000),
      keep: keep(r),
      salt: r.nextU32(),
    }),
  },
  powerCutAll: {
    weight: 1,
    draw: (r) => ({
      kind: 'powerCutAll',
      downMs: span(r, 1_000),
      keep: keep(r),
      salt: r.nextU32(),
    }),
  },
  powerCutAtDiskOperation: { weight: 5, draw: drawPowerCutAtDiskOperation },
  powerCutDuringStart: {
    weight: 2,
    draw: (r) => ({
      kind: 'powerCutDuringStart',
      node: node(r),
      operationCount: 1 + r.nextBelow(12),
      downMs: span(r, 2_000),
      salt: r.nextU32(),
    }),
  },
  killAtLogSync: {
    weight: 3,
    draw: (r) => ({
      kind: 'killAtLogSync',
      node: node(r),
      syncCount: 1 + r.nextBelow(6),
      downMs: span(r, 300),
      powerCutAfterMs: span(r, 3_000),
      salt: r.nextU32(),
    }),
  },
  shutDown: {
    weight: 3,
    draw: (r) => ({ kind: 'shutDown', node: node(r), downMs: span(r, 2_000) }),
  },
  killDuringSnapshot: {
    weight: 3,
    draw: (r) => ({
      kind: 'killDuringSnapshot',
      end: r.nextBelow(2) === 0 ? 'sender' : 'receiver',
      chunkCount: r.nextBelow(4),
      downMs: span(r, 1_000),
    }),
  },
  diskError: {
    weight: 3,
    draw: (r) => ({
      kind: 'diskError',
      node: node(r),
      operation: r.nextBelow(2) === 0 ? 'write' : 'sync',
      skipCount: r.nextBelow(12),
      downMs: span(r, 2_000),
    }),
  },
  diskFull: {
    weight: 2,
    draw: (r) => ({ kind: 'diskFull', node: node(r), forMs: span(r, 3_000) }),
  },
  diskStall: {
    weight: 5,
    draw: (r) => ({ kind: 'diskStall', node: node(r), forMs: span(r, 5_000) }),
  },
  isolate: { weight: 4, draw: (r) => ({ kind: 'isolate', node: node(r), forMs: span(r, 5_000) }) },
  cutOneWay: {
    weight: 4,
    draw: (r) => ({
      kind: 'cutOneWay',
      from: node(r),
      toOffset: 1 + r.nextBelow(4),
      forMs: span(r, 5_000),
    }),
  },
  partition: {
    weight: 3,
    draw: (r) => ({ kind: 'partition', side: 1 + r.nextBelow(30), forMs: span(r, 5_000) }),
  },
  loss: {
    weight: 3,
    draw: (r) => ({ kind: 'loss', rate: rate(r), forMs: span(r, 6_000) }),
  },
  duplication: {
    weight: 2,
    draw: (r) => ({ kind: 'duplication', rate: rate(r), forMs: span(r, 6_000) }),
  },
  reordering: {
    weight: 3,
    draw: (r) => ({ kind: 'reordering', rate: rate(r), forMs: span(r, 6_000) }),
  },
  slowNetwork: {
    weight: 2,
    draw: (r) => ({
      kind: 'slowNetwork',
      delayMsMax: 5 + r.nextBelow(r.nextBelow(3) === 0 ? 400 : 60),
      forMs: span(r, 5_000),
    }),
  },
  pause: { weight: 4, draw: (r) => ({ kind: 'pause', node: node(r), forMs: span(r, 6_000) }) },
  wallClockJump: {
    weight: 2,
    draw: (r) => ({
      kind: 'wallClockJump',
      node: node(r),
      deltaMs:
        (r.nextBelow(2) === 0 ? 1 : -1) * r.nextBelow(r.nextBelow(2) === 0 ? 500 : 3_600_000),
    }),
  },
  clientReset: { weight: 3, draw: (r) => ({ kind: 'clientReset', node: node(r) }) },
  clientCut: {
    weight: 1,
    draw: (r) => ({ kind: 'clientCut', node: node(r), forMs: span(r, 2_000) }),
  },
  checkpoint: { weight: 2, draw: (r) => ({ kind: 'checkpoint', node: node(r) }) },
  transfer: {
    weight: 4,
    draw: (r) => ({ kind: 'transfer', to: r.nextBelow(2) === 0 ? null : r.nextBelow(5) }),
  },
  demoteMember: { weight: 3, draw: (r) => ({ kind: 'demoteMember', node: node(r) }) },
  removeMember: { weight: 3, draw: (r) => ({ kind: 'removeMember', node: node(r) }) },
  swapMembers: {
    weight: 4,
    draw: (r) => ({ kind: 'swapMembers', node: node(r), otherOffset: 1 + r.nextBelow(4) }),
  },
  confTrap: {
    weight: 4,
    draw: (r) => ({
      kind: 'confTrap',
      when: r.nextBelow(2) === 0 ? 'joint' : 'uncommitted',
      action:
        (['kill', 'powerCut', 'isolate', 'isolate', 'checkpoint'] as const)[r.nextBelow(5)] ??
        'kill',
      forMs: span(r, 3_000),
      salt: r.nextU32(),
    }),
  },
  wipe: { weight: 3, draw: (r) => ({ kind: 'wipe', node: node(r), downMs: span(r, 2_000) }) },
  rotLog: {
    weight: 4,
    draw: (r) => ({
      kind: 'rotLog',
      node: node(r),
      isolatedMs: r.nextBelow(2) === 0 ? 0 : span(r, 500),
      flipCount: 1 + r.nextBelow(3),
      isNearEnd: r.nextBelow(2) === 0,
      downMs: span(r, 2_000),
      salt: r.nextU32(),
    }),
  },
  setLeases: { weight: 2, draw: (r) => ({ kind: 'setLeases', isEnabled: r.nextBelow(3) > 0 }) },
};

const PLAIN_FAULT_KINDS = Object.keys(RECIPES) as readonly PlainFaultKind[];

export const FAULT_KINDS: readonly FaultKind[] = [...PLAIN_FAULT_KINDS, ...STORAGE_FAULT_KINDS];

const rate = (random: SeededRandom): number =>
  ([0.02, 0.1, 0.3, 0.6] as const)[random.nextBelow(4)] ?? 0.1;

const KIB = 1024;

/** Mean time between two faults, per temper. */
const GAP_MS = [250, 600, 1_200, 3_000] as const;

export function drawPlan(seed: number, durationMs = DURATION_MS): SimPlan {
  const random = new SeededRandom(deriveSeed(seed, 'plan'));
  const nodeCount = random.nextBelow(5) === 0 ? 5 : 3;
  const pick = <Item>(items: readonly Item[]): Item => items[random.nextBelow(items.length)]!;
  const isDrifting = random.nextBelow(2) === 0;
  return {
    seed,
    nodeCount,
    clientCount: 2 + random.nextBelow(3),
    keyCount: 8 + random.nextBelow(9),
    durationMs,
    thinkMsMax: pick([60, 150, 400]),
    laneCounts: Array.from({ length: nodeCount }, () => 1 + random.nextBelow(3)),
    driftPpm: Array.from({ length: nodeCount }, () =>
      isDrifting ? random.nextBelow(1_001) - 500 : 0,
    ),
    weather: {
      delayMsMin: 0,
      delayMsMax: pick([1, 3, 10]),
      lossRate: pick([0, 0, 0, 0.01]),
      duplicateRate: pick([0, 0, 0, 0.01]),
      reorderRate: pick([0, 0, 0, 0.01]),
    },
    diskMsMax: pick([1, 4, 15]),
    laneMsMax: pick([0, 2, 5]),
    clientMsMax: pick([1, 3]),
    checkpointIntervalMs: pick([300, 1_000, 4_000, 1_000_000]),
    retainedEntryCount: pick([0, 3, 50, 10_000]),
    sessionIdleTimeoutMs: pick([2_000, 3_600_000, 3_600_000]),
    dropRetentionMs: drawDropRetention(seed),
    walFileSizeBytes: pick([16 * 1024, 64 * 1024]),
    ...drawTransfers(seed),
    logCacheSizeBytes: pick([1_024, 16_384, 16 * 1_024 * 1_024]),
    operatorIntervalMs: pick([200, 700, 2_000]),
    startsWithLeases: random.nextBelow(2) === 0,
    care: drawCare(seed),
    backup: drawBackup(seed, durationMs),
    faults: [
      ...drawFaults(random, durationMs),
      ...drawStorageFaults(seed, durationMs),
      ...drawJointCheckpoint(seed, durationMs),
    ].sort((left, right) => left.atMs - right.atMs),
  };
}

/** From numbers of its own: so short that drops are purged within a run, or come back. */
function drawDropRetention(seed: number): number {
  const random = new SeededRandom(deriveSeed(seed, 'drops'));
  return [0, 500, 3_600_000][random.nextBelow(3)]!;
}

/** From numbers of its own, so that what is drawn here changes nothing else of a seed. */
function drawTransfers(
  seed: number,
): Pick<SimPlan, 'limits' | 'snapshotChunkSizeBytes' | 'checkpointGenerationCount'> {
  const random = new SeededRandom(deriveSeed(seed, 'transfers'));
  const pick = (items: readonly number[]): number => items[random.nextBelow(items.length)]!;
  const storage = new SeededRandom(deriveSeed(seed, 'storage'));
  const sealRowCounts = [5, 20, 65_536] as const;
  return {
    checkpointGenerationCount: 2 + storage.nextBelow(3),
    limits: {
      // Mostly so little that a follower that was away needs a snapshot.
      followerLogHoldSizeBytesMax: pick([0, 0, 2 * KIB, 512 * 1024 * KIB]),
      snapshotTransferBytesPerSecMax: pick([8 * KIB, 64 * KIB, 64 * 1024 * KIB]),
      snapshotLogHoldSizeBytesMax: pick([8 * KIB, 64 * KIB, 1024 * 1024 * KIB]),
      sealRowCount: sealRowCounts[storage.nextBelow(sealRowCounts.length)]!,
    },
    snapshotChunkSizeBytes: pick([512, 4 * KIB, 64 * KIB]),
  };
}

function drawFaults(random: SeededRandom, durationMs: number): readonly TimedFault[] {
  const known = PLAIN_FAULT_KINDS.filter(() => random.nextBelow(2) === 0);
  if (known.length === 0)
    known.push(PLAIN_FAULT_KINDS[random.nextBelow(PLAIN_FAULT_KINDS.length)]!);
  const gapMs = GAP_MS[random.nextBelow(GAP_MS.length)]!;
  const totalWeight = known.reduce((sum, kind) => sum + RECIPES[kind].weight, 0);
  const faults: TimedFault[] = [];
  for (let atMs = random.nextBelow(2 * gapMs); atMs < durationMs; ) {
    faults.push({ atMs, fault: RECIPES[pickWeighted(random, known, totalWeight)].draw(random) });
    atMs += 1 + random.nextBelow(2 * gapMs);
  }
  return faults;
}

function pickWeighted(
  random: SeededRandom,
  known: readonly PlainFaultKind[],
  totalWeight: number,
): PlainFaultKind {
  let left = random.nextBelow(totalWeight);
  for (const kind of known) {
    left -= RECIPES[kind].weight;
    if (left < 0) return kind;
  }
  return known[0]!;
}
