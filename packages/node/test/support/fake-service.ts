/** A NodeService whose answers a test decides. */
import { clusterId, HoldfastError, incarnation, nodeId } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import { WAL_WRITES_FINE } from '@holdfast/storage';
import type {
  ExecuteContext,
  LeaderChange,
  MemberStatus,
  NodeService,
  NodeStatus,
  StateDigest,
} from '../../src/service-api.ts';
import type { CollectionStates } from '../../src/state/collection-state.ts';

type Execute = (request: Request, context: ExecuteContext) => Promise<ResultBody>;

const ID = '0123456789abcdef0123456789abcdef';

const ACTIVITY: NodeStatus['activity'] = {
  lanes: [],
  raft: {
    ...{ elections: 1, preVotes: 2, votesGranted: 3, roleChanges: 4, stepDowns: 5 },
    leaderships: 12,
    ...{ transfersCompleted: 6, transfersFailed: 7, configurationChanges: 8 },
    ...{ logTruncations: 9, diskStalls: 10, messagesRefused: 11 },
  },
  log: { firstIndex: 3, sizeBytes: 1_234, pinnedIndex: 2, heldBy: 'follower' },
  checkpoint: {
    ...{ index: 8, failuresInRow: 1, durationMs: 1_500, sizeBytes: 4_096 },
    writes: {
      ...{ state: 'open', opened: 1 },
      errors: { disk_full: 2, io_error: 1, permission: 0 },
    },
  },
  snapshots: {
    ...{ begun: 4, completed: 1, failed: 2, givenUp: 1, incoming: null },
    outgoing: [
      { peer: nodeId('n2'), snapshotId: 'a', index: 8, heldSizeBytes: 500, sizeBytes: 2_000 },
    ],
  },
};

/** One lane's graphs, every number another. */
const GRAPHS: NodeStatus['lanes'][number]['graphs'] = {
  nodeCount: 21,
  deadNodeCount: 22,
  builds: ['hnswlib f32'],
  rebuildingCount: 1,
  rebuiltForDeadRowsCount: 24,
  rebuiltForRecallCount: 25,
  recallLowest: 0.97,
  savedAgeMs: 26_000,
  savedCount: 27,
  saveFailedCount: 28,
  loadedCount: 29,
  outdatedCount: 30,
  quarantinedCount: 31,
  rebuildingAfterLoadCount: 32,
  events: [],
};

export class FakeService implements NodeService {
  readonly executed: Request[] = [];
  readonly listeners: ((change: LeaderChange) => void)[] = [];
  readonly membersListeners: (() => void)[] = [];
  care: NodeService['care'] = null;
  backup: NodeService['backup'] = null;
  logCheck: NodeService['logCheck'] = null;
  standby: NodeService['standby'] = null;
  execute_: Execute = async () => ({ index: 7, term: 2 }) as ResultBody;
  failovers_: ReturnType<NodeService['failovers']> = [];
  statusPatch: Partial<NodeStatus> = {};
  collectionStates_: CollectionStates = { appliedIndex: 10, collections: [] };

  execute(request: Request, context: ExecuteContext): Promise<ResultBody> {
    this.executed.push(request);
    return this.execute_(request, context);
  }

  status(): NodeStatus {
    return {
      nodeId: nodeId('n1'),
      clusterId: clusterId(ID),
      incarnation: incarnation(ID),
      epoch: 1,
      role: 'leader',
      membership: 'voter',
      confIndex: 3,
      term: 2,
      leader: nodeId('n1'),
      commitIndex: 12,
      appliedIndex: 10,
      lastIndex: 13,
      durableIndex: 13,
      isReady: true,
      collections: 1,
      sessions: 2,
      lanes: [
        {
          liveRowCount: 5,
          tailRowCount: 1,
          graphRowCount: 4,
          deletedRowCount: 2,
          graphs: GRAPHS,
          payloadIndexSizeBytes: 80,
          payloadIndexBacklogCount: 0,
          payloadIndexGivenUpCount: 0,
          layers: null,
        },
      ],
      searchCache: null,
      wal: {
        ...{ bytesWritten: 100, batches: 3, syncs: 3, lastSyncMs: 0.2, syncMode: 'group' },
        writes: WAL_WRITES_FINE,
      },
      peers: [{ nodeId: nodeId('n2'), matchIndex: 11, isRecentlyActive: true, lagEntries: 2 }],
      activity: ACTIVITY,
      clockSkewMs: 12,
      recovery: null,
      failure: null,
      ...this.statusPatch,
    };
  }

  members(): readonly MemberStatus[] {
    return ['n1', 'n2'].map((id, i) => ({
      nodeId: nodeId(id),
      incarnation: incarnation(ID),
      role: 'voter',
      peerAddress: `127.0.0.1:${7201 + i}`,
      publicAddress: `127.0.0.1:${7101 + i}`,
    }));
  }

  failovers(): ReturnType<NodeService['failovers']> {
    return this.failovers_;
  }

  onMembersChange(listener: () => void): void {
    this.membersListeners.push(listener);
  }

  onLeaderChange(listener: (change: LeaderChange) => void): void {
    this.listeners.push(listener);
  }

  async collectionStates(): Promise<CollectionStates> {
    return this.collectionStates_;
  }

  async stateDigest(): Promise<StateDigest> {
    return { digest: 'ab12', appliedIndex: 10, liveRowCount: 6 };
  }
}

/** An execute that waits until the test answers. */
export class HeldRequests {
  readonly #pending: { resolve: (body: ResultBody) => void; reject: (error: unknown) => void }[] =
    [];

  readonly execute: Execute = () =>
    new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject });
    });

  get count(): number {
    return this.#pending.length;
  }

  releaseAll(): void {
    for (const { resolve } of this.#pending.splice(0)) resolve({ index: 7, term: 2 } as ResultBody);
  }

  rejectAll(): void {
    const error = new HoldfastError('LEADERSHIP_LOST', 'deposed');
    for (const { reject } of this.#pending.splice(0)) reject(error);
  }
}
