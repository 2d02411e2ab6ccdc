/**
 * Ends and starts the processes of a simulated cluster. A node that stopped by itself is a dead
 * process; if a fault gave it a reason it is started again, if not the run has failed.
 */
import type { ErrorCode, HoldfastError, Incarnation } from '@holdfast/base';
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import type { Keep } from './plan.ts';
import type { Trace } from './trace.ts';

export interface SupervisorParts {
  readonly cluster: SimCluster;
  readonly trace: Trace;
  /** Lives that may end and begin anew, because something of them was damaged. */
  readonly hurtLives: ReadonlySet<Incarnation>;
  readonly onProblem: (problem: string) => void;
}

/** Why a node may stop by itself, and what is done with it then. */
export interface Excuse {
  readonly reason: 'power' | 'process' | 'disk';
  readonly downMs: number;
  readonly salt: number;
  /** After its next start the power goes; undefined: it stays. */
  readonly powerCutAfterMs?: number;
}

/**
 * With these a node whose disk was damaged may stop: it needs another life, met a hole of its log
 * while it read for a peer, or a lane finds no whole checkpoint. Its next start mends that.
 */
const ROTTEN: ReadonlySet<string> = new Set<ErrorCode>([
  ...(['NEW_LIFE_NEEDED', 'WAL_CORRUPT'] as const),
  ...(['FILE_CORRUPT', 'SEGMENT_CORRUPT', 'CHECKPOINT_CORRUPT'] as const),
]);

/** A node with a full disk that stopped is started as soon as there is room. */
const FULL_DISK_DOWN_MS = 100;

export class Supervisor {
  readonly #parts: SupervisorParts;
  readonly #excuses = new Map<SimNode, Excuse>();
  readonly #full = new Set<SimNode>();
  /** Incarnations whose log has rotted once. */
  readonly rotten = new Set<string>();
  #isHealed = false;

  constructor(parts: SupervisorParts) {
    this.#parts = parts;
  }

  /** It runs, and no fault waits to strike it. */
  isUnexcused(node: SimNode): boolean {
    return node.state === 'running' && !this.#excuses.has(node);
  }

  isStartable(node: SimNode): boolean {
    return node.state === 'down' && !this.#full.has(node);
  }

