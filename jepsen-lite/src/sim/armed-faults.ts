/**
 * Faults that lie in wait in the disk of a node: they strike at one of its next file operations,
 * when what it has written is half done. Each says whether it was armed; a node that waits for one
 * already gets no second one.
 */
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import type { Fault } from './plan.ts';
import type { Supervisor } from './supervisor.ts';

type FaultOf<Kind extends Fault['kind']> = Extract<Fault, { readonly kind: Kind }>;

export interface ArmedFaultParts {
  readonly cluster: SimCluster;
  readonly supervisor: Supervisor;
  /** Then nothing is armed any more. */
  readonly isHealed: () => boolean;
}

/** A node that was to die at a file operation it never makes dies after this time. */
export const ARMED_MS_MAX = 2_000;
/** A disk is full when this much is left: enough for a record, not for a file. */
const FULL_DISK_ROOM_BYTES = 600;

/** The files of the log, in the paths of a disk. */
const LOG_PATH = '/wal/';

export class ArmedFaults {
  readonly #parts: ArmedFaultParts;

  constructor(parts: ArmedFaultParts) {
    this.#parts = parts;
  }

  arm(node: SimNode, fault: FaultOf<'powerCutAtDiskOperation'>): boolean {
    const { supervisor } = this.#parts;
    if (!supervisor.isUnexcused(node)) return false;
    const { fileSystem } = node;
    const { at, downMs, operationCount, salt } = fault;
    if (at === 'any') fileSystem.crashAtOperation(fileSystem.operationCount + operationCount);
    else {
      const operation = at === 'logWrite' ? 'write' : 'sync';
      const skip = operationCount - 1;
      fileSystem.faults.add({ operation, pathContains: LOG_PATH, skip, fault: 'crash' });
    }
    supervisor.excuse(node, { reason: 'power', downMs, salt }, ARMED_MS_MAX);
    return true;
  }

  killAtLogSync(node: SimNode, fault: FaultOf<'killAtLogSync'>): boolean {
    const { supervisor } = this.#parts;
    if (!supervisor.isUnexcused(node)) return false;
    const { syncCount, downMs, powerCutAfterMs, salt } = fault;
    const skip = syncCount - 1;
    node.fileSystem.faults.add({ operation: 'sync', pathContains: LOG_PATH, skip, fault: 'crash' });
    supervisor.excuse(node, { reason: 'process', downMs, powerCutAfterMs, salt }, ARMED_MS_MAX);
    return true;
  }

  cutDuringStart(node: SimNode, fault: FaultOf<'powerCutDuringStart'>): boolean {
    if (node.state === 'down') return false;
    const { cluster, isHealed, supervisor } = this.#parts;
    const { operationCount, downMs, salt } = fault;
    supervisor.cutPower(node, 'random', salt);
    cluster.scheduler.clock.after(downMs, () => {
      if (isHealed() || !supervisor.isStartable(node)) return;
      node.fileSystem.crashAtOperation(operationCount);
      supervisor.restart(node);
      supervisor.excuse(node, { reason: 'power', downMs: 50, salt }, ARMED_MS_MAX);
    });
    return true;
  }

  breakDisk(node: SimNode, fault: FaultOf<'diskError'>): boolean {
    const { supervisor } = this.#parts;
    if (!supervisor.isUnexcused(node)) return false;
    const { operation, skipCount } = fault;
    node.fileSystem.faults.add({ operation, skip: skipCount, fault: 'EIO' });
    supervisor.excuse(node, { reason: 'disk', downMs: fault.downMs, salt: 0 });
    return true;
  }

  fillDisk(node: SimNode, forMs: number): boolean {
    const { supervisor } = this.#parts;
    if (!supervisor.isUnexcused(node)) return false;
    const { fileSystem } = node;
    fileSystem.capacityBytes = fileSystem.usedBytes() + FULL_DISK_ROOM_BYTES;
    supervisor.fullDisk(node, forMs);
    return true;
  }
}
