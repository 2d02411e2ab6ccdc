/** Damage of disks, refused writes, lost lanes and diverged replicas of a running cluster. */
import { unreachable } from '@holdfast/base';
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import { logFilesOf } from './damage.ts';
import type { DamageFault, DamageFaults } from './damage-faults.ts';
import type { StorageFault, TimedFault } from './plan.ts';
import type { Supervisor } from './supervisor.ts';
import type { Trace } from './trace.ts';

export interface StorageFaultParts {
  readonly cluster: SimCluster;
  readonly trace: Trace;
  readonly damage: DamageFaults;
  readonly supervisor: Supervisor;
  /** What one node has may be lost. */
  readonly isSpareable: () => boolean;
  /** A file was damaged, perhaps later than it was to be. */
  readonly onDamage: (node: SimNode, fault: DamageFault) => void;
}

type DiskRefusal = Extract<StorageFault, { readonly kind: 'diskRefusal' }>;

/** A cluster that is not whole may be by then. */
const RETRY_MS = 2_000;
const STALE_AGE_MS_MAX = 6_000;
/** Of two nodes neither is in the minority. */
const DIVERGING_NODE_COUNT_MIN = 3;
/** Of one life: the time until a lane comes back doubles each time. */
const LOST_LANE_COUNT_MAX = 3;

/** In the paths of a disk: files of records, and files of checkpoints. */
const PATHS_OF = { log: '.wal', checkpoint: '/collections/' } as const;

export class StorageFaults {
  readonly #parts: StorageFaultParts;
  /** What takes back the refusals in force. */
  #refusals: (() => void)[] = [];
  readonly #lostLanes = new Map<string, number>();
  #isHealed = false;

  constructor(parts: StorageFaultParts) {
    this.#parts = parts;
  }

  /** A file that is to be put back as it once was is kept some time before. */
  prepare({ atMs, fault }: TimedFault): void {
    if (fault.kind !== 'damageFile' || fault.damage !== 'stale') return;
    const { cluster, damage } = this.#parts;
    this.#later(Math.max(0, atMs - (fault.salt % STALE_AGE_MS_MAX)), () => {
      for (const node of cluster.nodes) damage.keep(node, fault.file);
    });
  }

  /** False: it could not be done to this node now. */
  strike(node: SimNode, fault: Exclude<StorageFault, DamageFault>): boolean {
    switch (fault.kind) {
      case 'diverge':
        return this.#diverge(node);
      case 'loseLane':
        return this.#loseLane(node, fault);
      case 'diskRefusal':
        return this.#refuse(node, fault);
      default:
        return unreachable(fault);
    }
  }

  heal(): void {
    this.#isHealed = true;
    for (const lift of this.#refusals) lift();
    this.#refusals = [];
  }

  /** Now, or a while later when the cluster may be whole, or never. */
  strikeFile(node: SimNode, fault: DamageFault, isLastTry = false): void {
    const { damage, isSpareable, supervisor } = this.#parts;
    if (!isSpareable() || !supervisor.isUnexcused(node) || node.isPaused) {
      if (!isLastTry) this.#later(RETRY_MS, () => this.strikeFile(node, fault, true));
      return;
    }
    const { downMs } = fault;
    const logFiles = logFilesOf(node);
    if (downMs !== null) supervisor.killFor(node, downMs);
    if (damage.damage(node, fault, logFiles) !== null) this.#parts.onDamage(node, fault);
  }

  #diverge(node: SimNode): boolean {
    const { cluster, damage, isSpareable, supervisor } = this.#parts;
    const isCompared = (cluster.options.settings?.digestVerifyIntervalMs ?? 0) > 0;
    if (!isCompared || cluster.nodes.length < DIVERGING_NODE_COUNT_MIN) return false;
    if (!isSpareable() || !supervisor.isUnexcused(node)) return false;
    damage.diverge(node);
    return true;
  }

  #loseLane(node: SimNode, fault: Extract<StorageFault, { readonly kind: 'loseLane' }>): boolean {
    if (node.state !== 'running' || node.isPaused) return false;
    const life = `${node.id} ${node.boot}`;
    const lostCount = this.#lostLanes.get(life) ?? 0;
    if (lostCount >= LOST_LANE_COUNT_MAX) return false;
    this.#lostLanes.set(life, lostCount + 1);
    node.host.loseLane(fault.lane, fault.loss);
    return true;
  }

  /** Before anything is synced, so the node goes on, and waits for its disk. */
  #refuse(node: SimNode, { code, forMs, of }: DiskRefusal): boolean {
    if (!this.#parts.supervisor.isUnexcused(node)) return false;
    const lift = node.fileSystem.faults.add({
      ...{ operation: 'write', pathContains: PATHS_OF[of] },
      ...{ times: Number.POSITIVE_INFINITY, fault: code },
    });
    this.#refusals.push(lift);
    this.#later(forMs, lift);
    return true;
  }

  #later(delayMs: number, action: () => void): void {
    this.#parts.cluster.scheduler.clock.after(delayMs, () => {
      if (!this.#isHealed) action();
    });
  }
}