  /** A node that was to die and has not `withinMs` later dies then; without a limit it may live. */
  excuse(node: SimNode, excuse: Excuse, withinMs: number | null = null): void {
    this.#excuses.set(node, excuse);
    const { boot } = node;
    if (withinMs === null) return;
    this.#after(withinMs, () => {
      if (node.boot === boot && this.#excuses.has(node)) this.bury(node, null);
    });
  }

  /** To be called after every step of a node. */
  look(node: SimNode): void {
    if (node.state !== 'failed') return;
    const { failure, boot } = node;
    // The process is at its end; it is gone in the next turn.
    this.#parts.cluster.scheduler.defer(() => {
      if (node.boot === boot && node.state === 'failed') this.bury(node, failure);
    });
  }

  /** Every excuse is over, every disk has room, every node is started. */
  heal(): void {
    this.#isHealed = true;
    for (const node of this.#parts.cluster.nodes) {
      this.#freeDisk(node);
      node.resume();
      const excuse = this.#excuses.get(node);
      if (excuse?.reason === 'power') this.cutPower(node, 'random', excuse.salt);
      else if (excuse !== undefined) this.#kill(node);
      this.restart(node);
    }
  }

  restartAll(): void {
    for (const node of this.#parts.cluster.nodes) this.cutPower(node, 'none', 0);
    for (const node of this.#parts.cluster.nodes) this.restart(node);
  }

  /** False: it was down already. */
  killFor(node: SimNode, downMs: number): boolean {
    if (node.state === 'down') return false;
    this.#kill(node);
    this.restartAfter(node, downMs);
    return true;
  }

  /** False: it was down already. */
  cutFor(
    node: SimNode,
    cut: { readonly keep: Keep; readonly salt: number; readonly downMs: number },
  ): boolean {
    if (node.state === 'down') return false;
    this.cutPower(node, cut.keep, cut.salt);
    this.restartAfter(node, cut.downMs);
    return true;
  }

  cutPower(node: SimNode, keepUnsynced: Keep, salt: number): void {
    this.#excuses.delete(node);
    node.cutPower({ seed: salt, keepUnsynced, tearsSectors: true });
  }

  /** The disk has been filled; there is room again `forMs` later. */
  fullDisk(node: SimNode, forMs: number): void {
    this.#full.add(node);
    this.excuse(node, { reason: 'disk', downMs: FULL_DISK_DOWN_MS, salt: 0 });
    this.#after(forMs, () => this.#freeDisk(node));
  }

  restartAfter(node: SimNode, downMs: number): void {
    this.#after(downMs, () => this.restart(node));
  }

  restart(node: SimNode): void {
    if (!this.isStartable(node)) return;
    this.#note(`${node.id} starts`);
    node.begin().catch((error: unknown) => this.#startFailed(node, error));
  }

  /** The end of a process that stopped, or is to stop. */
  bury(node: SimNode, failure: HoldfastError | null): void {
    const excuse = this.#excuses.get(node);
    if (excuse === undefined && this.#mayBeginAnew(node, failure)) {
      this.#startAgain(node);
      return;
    }
    if (excuse === undefined) {
      const details = failure === null ? '' : ` ${JSON.stringify(failure.details)}`;
      this.#parts.onProblem(`${node.id} stopped by itself: ${failure?.message}${details}`);
      this.#kill(node);
      return;
    }
    this.#note(`${node.id} stopped: ${failure?.message ?? 'its time has come'}`);
    const { downMs, powerCutAfterMs, reason, salt } = excuse;
    if (reason === 'power') this.cutPower(node, 'random', salt);
    else this.#kill(node);
    this.restartAfter(node, downMs);
    if (powerCutAfterMs === undefined) return;
    this.#after(downMs + powerCutAfterMs, () => {
      if (!this.#isHealed) this.cutFor(node, { keep: 'none', salt, downMs });
    });
  }

  #startFailed(node: SimNode, error: unknown): void {
    if (node.state !== 'failed') return;
    // A fault that struck during the start is excused like any other.
    if (this.#excuses.has(node)) this.bury(node, node.failure);
    else if (node.failure?.code === 'NEW_LIFE_NEEDED') this.#startAgain(node);
    else if (this.#isBeyondRepair(node)) this.#replaceDisk(node);
    else this.#parts.onProblem(`${node.id} does not start any more: ${String(error)}`);
  }

  /** It found out that what it has cannot be used any more, or not before it is repaired. */
  #mayBeginAnew(node: SimNode, failure: HoldfastError | null): boolean {
    return failure !== null && ROTTEN.has(failure.code) && this.#isHurt(node);
  }

  #isHurt({ incarnation }: SimNode): boolean {
    return this.#parts.hurtLives.has(incarnation);
  }

  /** Nobody can know any more how it voted: it must not come back as the same member. */
  #isBeyondRepair(node: SimNode): boolean {
    return this.rotten.has(node.incarnation) && node.failure?.code === 'WAL_CORRUPT';
  }

  #startAgain(node: SimNode): void {
    this.#note(`${node.id} is started again: ${node.failure?.message}`);
    this.#kill(node);
    this.restart(node);
  }

  #replaceDisk(node: SimNode): void {
    this.#note(`${node.id} gets a new disk: ${node.failure?.message}`);
    this.#kill(node);
    this.#parts.cluster.wipe(node);
    this.restart(node);
  }

  #freeDisk(node: SimNode): void {
    node.fileSystem.capacityBytes = Number.POSITIVE_INFINITY;
    if (!this.#full.delete(node)) return;
    if (node.state === 'running') this.#excuses.delete(node);
    else if (node.state === 'down') this.restart(node);
  }

  #kill(node: SimNode): void {
    this.#excuses.delete(node);
    node.kill();
  }

  #after(delayMs: number, action: () => void): void {
    this.#parts.cluster.scheduler.clock.after(delayMs, action);
  }

  #note(words: string): void {
    this.#parts.trace.note(`FAULT ${words}`);
  }
}
