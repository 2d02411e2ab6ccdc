/**
 * The seam between the replica (which executes) and the server, peer and command line code (which
 * carries bytes). Only types: neither side imports the other's files.
 */
import type { ClusterId, ErrorBody, GroupId, Incarnation, Member, NodeId } from '@holdfast/base';
import type {
  CareMessage,
  MemberRole,
  PeerIdentity,
  Request,
  ResultBody,
} from '@holdfast/protocol';
import type { RaftMessage, Role } from '@holdfast/raft';
import type { GraphStats, LaneHealth, LayerCounts } from '@holdfast/shard-worker';
import type { WalSyncMode, WalWrites } from '@holdfast/storage';
import type { BackupService } from './backup/backup-api.ts';
import type { CareService } from './heal/care-api.ts';
import type { LogCheckService } from './log-check/log-check-api.ts';
import type { CheckpointWrites } from './replica/checkpoint-schedule.ts';
import type { TimedFailoverEvent } from './replica/failover-log.ts';
import type { ResultCacheCounts } from './routing/result-cache.ts';
import type { SiteService } from './standby/site-api.ts';
import type { CollectionStates } from './state/collection-state.ts';

export type { Role } from '@holdfast/raft';

export interface ExecuteContext {
  /** Monotonic milliseconds of the node's clock: after it the answer interests nobody. */
  readonly deadlineMs: number;
}

export interface LeaderChange {
  readonly leader: NodeId | null;
  readonly term: number;
  /** Role of this node after the change. */
  readonly role: Role;
}

export interface StateDigest {
  /** Lower-case hex; equal on every replica at equal `appliedIndex`. */
  readonly digest: string;
  readonly appliedIndex: number;
  /** Live points of this replica at `appliedIndex`, of hidden collections too. */
  readonly liveRowCount: number;
}

/** Implemented by the replica, called by the server. */
export interface NodeService {
  /**
   * Executes one validated request. Rejects with HoldfastError; anything else is a bug and is
   * answered INTERNAL. Never called after stop.
   */
  execute(request: Request, context: ExecuteContext): Promise<ResultBody>;
  /** Synchronous snapshot for /health, /metrics and /api/v1/cluster/status. */
  status(): NodeStatus;
  /** Of the configuration in force here. */
  members(): readonly MemberStatus[];
  /** The listener is called when other members, or other addresses, are in force; never removed. */
  onMembersChange(listener: () => void): void;
  /** The listener is called after every change of leader, term or role; never removed. */
  onLeaderChange(listener: (change: LeaderChange) => void): void;
  stateDigest(): Promise<StateDigest>;
  /** As this node has applied them. */
  collectionStates(): Promise<CollectionStates>;
  /** The newest steps of failovers that this node saw, oldest first. */
  failovers(): readonly TimedFailoverEvent[];
  /** What the node does about its disk; null before it has a replica. */
  readonly care: CareService | null;
  /** Null before the replica is there, and where no store for backups is set. */
  readonly backup: BackupService | null;
  /** Null before the replica is there. */
  readonly logCheck: LogCheckService | null;
  /** Standby, promotion, fencing; null as `backup` is. */
  readonly standby: SiteService | null;
}

export interface LaneStatus {
  readonly liveRowCount: number;
  readonly tailRowCount: number;
  readonly graphRowCount: number;
  readonly deletedRowCount: number;
  readonly graphs: GraphStats;
  readonly payloadIndexSizeBytes: number;
  readonly payloadIndexBacklogCount: number;
  readonly payloadIndexGivenUpCount: number;
  /** Null for a lane without deadlines. */
  readonly layers: LayerCounts | null;
}

export interface WalStatus {
  readonly bytesWritten: number;
  readonly batches: number;
  readonly syncs: number;
  readonly lastSyncMs: number;
  /** Null while the node waits for its log: it acknowledges nothing. */
  readonly syncMode: WalSyncMode | null;
  /** How the disk takes what is written. */
  readonly writes: WalWrites;
}

/** How the leader sees one other replica. */
export interface PeerProgress {
  readonly nodeId: NodeId;
  readonly matchIndex: number;
  readonly isRecentlyActive: boolean;
  readonly lagEntries: number;
}

/** Since the node started. */
export interface RaftCounts {
  readonly elections: number;
  readonly preVotes: number;
  readonly votesGranted: number;
  readonly roleChanges: number;
  readonly stepDowns: number;
  /** Leaderships that began here. */
  readonly leaderships: number;
  readonly transfersCompleted: number;
  readonly transfersFailed: number;
  readonly configurationChanges: number;
  readonly logTruncations: number;
  readonly diskStalls: number;
  readonly messagesRefused: number;
}

/** A snapshot under way, either way. */
export interface SnapshotProgress {
  readonly peer: NodeId;
  readonly snapshotId: string;
  readonly index: number;
  /** What the receiver has, counting what it had before. */
  readonly heldSizeBytes: number;
  readonly sizeBytes: number;
}

