/**
 * A simulated run as data: everything that chance decides before the run begins. Two runs of one
 * plan are equal byte for byte, and a plan with parts taken out is still a plan: that is what
 * shrinking rests on. Chance that is drawn during the run (latencies, what a power cut keeps) comes
 * from streams named after their owner, so taking out one fault leaves the others as they were.
 */
import type { StoreMood, Weather } from '@holdfast/node/testing';

/** A node by position, or by the role it has when the fault strikes. */
export type NodePick = number | 'leader' | 'follower';

/** What of the un-synced a power cut leaves. */
export type Keep = 'none' | 'random' | 'all';

export type Fault =
  /** kill -9; the page cache stays. */
  | { readonly kind: 'kill'; readonly node: NodePick; readonly downMs: number }
  | { readonly kind: 'killAll'; readonly downMs: number }
  | {
      readonly kind: 'powerCut';
      readonly node: NodePick;
      readonly downMs: number;
      readonly keep: Keep;
      readonly salt: number;
    }
  | {
      readonly kind: 'powerCutAll';
      readonly downMs: number;
      readonly keep: Keep;
      readonly salt: number;
    }
  /** The power goes at the n-th file operation from now, or of those of the log. */
  | {
      readonly kind: 'powerCutAtDiskOperation';
      readonly node: NodePick;
      readonly at: 'any' | 'logWrite' | 'logSync';
      readonly operationCount: number;
      readonly downMs: number;
      readonly salt: number;
    }
  /**
   * kill -9 at the n-th sync of the log, when its bytes are written and not durable; a while after
   * the start the power goes, and with it what was never synced.
   */
  | {
      readonly kind: 'killAtLogSync';
      readonly node: NodePick;
      readonly syncCount: number;
      readonly downMs: number;
      readonly powerCutAfterMs: number;
      readonly salt: number;
    }
  /** SIGTERM: the node hands over, closes its log and ends. */
  | { readonly kind: 'shutDown'; readonly node: NodePick; readonly downMs: number }
  /** A power cut, and another one at the n-th file operation of the start after it. */
  | {
      readonly kind: 'powerCutDuringStart';
      readonly node: NodePick;
      readonly operationCount: number;
      readonly downMs: number;
      readonly salt: number;
    }
  /** Whoever sends or receives the next snapshot dies after some chunks of it. */
  | {
      readonly kind: 'killDuringSnapshot';
      readonly end: 'sender' | 'receiver';
      readonly chunkCount: number;
      readonly downMs: number;
    }
  /** The next write or sync fails once; a failed sync stops the node, which may start again. */
  | {
      readonly kind: 'diskError';
      readonly node: NodePick;
      readonly operation: 'write' | 'sync';
      readonly skipCount: number;
      readonly downMs: number;
    }
  | { readonly kind: 'diskFull'; readonly node: NodePick; readonly forMs: number }
  | { readonly kind: 'diskStall'; readonly node: NodePick; readonly forMs: number }
  | { readonly kind: 'isolate'; readonly node: NodePick; readonly forMs: number }
  /** One direction; `to` counts on from `from`. */
  | {
      readonly kind: 'cutOneWay';
      readonly from: NodePick;
      readonly toOffset: number;
      readonly forMs: number;
    }
  /** Bit i of `side` says where node i is. */
  | { readonly kind: 'partition'; readonly side: number; readonly forMs: number }
  | { readonly kind: 'loss'; readonly rate: number; readonly forMs: number }
  | { readonly kind: 'duplication'; readonly rate: number; readonly forMs: number }
  | { readonly kind: 'reordering'; readonly rate: number; readonly forMs: number }
  | { readonly kind: 'slowNetwork'; readonly delayMsMax: number; readonly forMs: number }
  /** SIGSTOP, later SIGCONT. */
  | { readonly kind: 'pause'; readonly node: NodePick; readonly forMs: number }
  | { readonly kind: 'wallClockJump'; readonly node: NodePick; readonly deltaMs: number }
  /** Connections of clients break; they may connect again at once. */
  | { readonly kind: 'clientReset'; readonly node: NodePick }
  | { readonly kind: 'clientCut'; readonly node: NodePick; readonly forMs: number }
  | { readonly kind: 'checkpoint'; readonly node: NodePick }
  /** The leader is asked to hand over, to this node or to whom it likes. */
  | { readonly kind: 'transfer'; readonly to: number | null }
  /** The operator takes a vote away, and gives it back when it looks the next time. */
  | { readonly kind: 'demoteMember'; readonly node: NodePick }
  /** The operator takes a node out, and back in when it looks the next time. */
  | { readonly kind: 'removeMember'; readonly node: NodePick }
  /** One loses its vote, and in one step gets it back in the place of another: a joint change. */
  | { readonly kind: 'swapMembers'; readonly node: NodePick; readonly otherOffset: number }
  /** Something happens to the leader in the very step in which its configuration is open. */
  | {
      readonly kind: 'confTrap';
      readonly when: 'uncommitted' | 'joint';
      readonly action: 'kill' | 'powerCut' | 'isolate' | 'checkpoint';
      readonly forMs: number;
      readonly salt: number;
    }
  /** The machine loses its disk, and comes back as another incarnation that has to join. */
  | { readonly kind: 'wipe'; readonly node: NodePick; readonly downMs: number }
  | { readonly kind: 'setLeases'; readonly isEnabled: boolean }
  /**
   * Bits of the log flip while its node is down, anywhere or one near its end. The node is cut off
   * for a while before, so that its end may be one that nobody else has.
   */
  | {
      readonly kind: 'rotLog';
      readonly node: NodePick;
      readonly isolatedMs: number;
      readonly flipCount: number;
      readonly isNearEnd: boolean;
      readonly downMs: number;
      readonly salt: number;
    }
  | StorageFault;

