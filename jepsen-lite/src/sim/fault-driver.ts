/** Carries out the faults of a plan, undoes each after its time, and everything at the end. */
import type { LogFields, NodeId } from '@holdfast/base';
import { assert, deriveSeed, SeededRandom, toHoldfastError, unreachable } from '@holdfast/base';
import { isFatalForNode, type SimCluster, type SimNode } from '@holdfast/node/testing';
import { ArmedFaults } from './armed-faults.ts';
import { DamageFaults } from './damage-faults.ts';
import type { ConfTrap } from './member-faults.ts';
import { MemberFaults } from './member-faults.ts';
import { NetworkFaults } from './network-faults.ts';
import type { Operator } from './operator.ts';
import type { Fault, FaultKind, NodeFault, NodePick, SimPlan } from './plan.ts';
import type { RareState } from './rare-state-table.ts';
import { rotLog } from './rot.ts';
import { StorageFaults } from './storage-faults.ts';
import { Supervisor } from './supervisor.ts';
import type { Trace } from './trace.ts';

/** What became of a fault of the plan when its time had come, or when what it waited for came. */
export interface StrikeReport {
  readonly fault: Fault;
  /** Whom it struck; empty when it is about all or none. */
  readonly nodes: readonly SimNode[];
  /** `indeterminate`: it lies in wait, or was asked for; nobody knows whether it will happen. */
  readonly outcome: 'installed' | 'indeterminate' | 'skipped';
}

/** `later`: a report of its own follows if it strikes. */
type Struck = StrikeReport['outcome'] | 'later';

export interface FaultDriverParts {
  readonly cluster: SimCluster;
  readonly plan: SimPlan;
  readonly trace: Trace;
  readonly operator: Operator;
  /** Not a violation of an invariant, and not a fault either. */
  readonly onProblem: (problem: string) => void;
  readonly onStrike?: (report: StrikeReport) => void;
}

type RotFault = Extract<Fault, { kind: 'rotLog' }>;
type SnapshotTrap = Extract<Fault, { kind: 'killDuringSnapshot' }>;

/** A cluster that is not whole may be by then. */
const ROT_RETRY_MS = 2_000;

export class FaultDriver {
  readonly #parts: FaultDriverParts;
  readonly #random: SeededRandom;
  readonly #supervisor: Supervisor;
  readonly #network: NetworkFaults;
  readonly #members: MemberFaults;
  readonly #damage: DamageFaults;
  readonly #storage: StorageFaults;
  readonly #armed: ArmedFaults;
  readonly #traps: { readonly fault: SnapshotTrap; chunksLeft: number }[] = [];
  #isHealed = false;
  /** Some node is on its way to rot; until then it may still look whole. */
  #isRotting = false;
  readonly struck = new Map<FaultKind, number>();

