/**
 * Warm connections to every node the client knows, and the choice among them. Staying connected to
 * the followers is what makes failover fast: they push the new leader the moment they know it.
 *
 * Invariants: P1 all connections belong to one cluster (a write retried in another cluster would
 * happen twice), and to its newest epoch: what members say that a recovery has given up is worth
 * nothing. P2 at most `LEARNT_NODE_COUNT_MAX` nodes are added to those given by the caller.
 * P3 the members followed are those of the newest configuration heard of.
 */
import type { Random, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { Hello, LeaderHint, Welcome } from '@holdfast/protocol';
import { Connection, type MembersView } from './connection.ts';
import type { LeaderCache } from './leader-cache.ts';
import { forgetLeader, isSameLeader, learnLeader, NO_LEADER_KNOWN } from './leader-cache.ts';
import type { Transport } from './transport.ts';

/** Nodes met at addresses that were not given; enough for a cluster that grew several times. */
export const LEARNT_NODE_COUNT_MAX = 16;

export interface NodePoolEvents {
  onLeader(leader: LeaderHint | null, term: number): void;
  onConnected(nodeId: string, address: string): void;
  onDisconnected(nodeId: string | null, address: string, error: HoldfastError): void;
  onWelcome(welcome: Welcome): void;
}

export interface NodePoolOptions {
  readonly addresses: readonly string[];
  /** Also connect to members that were not given. */
  readonly followsMembers: boolean;
  readonly hello: Hello;
  /** Nodes of an earlier epoch are refused from the start; 0 when none is known. */
  readonly epochMin: number;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly random: Random;
  readonly events: NodePoolEvents;
}

export class NodePool {
  readonly #options: NodePoolOptions;
  #connections: Connection[] = [];
  /** Of those in `#connections`: found through the cluster, not given. */
  readonly #learnt = new Set<Connection>();
  #confIndex = -1;
  readonly #waiters = new Set<() => void>();
  #cache: LeaderCache = NO_LEADER_KNOWN;
  /** The last leader that was known, with its term: `#cache` forgets it while there is none. */
  #lastLeader: { readonly nodeId: string; readonly term: number } | null = null;
  #clusterId: string | null = null;
  /** The highest seen; 0 before the first welcome. */
  #epoch: number;
  #nextAny = 0;
  #isStopped = false;
  /** Why nodes could not be reached, newest per address: the cause in a final error. */
  readonly #failures = new Map<string, HoldfastError>();

  constructor(options: NodePoolOptions) {
    this.#options = options;
    this.#epoch = options.epochMin;
    for (const address of new Set(options.addresses)) this.#add(address);
    this.#nextAny = options.random.nextBelow(Math.max(1, this.#connections.length));
  }

  get leader(): LeaderHint | null {
    return this.#cache.leader;
  }

  get term(): number {
    return this.#cache.term;
  }

  /** The highest epoch any node has told; 0 while none has. */
  get epoch(): number {
    return this.#epoch;
  }

  get hasReady(): boolean {
    return this.#connections.some((connection) => connection.isReady);
  }

  get failures(): ReadonlyMap<string, HoldfastError> {
    return this.#failures;
  }

  start(): void {
    for (const connection of this.#connections) connection.start();
  }

  stop(error: HoldfastError): void {
    this.#isStopped = true;
    for (const connection of this.#connections) connection.stop(error);
  }

  /** Calls `wake` at every change that may make a request possible, until undone. */
  subscribe(wake: () => void): () => void {
    this.#waiters.add(wake);
    return () => this.#waiters.delete(wake);
  }

  /** The connection to the leader when there is one that can be used now. */
  pickLeader(): Connection | null {
    const connection = this.#leaderConnection();
    return connection?.isReady === true ? connection : null;
  }

  /** Any usable connection, in turn, `avoid` only when there is no other. */
  pickAny(avoid: Connection | null): Connection | null {
    const count = this.#connections.length;
    let fallback: Connection | null = null;
    for (let i = 0; i < count; i++) {
      const at = (this.#nextAny + i) % count;
      const connection = this.#connections[at];
      if (connection === undefined || !connection.isReady) continue;
      if (connection === avoid) {
        fallback = connection;
        continue;
      }
      this.#nextAny = at + 1;
      return connection;
    }
    return fallback;
  }

  find(nameOrAddress: string): Connection | null {
    const isNamed = (each: Connection): boolean =>
      each.nodeId === nameOrAddress || each.address === nameOrAddress;
    return this.#connections.find(isNamed) ?? null;
  }

  /** `connection` refused with NOT_LEADER, perhaps naming the leader. */
  redirect(connection: Connection, details: Readonly<Record<string, unknown>>): void {
    if (connection.nodeId !== null) this.#update(forgetLeader(this.#cache, connection.nodeId));
    const leader = leaderOf(details.leader);
    if (leader === null || leader.nodeId === connection.nodeId) return;
    const { term } = details;
    const heardTerm = typeof term === 'number' && Number.isSafeInteger(term) ? term : this.term;
    this.#update(learnLeader(this.#cache, { leader, term: heardTerm }));
  }

  /** The node is going away: look for another leader now, not when the connection ends. */
  suspect(connection: Connection): void {
    if (connection.nodeId !== null) this.#update(forgetLeader(this.#cache, connection.nodeId));
  }

  #leaderConnection(): Connection | null {
    const { leader } = this.#cache;
    if (leader === null) return null;
    return this.find(leader.nodeId) ?? (leader.address === '' ? null : this.find(leader.address));
  }

  #add(address: string): Connection {
    const { hello, transport, timers, random } = this.#options;
    const connection = new Connection({
      address,
      hello,
      transport,
      timers,
      random,
      handlers: {
        onWelcome: (each, welcome) => this.#onWelcome(each, welcome),
        onDown: (each, error) => this.#onDown(each, error),
        onMembers: (members) => this.#onMembers(members),
        onLeader: (heard) => this.#update(learnLeader(this.#cache, heard)),
      },
    });
    this.#connections.push(connection);
    return connection;
  }

  #onWelcome(connection: Connection, welcome: Welcome): HoldfastError | null {
    this.#clusterId ??= welcome.clusterId;
    if (welcome.clusterId !== this.#clusterId) {
      return new HoldfastError(
        'ARGUMENT_INVALID',
        `node ${connection.address} belongs to another cluster; fix the list of nodes`,
        { details: { found: welcome.clusterId, expected: this.#clusterId } },
      );
    }
    if (welcome.epoch < this.#epoch) return this.#epochOld(connection, welcome.epoch);
    if (welcome.epoch > this.#epoch) this.#enterEpoch(connection, welcome.epoch);
    this.#failures.delete(connection.address);
    this.#dropTwins(connection);
    this.#onMembers(welcome);
    this.#options.events.onWelcome(welcome);
    this.#options.events.onConnected(welcome.nodeId, connection.address);
    this.#update(learnLeader(this.#cache, welcome));
    this.#wakeAll();
    return null;
  }

  /** Everything heard so far came from members that a recovery has given up. */
  #enterEpoch(first: Connection, epoch: number): void {
    this.#epoch = epoch;
    this.#cache = NO_LEADER_KNOWN;
    this.#lastLeader = null;
    for (const each of this.#connections) {
      if (each !== first && each.isReady) each.breakOff(this.#epochOld(each, null));
    }
  }

  #epochOld(connection: Connection, found: number | null): HoldfastError {
    return new HoldfastError(
      'CLUSTER_EPOCH_OLD',
      `node ${connection.address} is from before the recovery of the cluster (epoch ` +
        `${this.#epoch} was seen); stop it, wipe it and let it join again`,
      { details: { found, expected: this.#epoch } },
    );
  }

  #onDown(connection: Connection, error: HoldfastError): void {
    this.#failures.set(connection.address, error);
    this.#options.events.onDisconnected(connection.nodeId, connection.address, error);
    if (connection.nodeId !== null) this.#update(forgetLeader(this.#cache, connection.nodeId));
    this.#wakeAll();
  }

  #update(cache: LeaderCache): void {
    const before = this.#cache;
    this.#cache = cache;
    if (isSameLeader(before.leader, cache.leader) && before.term === cache.term) return;
    if (cache.leader !== null) this.#reach(cache.leader);
    if (!isSameLeader(before.leader, cache.leader)) {
      this.#options.events.onLeader(cache.leader, cache.term);
      this.#leaveDeposed(cache);
    }
    this.#wakeAll();
  }

  /** Connects to the leader now, wherever it is. */
  #reach(leader: LeaderHint): void {
    const known = this.#leaderConnection();
    if (known !== null) {
      if (!known.isReady && !this.#isStopped) known.start();
      return;
    }
    this.#learn(leader.address);
  }

  #learn(address: string): void {
    if (address === '' || this.#isStopped || this.#learnt.size >= LEARNT_NODE_COUNT_MAX) return;
    const connection = this.#add(address);
    this.#learnt.add(connection);
    connection.start();
  }

  /**
   * The cluster has other members: connects to those not known yet and lets go of those that left.
   * Nodes that the caller gave stay: they may be wanted for their own sake.
   */
  #onMembers({ nodes, confIndex }: MembersView): void {
    if (!this.#options.followsMembers || confIndex < this.#confIndex) return;
    this.#confIndex = confIndex;
    for (const { nodeId, address } of nodes) {
      const known = this.find(nodeId) ?? this.find(address);
      const hasMoved = known !== null && !known.isReady && known.address !== address;
      if (known === null || (hasMoved && this.find(address) === null)) this.#learn(address);
    }
    const isMember = ({ nodeId, address }: Connection): boolean =>
      nodes.some((node) => node.nodeId === nodeId || node.address === address);
    for (const connection of [...this.#learnt]) if (!isMember(connection)) this.#drop(connection);
  }

  /** A node reached at two addresses is one node: the address that was given stays. */
  #dropTwins(connection: Connection): void {
    for (const other of this.#connections) {
      const isTwin = other !== connection && other.nodeId === connection.nodeId;
      if (!isTwin) continue;
      const extra = [connection, other].find((each) => this.#learnt.has(each));
      // Not from within its own welcome.
      if (extra === other) this.#drop(other);
      else if (extra === connection && other.isReady)
        this.#options.timers.after(0, () => this.#drop(connection));
    }
  }

  #drop(connection: Connection): void {
    if (!this.#learnt.delete(connection)) return;
    this.#connections = this.#connections.filter((each) => each !== connection);
    this.#failures.delete(connection.address);
    connection.stop(
      new HoldfastError('CONNECTION_LOST', `node ${connection.address} is no member any more`),
    );
    this.#failures.delete(connection.address);
  }

  /**
   * A newer term has another leader: what still waits at the old one may wait forever (it may be
   * cut off), so it is asked again. Safe requests are repeated; the others end as indefinite.
   */
  #leaveDeposed({ leader, term }: LeaderCache): void {
    if (leader === null) return;
    const deposed = this.#lastLeader;
    this.#lastLeader = { nodeId: leader.nodeId, term };
    if (deposed === null || deposed.nodeId === leader.nodeId || term <= deposed.term) return;
    this.find(deposed.nodeId)?.failPending(
      new HoldfastError(
        'CONNECTION_LOST',
        `node ${deposed.nodeId} was replaced as leader by ${leader.nodeId}`,
        { details: { term } },
      ),
    );
  }

  #wakeAll(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}

function leaderOf(value: unknown): LeaderHint | null {
  if (typeof value !== 'object' || value === null) return null;
  const { nodeId, address } = value as { readonly nodeId?: unknown; readonly address?: unknown };
  if (typeof nodeId !== 'string' || nodeId === '') return null;
  return { nodeId, address: typeof address === 'string' ? address : '' };
}
