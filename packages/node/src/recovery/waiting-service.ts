/**
 * The service of a node that has no replica yet: it repairs its log, or waits to be admitted. It
 * tells what it waits for, and refuses everything else so that clients go to another node.
 */
import type { Member } from '@holdfast/base';
import { HoldfastError, must } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import type { NodeIdentity } from '@holdfast/storage';
import { WAL_WRITES_FINE } from '@holdfast/storage';
import type { BackupService } from '../backup/backup-api.ts';
import type { CareService } from '../heal/care-api.ts';
import type { LogCheckService } from '../log-check/log-check-api.ts';
import type { TimedFailoverEvent } from '../replica/failover-log.ts';
import { RaftCounters } from '../replica/raft-counters.ts';
import type {
  LeaderChange,
  MemberStatus,
  MembershipState,
  NodeService,
  NodeStatus,
  ReplicaActivity,
  StateDigest,
} from '../service-api.ts';
import type { SiteService } from '../standby/site-api.ts';
import type { CollectionStates } from '../state/collection-state.ts';

export interface WaitingView {
  readonly role: 'repairing';
  readonly membership: MembershipState;
  readonly confIndex: number;
  /** One sentence: what the node does and what it waits for. */
  readonly recovery: string;
  readonly term: number;
  readonly lastIndex: number;
  readonly members: readonly Member[];
  readonly failure: string | null;
}

const IDLE: ReplicaActivity = {
  lanes: [],
  raft: new RaftCounters().counts,
  log: { firstIndex: 0, sizeBytes: 0, pinnedIndex: 0, heldBy: 'checkpoint' },
  checkpoint: {
    ...{ index: 0, failuresInRow: 0, durationMs: 0, sizeBytes: 0 },
    writes: { state: 'closed', errors: WAL_WRITES_FINE.errors, opened: 0 },
  },
  snapshots: { begun: 0, completed: 0, failed: 0, givenUp: 0, outgoing: [], incoming: null },
};

const NO_WAL: NodeStatus['wal'] = {
  ...{ bytesWritten: 0, batches: 0, syncs: 0, lastSyncMs: 0, syncMode: null },
  writes: WAL_WRITES_FINE,
};

export class WaitingService implements NodeService {
  readonly #identity: NodeIdentity;
  readonly #view: () => WaitingView;

  constructor(identity: NodeIdentity, view: () => WaitingView) {
    this.#identity = identity;
    this.#view = view;
  }

  execute(request: Request): Promise<ResultBody> {
    const { role, recovery, term } = this.#view();
    if (request.kind === 'status') {
      const { nodeId } = this.#identity;
      const nothing = { commitIndex: 0, appliedIndex: 0, leader: null };
      return Promise.resolve({ nodeId, role, term, ...nothing });
    }
    const message = `${this.#identity.nodeId} does not serve yet: ${recovery}; use another node`;
    return Promise.reject(new HoldfastError('REPAIRING', message, { details: { role } }));
  }

  status(): NodeStatus {
    const { nodeId, clusterId, incarnation, epoch } = this.#identity;
    const { role, membership, confIndex, recovery, term, lastIndex, failure } = this.#view();
    return {
      ...{ nodeId, clusterId, incarnation, epoch, role, membership, confIndex },
      ...{ term, lastIndex, recovery, failure },
      leader: null,
      commitIndex: 0,
      appliedIndex: 0,
      durableIndex: lastIndex,
      isReady: false,
      collections: 0,
      sessions: 0,
      lanes: [],
      searchCache: null,
      wal: NO_WAL,
      peers: [],
      activity: IDLE,
      clockSkewMs: null,
    };
  }

  members(): readonly MemberStatus[] {
    return this.#view().members.map((member) => ({
      nodeId: member.nodeId,
      incarnation: member.incarnation,
      role: 'voter',
      peerAddress: member.address,
      publicAddress: member.clientAddress,
    }));
  }

  failovers(): readonly TimedFailoverEvent[] {
    return [];
  }

  /** Neither changes while it waits, and nobody listens to it for longer. */
  onMembersChange(_listener: () => void): void {}

  onLeaderChange(_listener: (change: LeaderChange) => void): void {}

  get care(): null {
    return null;
  }

  get backup(): null {
    return null;
  }

  get logCheck(): null {
    return null;
  }

  get standby(): null {
    return null;
  }

  stateDigest(): Promise<StateDigest> {
    return Promise.resolve({ digest: '', appliedIndex: 0, liveRowCount: 0 });
  }

  collectionStates(): Promise<CollectionStates> {
    const message = `${this.#identity.nodeId} does not serve yet; use another node`;
    return Promise.reject(new HoldfastError('REPAIRING', message));
  }
}

/** A service whose owner changes once: first who waits, then the replica. */
export class ServiceSwitch implements NodeService {
  #current: NodeService | null = null;
  readonly #listeners: ((change: LeaderChange) => void)[] = [];
  readonly #memberListeners: (() => void)[] = [];

  /** To be called before the first question, and once more when the replica is there. */
  become(next: NodeService): void {
    this.#current = next;
    next.onLeaderChange((change) => {
      for (const listener of this.#listeners) listener(change);
    });
    next.onMembersChange(() => {
      for (const listener of this.#memberListeners) listener();
    });
  }

  get #service(): NodeService {
    return must(this.#current, 'a node has a service before it is asked');
  }

  execute(...args: Parameters<NodeService['execute']>): Promise<ResultBody> {
    return this.#service.execute(...args);
  }

  status(): NodeStatus {
    return this.#service.status();
  }

  members(): readonly MemberStatus[] {
    return this.#service.members();
  }

  failovers(): readonly TimedFailoverEvent[] {
    return this.#service.failovers();
  }

  onMembersChange(listener: () => void): void {
    this.#memberListeners.push(listener);
  }

  onLeaderChange(listener: (change: LeaderChange) => void): void {
    this.#listeners.push(listener);
  }

  get care(): CareService | null {
    return this.#service.care;
  }

  get backup(): BackupService | null {
    return this.#service.backup;
  }

  get logCheck(): LogCheckService | null {
    return this.#service.logCheck;
  }

  get standby(): SiteService | null {
    return this.#service.standby;
  }

  stateDigest(): Promise<StateDigest> {
    return this.#service.stateDigest();
  }

  collectionStates(): Promise<CollectionStates> {
    return this.#service.collectionStates();
  }
}