/** What the replica is busy with and has done, for pages and metrics. */
export interface ReplicaActivity {
  readonly raft: RaftCounts;
  /** The threads that hold the rows; empty without threads. */
  readonly lanes: readonly LaneHealth[];
  readonly log: {
    readonly firstIndex: number;
    readonly sizeBytes: number;
    /** Kept from here on for a snapshot that is being sent; 0 while none is. */
    readonly pinnedIndex: number;
    /** What kept it from being cut further after the newest checkpoint. */
    readonly heldBy: 'checkpoint' | 'retention' | 'follower' | 'transfer' | 'archive';
  };
  readonly checkpoint: {
    readonly index: number;
    readonly failuresInRow: number;
    /** How the disk takes them. */
    readonly writes: CheckpointWrites;
    /** Of the newest that this process made; 0 before it. */
    readonly durationMs: number;
    readonly sizeBytes: number;
  };
  readonly snapshots: {
    readonly begun: number;
    readonly completed: number;
    readonly failed: number;
    readonly givenUp: number;
    readonly outgoing: readonly SnapshotProgress[];
    readonly incoming: SnapshotProgress | null;
  };
}

/** What a node is: a member with a role, or one that has no replica yet. */
export type NodeRole = Role | 'repairing';

/**
 * How a node stands to its cluster. `joining`: it waits to be added; `leaving`: a change that takes
 * it or its vote away is under way; `removed`: it may be stopped.
 */
export type MembershipState = 'voter' | 'learner' | 'leaving' | 'joining' | 'removed';

export interface NodeStatus {
  readonly nodeId: NodeId;
  readonly clusterId: ClusterId;
  readonly incarnation: Incarnation;
  /** See NodeIdentity. */
  readonly epoch: number;
  readonly role: NodeRole;
  readonly membership: MembershipState;
  /** Log index of the configuration in force here. */
  readonly confIndex: number;
  readonly term: number;
  readonly leader: NodeId | null;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly durableIndex: number;
  /** A leader is known and this node can serve reads and writes or redirect them. */
  readonly isReady: boolean;
  readonly collections: number;
  readonly sessions: number;
  readonly lanes: readonly LaneStatus[];
  /** Null while there is no replica. */
  readonly searchCache: ResultCacheCounts | null;
  readonly wal: WalStatus;
  /** Filled on the leader only. */
  readonly peers: readonly PeerProgress[];
  readonly activity: ReplicaActivity;
  /** Our wall clock minus the median of the voters; null while too few are known to judge. */
  readonly clockSkewMs: number | null;
  /** What the node does instead of serving, in one sentence; null when it has a replica. */
  readonly recovery: string | null;
  /** Why the node stopped working, in one sentence; null while it works. */
  readonly failure: string | null;
}

export interface MemberStatus {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly role: MemberRole;
  /** Peer address, host:port. */
  readonly peerAddress: string;
  /** Public address, host:port; null until learnt from the member itself. */
  readonly publicAddress: string | null;
}

export type PeerState = 'connected' | 'disconnected';

/** One file of a checkpoint, read in order by the transport while it sends. */
export interface OutgoingSnapshotFile {
  /** Relative, forward slashes, no part starts with a dot; the receiver decides where it goes. */
  readonly path: string;
  readonly sizeBytes: number;
  /**
   * Checksum of the whole file as the sender recorded it, 1 to 64 ASCII characters; opaque here.
   */
  readonly checksum: string;
  /**
   * Bytes of [offset, offset + length), verified by whoever reads them. The transport asks in
   * order, and not for what the receiver has already. May take its time: the transfer goes at this
   * pace. The buffer may be reused after the promise of the next call.
   */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
}

export interface OutgoingSnapshot {
  readonly group: GroupId;
  /** Names the checkpoint (SnapshotMeta.id); for logs only. */
  readonly id: string;
  /** Encoded by the caller (SnapshotMeta and what else it needs): opaque, at most 4 MiB. */
  readonly meta: Uint8Array;
  readonly files: readonly OutgoingSnapshotFile[];
  /** Called when the receiver told how much of all files it has, counting what it had before. */
  onProgress?(heldSizeBytes: number): void;
  /** Called when the transfer ended, either way: release the files. */
  release?(): void;
}

export interface IncomingSnapshotFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly checksum: string;
}

export interface IncomingSnapshot {
  readonly group: GroupId;
  readonly from: NodeId;
  readonly meta: Uint8Array;
  readonly files: readonly IncomingSnapshotFile[];
}

/** One transfer on the receiving side. Calls come strictly one after the other. */
export interface SnapshotSink {
  /** Bytes of each file, from its start, that need not be sent. Absent: all must be. */
  readonly heldSizesBytes?: readonly number[];
  /**
   * Chunks come in file order, then in offset order, without gaps behind what is held; each passed
   * its checksum.
   */
  write(fileIndex: number, offset: number, bytes: Uint8Array): void | Promise<void>;
  /** All bytes are here: verify every file's checksum, fsync. Resolved = acknowledged. */
  finish(): void | Promise<void>;
  /**
   * The transfer broke before finish resolved. What is here may be kept for the next attempt.
   * Called at most once.
   */
  abort(reason: string): void | Promise<void>;
}