/** Files of a data directory that rot and hands may reach. */
export type DamagedFile =
  | 'segment'
  | 'growing'
  | 'manifest'
  | 'meta'
  | 'root'
  | 'previousRoot'
  | 'identity'
  | 'identityCopy'
  | 'epoch'
  | 'hardState'
  | 'wal';

/** `swap`: two pieces change places. `stale`: what it was once, or what another of its kind is. */
export type Damage = 'flip' | 'truncate' | 'zeroPage' | 'swap' | 'stale' | 'delete';

export type StorageFault =
  /** One file of a node changes behind its back, while it runs or while it is down. */
  | {
      readonly kind: 'damageFile';
      readonly node: NodePick;
      readonly file: DamagedFile;
      readonly damage: Damage;
      /** Null: it runs on. */
      readonly downMs: number | null;
      readonly salt: number;
    }
  /** What the lanes of a node hold differs from what the others hold; see SimNode. */
  | { readonly kind: 'diverge'; readonly node: NodePick }
  /** The engine of one lane is gone, or answers no more. */
  | {
      readonly kind: 'loseLane';
      readonly node: NodePick;
      readonly lane: number;
      readonly loss: 'dies' | 'hangs';
    }
  /** The disk refuses to write files of the log or of checkpoints, and later no more. */
  | {
      readonly kind: 'diskRefusal';
      readonly node: NodePick;
      readonly of: 'log' | 'checkpoint';
      readonly code: 'ENOSPC' | 'EDQUOT' | 'EIO';
      readonly forMs: number;
    };

export type FaultKind = Fault['kind'];

export type BackupAction =
  /** By hand; what comes of it is seen in the store. */
  | { readonly kind: 'backUp'; readonly type: 'full' | 'incremental'; readonly node: NodePick }
  /** By the leader. */
  | { readonly kind: 'prune' }
  /** The rows are noted, to be compared with what a restore makes of this moment. */
  | { readonly kind: 'note' }
  | { readonly kind: 'mood'; readonly mood: StoreMood; readonly forMs: number };