  constructor(parts: FaultDriverParts) {
    this.#parts = parts;
    this.#random = new SeededRandom(deriveSeed(parts.plan.seed, 'faults'));
    const { cluster, trace } = parts;
    this.#damage = new DamageFaults((words) => this.#note(words));
    this.#supervisor = new Supervisor({ ...parts, hurtLives: this.#damage.hurtLives });
    this.#storage = new StorageFaults({
      ...{ cluster, trace, damage: this.#damage, supervisor: this.#supervisor },
      isSpareable: () => this.#isSpareable,
      onDamage: (node, fault) => this.#tell(fault, [node], 'installed'),
    });
    const isHealed = (): boolean => this.#isHealed;
    this.#armed = new ArmedFaults({ cluster, supervisor: this.#supervisor, isHealed });
    this.#network = new NetworkFaults(parts.cluster, parts.plan.weather);
    this.#members = new MemberFaults({
      ...parts,
      isSpareable: () => this.#isSpareable,
      spring: (trap, node) => this.#spring(trap, node),
    });
  }

  /** Arms every fault of the plan, from now on. */
  begin(): void {
    for (const timed of this.#parts.plan.faults) {
      const { atMs, fault } = timed;
      this.#storage.prepare(timed);
      this.#after(atMs, () => {
        if (!this.#isHealed) this.#strike(fault);
      });
    }
  }

  /** To be called after every step of a node. */
  look(node: SimNode): void {
    if (!this.#isHealed) this.#members.look(node);
    this.#supervisor.look(node);
  }

  /** To be called for every line that a node logs. */
  stateOf(node: SimNode, fields: LogFields, message: string): RareState | null {
    return this.#damage.stateOf(node, fields, message);
  }

  /** Ends every fault and starts every node that is down. */
  heal(): void {
    this.#isHealed = true;
    this.#network.heal();
    this.#storage.heal();
    this.#parts.cluster.clientNetwork.heal();
    this.#note('everything is healed');
    this.#supervisor.heal();
  }

  /** Power cut of everybody, and starts them. */
  restartAll(): void {
    this.#supervisor.restartAll();
  }

  #strike(fault: Fault): void {
    this.struck.set(fault.kind, (this.struck.get(fault.kind) ?? 0) + 1);
    this.#note(JSON.stringify(fault));
    const { nodes } = this.#parts.cluster;
    const pick = (whom: NodePick): SimNode | null => this.#pick(whom);
    switch (fault.kind) {
      case 'killAll':
        for (const node of nodes) this.#supervisor.killFor(node, fault.downMs);
        this.#tell(fault, nodes, 'installed');
        return;
      case 'powerCutAll':
        for (const node of nodes) this.#supervisor.cutFor(node, fault);
        this.#tell(fault, nodes, 'installed');
        return;
      case 'killDuringSnapshot':
        this.#traps.push({ fault, chunksLeft: fault.chunkCount });
        return;
      case 'isolate':
      case 'cutOneWay':
      case 'partition':
      case 'loss':
      case 'duplication':
      case 'reordering':
      case 'slowNetwork':
        this.#tell(fault, this.#network.strike(fault, pick), 'installed');
        return;
      case 'transfer':
      case 'demoteMember':
      case 'removeMember':
      case 'swapMembers':
      case 'confTrap':
      case 'setLeases':
        if (!this.#members.strike(fault, pick)) this.#tell(fault, [], 'skipped');
        else if (fault.kind !== 'confTrap') this.#tell(fault, [], 'indeterminate');
        return;
      default: {
        const node = this.#pick(fault.node);
        if (node !== null) this.#tell(fault, [node], this.#strikeNode(node, fault));
      }
    }
  }

  #tell(fault: Fault, nodes: readonly SimNode[], outcome: Struck): void {
    if (outcome !== 'later') this.#parts.onStrike?.({ fault, nodes, outcome });
  }

  #strikeNode(node: SimNode, fault: NodeFault): Struck {
    const { clientNetwork, scheduler } = this.#parts.cluster;
    switch (fault.kind) {
      case 'kill':
        return installedIf(this.#supervisor.killFor(node, fault.downMs));
      case 'powerCut':
        return installedIf(this.#supervisor.cutFor(node, fault));
      case 'powerCutAtDiskOperation':
        return armedIf(this.#armed.arm(node, fault));
      case 'powerCutDuringStart':
        return installedIf(this.#armed.cutDuringStart(node, fault));
      case 'killAtLogSync':
        return armedIf(this.#armed.killAtLogSync(node, fault));
      case 'shutDown':
        return installedIf(this.#shutDown(node, fault.downMs));
      case 'rotLog':
        this.#rot(node, fault);
        return 'later';
      case 'diskError':
        return armedIf(this.#armed.breakDisk(node, fault));
      case 'diskFull':
        return installedIf(this.#armed.fillDisk(node, fault.forMs));
      case 'diskStall':
        node.stallDisk(scheduler.clock.monotonicMs() + fault.forMs);
        return installedIf(node.isRunning);
      case 'pause':
        return installedIf(this.#pause(node, fault.forMs));
      case 'wallClockJump':
        node.jumpWall(fault.deltaMs);
        return 'installed';
      case 'checkpoint':
        return installedIf(this.#checkpoint(node));
      case 'wipe':
        return installedIf(this.#wipe(node, fault.downMs));
      case 'clientReset':
        clientNetwork.reset(node.clientAddress);
        return 'installed';
      case 'clientCut':
        clientNetwork.cut(node.clientAddress);
        this.#after(fault.forMs, () => clientNetwork.mend(node.clientAddress));
        return 'installed';
      case 'damageFile':
        this.#storage.strikeFile(node, fault);
        return 'later';
      case 'diverge':
      case 'loseLane':
      case 'diskRefusal':
        return installedIf(this.#storage.strike(node, fault));
      default:
        return unreachable(fault);
    }
  }

  /** `whenDown` runs before the node is started again. */
  #shutDown(node: SimNode, downMs: number, whenDown: () => void = () => {}): boolean {
    if (!this.#supervisor.isUnexcused(node) || node.isPaused) return false;
    const { boot } = node;
    node.shutDown().then(
      (isOrderly) => {
        if (!isOrderly) return;
        whenDown();
        this.#supervisor.restartAfter(node, downMs);
      },
      (thrown: unknown) => {
        if (node.boot === boot) this.#supervisor.bury(node, toHoldfastError(thrown));
      },
    );
    return true;
  }

  /**
   * Only while all are whole, and one at a time: the same entry must not rot on a majority. The
   * node stops in an orderly way, so that what rots had been confirmed to be durable; where the
   * disk refuses the log it cannot be, and nothing rots.
   */
  #rot(node: SimNode, fault: RotFault, isLastTry = false): void {
    if (!this.#isSpareable || !this.#supervisor.isUnexcused(node) || node.isPaused) {
      if (!isLastTry) this.#rotLater(fault);
      return;
    }
    const { boot } = node;
    const { downMs, isolatedMs } = fault;
    this.#isRotting = true;
    if (isolatedMs > 0) {
      const cut = { kind: 'isolate', node: fault.node, forMs: isolatedMs + downMs } as const;
      this.#network.strike(cut, () => node);
    }
    this.#after(isolatedMs, () => {
      if (node.boot === boot && node.state === 'running') this.#shutDownToRot(node, fault);
      // By then it has stopped, or it will not rot.
      this.#after(ROT_RETRY_MS, () => {
        this.#isRotting = false;
      });
    });
  }

  #shutDownToRot(node: SimNode, fault: RotFault): void {
    const { wal } = node;
    this.#shutDown(node, fault.downMs, () => {
      if (wal.writes().state === 'closed') this.#flipBits(node, fault);
    });
  }

  #rotLater(fault: RotFault): void {
    this.#after(ROT_RETRY_MS, () => {
      const node = this.#isHealed ? null : this.#pick(fault.node);
      if (node !== null) this.#rot(node, fault, true);
    });
  }

  #flipBits(node: SimNode, fault: RotFault): void {
    if (!this.#isRotting || this.#isHealed) return;
    this.#tell(fault, [node], 'installed');
    this.#isRotting = false;
    this.#supervisor.rotten.add(node.incarnation);
    for (const { path, position } of rotLog(node, fault))
      this.#note(`a bit of ${path} of ${node.id} flips at ${position}`);
  }

  /** To be called for every chunk of a snapshot that is sent. */
  chunkSent(from: NodeId, to: NodeId): void {
    const trap = this.#traps[0];
    if (trap === undefined || this.#isHealed) return;
    trap.chunksLeft -= 1;
    if (trap.chunksLeft >= 0) return;
    this.#traps.shift();
    const { downMs, end } = trap.fault;
    const id = end === 'sender' ? from : to;
    const node = this.#parts.cluster.nodes.find((one) => one.id === id);
    this.#note(`${id} dies, ${end} of a snapshot`);
    // In the next turn: the sender is in the middle of this one.
    this.#parts.cluster.scheduler.defer(() => {
      if (node === undefined) return;
      this.#tell(trap.fault, [node], installedIf(this.#supervisor.killFor(node, downMs)));
    });
  }

  #spring(trap: ConfTrap, node: SimNode): void {
    const { action, forMs, salt } = trap;
    this.#tell(trap, [node], 'installed');
    if (action === 'checkpoint') this.#checkpoint(node);
    else if (action === 'kill') this.#supervisor.killFor(node, forMs);
    else if (action === 'powerCut')
      this.#supervisor.cutFor(node, { keep: 'random', salt, downMs: forMs });
    else this.#network.strike({ kind: 'isolate', node: 'leader', forMs }, () => node);
  }

  /** What one node has may be lost. */
  get #isSpareable(): boolean {
    return this.#members.isWhole && !this.#isRotting && this.#damage.isClean;
  }

  #wipe(node: SimNode, downMs: number): boolean {
    if (!this.#isSpareable) return false;
    this.#supervisor.cutPower(node, 'none', 0);
    this.#parts.cluster.wipe(node);
    this.#supervisor.restartAfter(node, downMs);
    return true;
  }

  /** A checkpoint that fails costs nothing but itself, unless the node cannot go on after it. */
  #checkpoint(node: SimNode): boolean {
    if (node.state !== 'running' || node.node.replica.applier.appliedIndex === 0) return false;
    const { boot } = node;
    node.node.replica.checkpoint().catch((thrown: unknown) => {
      if (node.boot !== boot) return;
      const failure = toHoldfastError(thrown);
      if (isFatalForNode(thrown)) this.#supervisor.bury(node, failure);
      else this.#note(`${node.id} failed a checkpoint and goes on: ${failure.message}`);
    });
    return true;
  }

  #pause(node: SimNode, forMs: number): boolean {
    if (node.state !== 'running' || node.isPaused) return false;
    const { boot } = node;
    node.pause();
    this.#after(forMs, () => {
      if (node.boot === boot) node.resume();
    });
    return true;
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

const installedIf = (isDone: boolean): Struck => (isDone ? 'installed' : 'skipped');
const armedIf = (isDone: boolean): Struck => (isDone ? 'indeterminate' : 'skipped');
