/**
 * Carries out the faults of a plan, undoes each after its time, and at the end undoes everything.
 *
 * It also plays the process supervisor: a node that stopped by itself is a dead process; if a fault
 * gave it a reason it is started again, if not the run has failed.
 */
import type { HoldfastError, NodeId } from '@holdfast/base';
import { assert, deriveSeed, SeededRandom, toHoldfastError, unreachable } from '@holdfast/base';
import { isFatalForNode, type SimCluster, type SimNode } from '@holdfast/node/testing';
import type { ConfTrap } from './member-faults.ts';
import { MemberFaults } from './member-faults.ts';
import { NetworkFaults } from './network-faults.ts';
import type { Operator } from './operator.ts';
import type { Fault, FaultKind, Keep, NodeFault, NodePick, SimPlan } from './plan.ts';
import type { Trace } from './trace.ts';

/** A node that was to die at a file operation it never makes dies after this time. */
const ARMED_MS_MAX = 2_000;
/** A disk is full when this much is left: enough for a record, not for a file. */
const FULL_DISK_ROOM_BYTES = 600;

export interface FaultDriverParts {
  readonly cluster: SimCluster;
  readonly plan: SimPlan;
  readonly trace: Trace;
  readonly operator: Operator;
  /** Not a violation of an invariant, and not a fault either. */
  readonly onProblem: (problem: string) => void;
}

/** The files of the log, in the paths of a disk. */
const LOG_PATH = '/wal/';

/** Why a node may stop by itself, and what is done with it then. */
interface Excuse {
  readonly reason: 'power' | 'disk';
  readonly downMs: number;
  readonly salt: number;
}