export interface TimedBackupAction {
  /** Virtual ms after the faults begin. */
  readonly atMs: number;
  readonly action: BackupAction;
}

/** The store of a run, and what happens to it. */
export interface BackupPlan {
  /** Of each way to the store and back. */
  readonly delayMsMax: number;
  readonly chunkSizeBytesMax: number;
  readonly chunkAgeMsMax: number;
  /** Log that waits for the archive. */
  readonly holdSizeBytesMax: number;
  readonly keepLast: number;
  readonly logRetentionMs: number;
  readonly salt: number;
  /** In order of time. */
  readonly actions: readonly TimedBackupAction[];
}

/** Faults of one node alone. */
export type NodeFault = Extract<
  Fault,
  {
    kind:
      | 'kill'
      | 'powerCut'
      | 'powerCutAtDiskOperation'
      | 'powerCutDuringStart'
      | 'killAtLogSync'
      | 'shutDown'
      | 'rotLog'
      | 'diskError'
      | 'diskFull'
      | 'diskStall'
      | 'pause'
      | 'wallClockJump'
      | 'checkpoint'
      | 'wipe'
      | 'clientReset'
      | 'clientCut'
      | StorageFault['kind'];
  }
>;

export interface TimedFault {
  /** Virtual ms after the faults begin. */
  readonly atMs: number;
  readonly fault: Fault;
}

export interface SimPlan {
  readonly seed: number;
  readonly nodeCount: number;
  readonly clientCount: number;
  readonly keyCount: number;
  /** How long faults and load go on, virtual ms. */
  readonly durationMs: number;
  /** Between two operations of a client. */
  readonly thinkMsMax: number;
  readonly laneCounts: readonly number[];
  readonly driftPpm: readonly number[];
  readonly weather: Weather;
  readonly diskMsMax: number;
  readonly laneMsMax: number;
  readonly clientMsMax: number;
  readonly checkpointIntervalMs: number;
  readonly retainedEntryCount: number;
  readonly sessionIdleTimeoutMs: number;
  /** Of dropped collections; 0: they are gone at once. */
  readonly dropRetentionMs: number;
  readonly walFileSizeBytes: number;
  /** Entries kept in memory; what a peer misses beyond them is read from the files. */
  readonly logCacheSizeBytes: number;
  /** Of snapshots and of the log kept for others, as the settings of these names. */
  readonly limits: {
    readonly followerLogHoldSizeBytesMax: number;
    readonly snapshotTransferBytesPerSecMax: number;
    readonly snapshotLogHoldSizeBytesMax: number;
    /** Of the growing part of a shard: few, so that short runs seal and merge segments. */
    readonly sealRowCount: number;
  };
  /** How the nodes look after their disks. */
  readonly care: {
    /** 0: files are looked at when they are read, and at the end of the run. */
    readonly scrubIntervalMs: number;
    /** 0: the replicas never compare their digests, and none diverges. */
    readonly digestVerifyIntervalMs: number;
    /** After a refused write of the log, until the next try. */
    readonly writeBreakerTimeoutMs: number;
  };
  /** Checkpoints kept on disk. */
  readonly checkpointGenerationCount: number;
  readonly snapshotChunkSizeBytes: number;
  /** How often the operator looks whether every node has its vote. */
  readonly operatorIntervalMs: number;
  readonly startsWithLeases: boolean;
  /** Null: there is no store. */
  readonly backup: BackupPlan | null;
  /** In order of time. */
  readonly faults: readonly TimedFault[];
}

/** One line for people: `12,345 ms kill leader down 700 ms`. */
export function describeFault({ atMs, fault }: TimedFault): string {
  const { kind, ...rest } = fault;
  const parts = Object.entries(rest).map(([name, value]) => `${name}=${value}`);
  return `${atMs} ms: ${kind} ${parts.join(' ')}`;
}