export interface SnapshotReceiver {
  /** Rejects to refuse the transfer (the sender sees the HoldfastError). */
  begin(snapshot: IncomingSnapshot): SnapshotSink | Promise<SnapshotSink>;
}

/** A node of this cluster that is connected and not in the configuration. */
export interface Guest extends Member {
  /** It was never a member and waits to be added. */
  readonly isJoining: boolean;
}

/** One life of a node, and the group that a message of care is about. */
export interface CareAddress {
  readonly group: GroupId;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
}

/** `from` is the authenticated sender; shapes and limits of the message were checked. */
export type CareListener = (from: CareAddress, message: CareMessage) => void;

/** What a node says of itself to whoever knows the cluster secret. */
export interface InquiryAnswer {
  readonly identity: PeerIdentity;
  /** Of the configuration it holds; empty when it joins itself. */
  readonly members: readonly Member[];
}

export interface PeerTransportStats {
  readonly connectedPeerCount: number;
  readonly guestCount: number;
  readonly messagesSent: number;
  /** Each holds what one turn had for one peer. */
  readonly framesSent: number;
  readonly messagesReceived: number;
  /** Not connected, or the bounded queue of the peer was full. */
  readonly messagesDropped: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly framesCorrupt: number;
  readonly messagesMalformed: number;
  readonly handshakesRefused: number;
  readonly snapshotsSent: number;
  readonly snapshotsReceived: number;
  readonly snapshotsFailed: number;
}

/**
 * Implemented over WebSocket in peer/, in memory by the simulator. Used by the replica's driver.
 */
export interface PeerTransport {
  /** Resolves when the peer port listens. @throws HoldfastError ADDRESS_IN_USE, BIND_REFUSED */
  start(): Promise<void>;
  /**
   * Queues to each receiver's connection. Messages are dropped (and counted) when the peer is not
   * connected or its bounded queue is full: Raft tolerates loss. Messages of one turn share frames.
   * Not mutated afterwards by either side.
   */
  send(messages: readonly RaftMessage[]): void;
  /** Decoded messages; `from` is the authenticated sender, never what the bytes say. */
  onMessages(listener: (messages: readonly RaftMessage[]) => void): void;
  /**
   * Sends one message about damage and digests (protocol/peer-care.ts). False: it was dropped,
   * because there is no connection to that life of the node or others wait there; ask again later.
   */
  sendCare(to: CareAddress, message: CareMessage): boolean;
  /** Set once. Messages that are not for this life of the node never come here. */
  onCare(listener: CareListener): void;
  /** State of our outgoing control connection to `peer`. */
  onPeerState(listener: (peer: NodeId, state: PeerState) => void): void;
  /**
   * Streams a checkpoint over the bulk connection. Resolves when the receiver's `finish` resolved
   * (verified and fsynced there). Rejects with HoldfastError; one transfer per peer at a time.
   */
  sendSnapshot(to: NodeId, snapshot: OutgoingSnapshot): Promise<void>;
  /** Set once, before start. Without it incoming snapshots are refused. */
  onSnapshot(receiver: SnapshotReceiver): void;
  /**
   * Who belongs to the group from now on, this node perhaps among them. Links to newcomers are
   * opened, those to dropped members linger for some seconds. `confIndex` is the log index that
   * made it so. `isJoining`: this node still waits to be one of them; by default while nobody is.
   */
  setMembers(members: readonly Member[], confIndex: number, isJoining?: boolean): void;
  /**
   * Members of a cluster that this node waits to join: it keeps a link to each, and each has it as
   * a guest. Forgotten when `setMembers` says that it waits no more.
   */
  setContacts(members: readonly Member[]): void;
  /** Connected nodes that are no members. */
  guests(): readonly Guest[];
  /**
   * Asks whoever listens at `address` (host:port) who it is.
   * @throws HoldfastError PEER_UNAUTHENTICATED, PEER_PROTOCOL, CONNECTION_LOST
   */
  inquire(address: string): Promise<InquiryAnswer>;
  /** Wall clock of other nodes minus ours, of those heard from lately; good to network delays. */
  clockOffsetsMs(): ReadonlyMap<NodeId, number>;
  /** Learnt in the peer handshake; null until then. */
  publicAddressOf(peer: NodeId): string | null;
  stats(): PeerTransportStats;
  stop(): Promise<void>;
}

/** What compose's startNode returns to the command line and to embedders. */
export interface RunningNode {
  readonly addresses: { readonly public: string; readonly peer: string };
  /** How the node stands to its cluster now. */
  membership(): MembershipState;
  /** Called at most once, when the node fail-stopped; the process should exit with a code not 0. */
  onFailure(listener: (failure: ErrorBody) => void): void;
  /** After a failure, before the process exits: threads come out of native code (end-lanes.ts). */
  endThreads(): Promise<void>;
  /** Graceful, in order; resolves when everything is closed. Safe to call twice. */
  stop(): Promise<void>;
}
