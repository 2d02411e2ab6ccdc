/** Standbys, promotion and fencing as routes, commands and metrics see them. */
import type { ErrorBody } from '@holdfast/base';
import type { PointId } from '@holdfast/shard-worker';
import type { Site } from '../state/site.ts';
import type { FollowerStatus } from './archive-follower.ts';
import type { Promoted } from './promotion.ts';

export interface SiteLimits {
  /** How often a standby looks for more. */
  readonly followIntervalMs: number;
  /** An alarm above it. */
  readonly lagMsMax: number;
  readonly fenceLookIntervalMs: number;
  readonly fenceAgeMaxMs: number;
  /** A primary takes writes only while it can read the deciding store. */
  readonly isSinkRequired: boolean;
  /** For so long nothing may be archived by the old primary before a promotion without force. */
  readonly quietMs: number;
}

export const SITE_LIMITS_DEFAULT: SiteLimits = {
  followIntervalMs: 200,
  lagMsMax: 10_000,
  fenceLookIntervalMs: 5_000,
  fenceAgeMaxMs: 30_000,
  isSinkRequired: false,
  // More than ten times the age at which a chunk is put.
  quietMs: 3_000,
};

export interface SiteStatus {
  readonly clusterId: string;
  readonly isLeading: boolean;
  readonly site: Site;
  /** The index that the content is of: on a standby the primary's. */
  readonly contentIndex: number;
  /** Of a standby. */
  readonly follower: FollowerStatus & {
    readonly lagMsMax: number;
    readonly isLagExceeded: boolean;
  };
  readonly fenceWatch: {
    /** Null: this node has not looked while it led. */
    readonly lookAgeMs: number | null;
    readonly isSinkRequired: boolean;
    /** False: writes are refused until a look succeeds. */
    readonly isFresh: boolean;
    readonly failureCount: number;
    readonly lastError: ErrorBody | null;
  };
  readonly isPromoting: boolean;
  readonly lastPromotionError: ErrorBody | null;
}

/** A command of a client that this cluster has and who took over does not. */
export interface Difference {
  readonly index: number;
  readonly term: number;
  /** When the leader proposed it. */
  readonly timestampMs: number;
  readonly kind: string;
  /** Its name; `#uid` where nobody knows that any more. */
  readonly collection: string;
  readonly pointCount: number;
  /** The first of them. */
  readonly ids: readonly PointId[];
  /** False: it stands in the log, and may never have been acknowledged. */
  readonly isCommitted: boolean;
}

export interface DifferenceReport {
  readonly clusterId: string;
  readonly byClusterId: string;
  readonly epoch: number;
  /** The last entry that was taken over. */
  readonly cutIndex: number;
  /** The last one that was looked at. */
  readonly throughIndex: number;
  readonly differences: readonly Difference[];
  /** There are more than were asked for. */
  readonly isCut: boolean;
}

export interface PromoteWishes {
  /** Also when the old primary seems to live, or following has stopped. */
  readonly isForced: boolean;
}

export interface SiteService {
  status(): SiteStatus;
  /** Digest of the content alone, and the index it is of. */
  contentDigest(): Promise<{ readonly digest: string; readonly contentIndex: number }>;
  /** Of an empty cluster. @throws HoldfastError REQUEST_INVALID, NOT_LEADER, SINK_* */
  begin(clusterId: string): Promise<void>;
  /** @throws HoldfastError PROMOTION_REFUSED, NOT_LEADER, SINK_*, ... */
  promote(wishes: PromoteWishes): Promise<Promoted>;
  /** @throws HoldfastError REQUEST_INVALID when nobody took over, SINK_*, BACKUP_CORRUPT */
  differences(countMax: number): Promise<DifferenceReport>;
}