export class FaultDriver {
  readonly #parts: FaultDriverParts;
  readonly #random: SeededRandom;
  readonly #excuses = new Map<SimNode, Excuse>();
  readonly #network: NetworkFaults;
  readonly #members: MemberFaults;
  /** Full disks: their nodes are not started before there is room. */
  readonly #full = new Set<SimNode>();
  readonly #traps: {
    readonly end: 'sender' | 'receiver';
    readonly downMs: number;
    chunksLeft: number;
  }[] = [];
  #isHealed = false;
  readonly struck = new Map<FaultKind, number>();
  startCount = 0;

  constructor(parts: FaultDriverParts) {
    this.#parts = parts;
    this.#random = new SeededRandom(deriveSeed(parts.plan.seed, 'faults'));
    this.#network = new NetworkFaults(parts.cluster, parts.plan.weather);
    this.#members = new MemberFaults({
      ...parts,
      spring: (trap, node) => this.#spring(trap, node),
    });
  }

  /** Arms every fault of the plan, from now on. */
  begin(): void {
    for (const { atMs, fault } of this.#parts.plan.faults) {
      this.#after(atMs, () => {
        if (!this.#isHealed) this.#strike(fault);
      });
    }
  }

  /** To be called after every step of a node. */
  look(node: SimNode): void {
    if (!this.#isHealed) this.#members.look(node);
    if (node.state !== 'failed') return;
    const { failure, boot } = node;
    // The process is at its end; it is gone in the next turn.
    this.#parts.cluster.scheduler.defer(() => {
      if (node.boot === boot && node.state === 'failed') this.#bury(node, failure);
    });
  }

  /** Ends every fault and starts every node that is down. */
  heal(): void {
    this.#isHealed = true;
    const { cluster } = this.#parts;
    this.#network.heal();
    cluster.clientNetwork.heal();
    this.#note('everything is healed');
    for (const node of cluster.nodes) {
      this.#freeDisk(node);
      node.resume();
      const excuse = this.#excuses.get(node);
      if (excuse?.reason === 'power') this.#cutPower(node, 'random', excuse.salt);
      else if (excuse !== undefined) this.#kill(node);
      this.#restart(node);
    }
  }

  /** Power cut of everybody, and starts them. */
  restartAll(): void {
    for (const node of this.#parts.cluster.nodes) this.#cutPower(node, 'none', 0);
    for (const node of this.#parts.cluster.nodes) this.#restart(node);
  }

  #strike(fault: Fault): void {
    this.struck.set(fault.kind, (this.struck.get(fault.kind) ?? 0) + 1);
    this.#note(JSON.stringify(fault));
    const { nodes } = this.#parts.cluster;
    switch (fault.kind) {
      case 'killAll':
        for (const node of nodes) this.#killFor(node, fault.downMs);
        return;
      case 'powerCutAll':
        for (const node of nodes) this.#cutFor(node, fault);
        return;
      case 'killDuringSnapshot':
        this.#traps.push({ ...fault, chunksLeft: fault.chunkCount });
        return;
      case 'isolate':
      case 'cutOneWay':
      case 'partition':
      case 'loss':
      case 'duplication':
      case 'reordering':
      case 'slowNetwork':
        this.#network.strike(fault, (pick) => this.#pick(pick));
        return;
      case 'transfer':
      case 'demoteMember':
      case 'removeMember':
      case 'swapMembers':
      case 'confTrap':
      case 'setLeases':
        this.#members.strike(fault, (pick) => this.#pick(pick));
        return;
      default: {
        const node = this.#pick(fault.node);
        if (node !== null) this.#strikeNode(node, fault);
      }
    }
  }

  #strikeNode(node: SimNode, fault: NodeFault): void {
    const { clientNetwork, scheduler } = this.#parts.cluster;
    switch (fault.kind) {
      case 'kill':
        this.#killFor(node, fault.downMs);
        return;
      case 'powerCut':
        this.#cutFor(node, fault);
        return;
      case 'powerCutAtDiskOperation':
        this.#arm(node, fault);
        return;
      case 'powerCutDuringStart':
        this.#cutDuringStart(node, fault);
        return;
      case 'diskError':
        this.#breakDisk(node, fault);
        return;
      case 'diskFull':
        this.#fillDisk(node, fault.forMs);
        return;
      case 'diskStall':
        node.stallDisk(scheduler.clock.monotonicMs() + fault.forMs);
        return;
      case 'pause':
        this.#pause(node, fault.forMs);
        return;
      case 'wallClockJump':
        node.jumpWall(fault.deltaMs);
        return;
      case 'checkpoint':
        this.#checkpoint(node);
        return;
      case 'wipe':
        this.#wipe(node, fault.downMs);
        return;
      case 'clientReset':
        clientNetwork.reset(node.clientAddress);
        return;
      case 'clientCut':
        clientNetwork.cut(node.clientAddress);
        this.#after(fault.forMs, () => clientNetwork.mend(node.clientAddress));
        return;
      default:
        unreachable(fault);
    }
  }

  #killFor(node: SimNode, downMs: number): void {
    if (node.state === 'down') return;
    this.#kill(node);
    this.#restartAfter(node, downMs);
  }

  #cutFor(
    node: SimNode,
    fault: { readonly keep: Keep; readonly salt: number; readonly downMs: number },
  ): void {
    if (node.state === 'down') return;
    this.#cutPower(node, fault.keep, fault.salt);
    this.#restartAfter(node, fault.downMs);
  }

  #arm(node: SimNode, fault: Extract<Fault, { kind: 'powerCutAtDiskOperation' }>): void {
    if (node.state !== 'running' || this.#excuses.has(node)) return;
    const { fileSystem } = node;
    const { at, operationCount } = fault;
    if (at === 'any') fileSystem.crashAtOperation(fileSystem.operationCount + operationCount);
    else {
      const operation = at === 'logWrite' ? 'write' : 'sync';
      const skip = operationCount - 1;
      fileSystem.faults.add({ operation, pathContains: LOG_PATH, skip, fault: 'crash' });
    }
    this.#excuses.set(node, { reason: 'power', downMs: fault.downMs, salt: fault.salt });
    this.#disarmAfter(node, ARMED_MS_MAX);
  }

  /** A node that was to die and has not by then dies now. */
  #disarmAfter(node: SimNode, delayMs: number): void {
    const { boot } = node;
    this.#after(delayMs, () => {
      if (node.boot === boot && this.#excuses.has(node)) this.#bury(node, null);
    });
  }

  #cutDuringStart(node: SimNode, fault: Extract<Fault, { kind: 'powerCutDuringStart' }>): void {
    if (node.state === 'down') return;
    const { operationCount, downMs, salt } = fault;
    this.#cutPower(node, 'random', salt);
    this.#after(downMs, () => {
      if (this.#isHealed || node.state !== 'down' || this.#full.has(node)) return;
      node.fileSystem.crashAtOperation(operationCount);
      this.#excuses.set(node, { reason: 'power', downMs: 50, salt });
      this.#restart(node);
      this.#disarmAfter(node, ARMED_MS_MAX);
    });
  }

  /** To be called for every chunk of a snapshot that is sent. */
  chunkSent(from: NodeId, to: NodeId): void {
    const trap = this.#traps[0];
    if (trap === undefined || this.#isHealed) return;
    trap.chunksLeft -= 1;
    if (trap.chunksLeft >= 0) return;
    this.#traps.shift();
    const id = trap.end === 'sender' ? from : to;
    const node = this.#parts.cluster.nodes.find((one) => one.id === id);
    this.#note(`${id} dies, ${trap.end} of a snapshot`);
    // In the next turn: the sender is in the middle of this one.
    this.#parts.cluster.scheduler.defer(() => {
      if (node !== undefined) this.#killFor(node, trap.downMs);
    });
  }

  #breakDisk(node: SimNode, fault: Extract<Fault, { kind: 'diskError' }>): void {
    if (node.state !== 'running' || this.#excuses.has(node)) return;
    const { operation, skipCount } = fault;
    node.fileSystem.faults.add({ operation, skip: skipCount, fault: 'EIO' });
    this.#excuses.set(node, { reason: 'disk', downMs: fault.downMs, salt: 0 });
  }

  #fillDisk(node: SimNode, forMs: number): void {
    if (node.state !== 'running' || this.#excuses.has(node)) return;
    const { fileSystem } = node;
    fileSystem.capacityBytes = fileSystem.usedBytes() + FULL_DISK_ROOM_BYTES;
    this.#full.add(node);
    this.#excuses.set(node, { reason: 'disk', downMs: 100, salt: 0 });
    this.#after(forMs, () => this.#freeDisk(node));
  }

  #freeDisk(node: SimNode): void {
    node.fileSystem.capacityBytes = Number.POSITIVE_INFINITY;
    if (!this.#full.delete(node)) return;
    if (node.state === 'running') this.#excuses.delete(node);
    else if (node.state === 'down') this.#restart(node);
  }

  #spring(trap: ConfTrap, node: SimNode): void {
    const { action, forMs, salt } = trap;
    if (action === 'checkpoint') this.#checkpoint(node);
    else if (action === 'kill') this.#killFor(node, forMs);
    else if (action === 'powerCut') this.#cutFor(node, { keep: 'random', salt, downMs: forMs });
    else this.#network.strike({ kind: 'isolate', node: 'leader', forMs }, () => node);
  }

  #wipe(node: SimNode, downMs: number): void {
    if (!this.#members.isWhole) return;
    this.#cutPower(node, 'none', 0);
    this.#parts.cluster.wipe(node);
    this.#restartAfter(node, downMs);
  }

  /** A checkpoint that fails costs nothing but itself, unless the node cannot go on after it. */
  #checkpoint(node: SimNode): void {
    if (node.state !== 'running' || node.node.replica.applier.appliedIndex === 0) return;
    const { boot } = node;
    node.node.replica.checkpoint().catch((thrown: unknown) => {
      if (node.boot !== boot) return;
      const failure = toHoldfastError(thrown);
      if (isFatalForNode(thrown)) this.#bury(node, failure);
      else this.#note(`${node.id} failed a checkpoint and goes on: ${failure.message}`);
    });
  }

  #pause(node: SimNode, forMs: number): void {
    if (node.state !== 'running' || node.isPaused) return;
    const { boot } = node;
    node.pause();
    this.#after(forMs, () => {
      if (node.boot === boot) node.resume();
    });
  }

  /** The end of a process that stopped, or is to stop. */
  #bury(node: SimNode, failure: HoldfastError | null): void {
    const excuse = this.#excuses.get(node);
    if (excuse === undefined) {
      const details = failure === null ? '' : ` ${JSON.stringify(failure.details)}`;
      this.#parts.onProblem(`${node.id} stopped by itself: ${failure?.message}${details}`);
      this.#kill(node);
      return;
    }
    this.#note(`${node.id} stopped: ${failure?.message ?? 'its time has come'}`);
    if (excuse.reason === 'power') this.#cutPower(node, 'random', excuse.salt);
    else this.#kill(node);
    this.#restartAfter(node, excuse.downMs);
  }

  #kill(node: SimNode): void {
    this.#excuses.delete(node);
    node.kill();
  }

  #cutPower(node: SimNode, keepUnsynced: Keep, salt: number): void {
    this.#excuses.delete(node);
    node.cutPower({ seed: salt, keepUnsynced, tearsSectors: true });
  }

  #restartAfter(node: SimNode, downMs: number): void {
    this.#after(downMs, () => this.#restart(node));
  }

  #restart(node: SimNode): void {
    if (node.state !== 'down' || this.#full.has(node)) return;
    this.startCount += 1;
    this.#note(`${node.id} starts`);
    node.begin().catch((error: unknown) => this.#startFailed(node, error));
  }

  #startFailed(node: SimNode, error: unknown): void {
    if (node.state !== 'failed') return;
    // A fault that struck during the start is excused like any other.
    if (this.#excuses.has(node)) this.#bury(node, node.failure);
    else this.#parts.onProblem(`${node.id} does not start any more: ${String(error)}`);
  }

  #pick(pick: NodePick): SimNode | null {
    const { nodes } = this.#parts.cluster;
    if (typeof pick === 'number') return nodes[pick % nodes.length] ?? null;
    const running = nodes.filter((node) => node.state === 'running');
    const isLeader = (node: SimNode): boolean => node.node.replica.soft.role === 'leader';
    const wanted = running.filter((node) => isLeader(node) === (pick === 'leader'));
    const candidates = wanted.length > 0 ? wanted : running;
    return candidates[this.#random.nextBelow(Math.max(1, candidates.length))] ?? null;
  }

  #after(delayMs: number, action: () => void): void {
    assert(delayMs >= 0, 'a fault must not lie in the past', { delayMs });
    this.#parts.cluster.scheduler.clock.after(delayMs, action);
  }

  #note(words: string): void {
    this.#parts.trace.note(`FAULT ${words}`);
  }
}
