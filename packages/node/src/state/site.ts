/**
 * How this cluster stands to others: part of the replicated state, changed by log entries only. The
 * conditions of a change are checked when it is applied, so it does not matter what a leader knew.
 *
 * Invariants: the position of a standby moves by one entry of the primary at a time, and not at all
 * once a promotion has begun; what was fenced stays so, unless the cluster id says that the state
 * is that of another cluster, from which this one was restored.
 */
import type { ClusterId } from '@holdfast/base';
import { unreachable } from '@holdfast/base';

/** An entry of another cluster. */
export interface SourcePoint {
  readonly clusterId: ClusterId;
  /** Of the archive that it was read from. */
  readonly timeline: string;
  /** 0 before the first. */
  readonly index: number;
  readonly term: number;
  /** Chain sum, 32 hex digits. */
  readonly sum: string;
  /** Log time there. */
  readonly timestampMs: number;
}

/** A promotion that has begun: this cluster takes over with `epoch`, or nobody does by it. */
export interface Takeover {
  readonly epoch: number;
  /** Of this cluster. */
  readonly clusterId: ClusterId;
  /** Where its own log will be archived. */
  readonly timeline: string;
}

/** A promotion that is done. */
export interface Promotion extends Takeover {
  readonly source: SourcePoint;
  /** The own entry that made it so: entries behind it are this cluster's. */
  readonly own: { readonly index: number; readonly term: number; readonly sum: string };
}

export interface Fence {
  /** Of this cluster. */
  readonly clusterId: ClusterId;
  /** Greater than OWN_EPOCH. */
  readonly epoch: number;
  readonly byClusterId: ClusterId;
  readonly byTimeline: string;
  /** The last entry of this cluster that was taken over. */
  readonly index: number;
}

export type Site =
  /** Takes writes. `promotion`: null for a cluster that took over from nobody. */
  | { readonly kind: 'primary'; readonly promotion: Promotion | null }
  /** Follows `source`. `takeover`: it does not move any more. */
  | { readonly kind: 'standby'; readonly source: SourcePoint; readonly takeover: Takeover | null }
  /** Another cluster took over. */
  | { readonly kind: 'fenced'; readonly fence: Fence; readonly promotion: Promotion | null };

export type SiteChange =
  | { readonly kind: 'standBy'; readonly source: SourcePoint }
  /** The primary goes on in another timeline, which continues this one. */
  | { readonly kind: 'retarget'; readonly timeline: string }
  /** Takes effect only where the source stands at `index`. */
  | { readonly kind: 'freeze'; readonly takeover: Takeover; readonly index: number }
  /** Somebody else was first, or the promotion is given up. */
  | { readonly kind: 'thaw'; readonly epoch: number }
  | { readonly kind: 'promote'; readonly epoch: number }
  | { readonly kind: 'fence'; readonly fence: Fence }
  /** What is said of another cluster: `clusterId` is this one's. */
  | { readonly kind: 'forget'; readonly clusterId: ClusterId };

export const PLAIN_SITE: Site = { kind: 'primary', promotion: null };

/** Every cluster's own; numbers in its folder of epochs are greater, and name who took over. */
export const OWN_EPOCH = 1;

/** Where the change is applied. */
export interface SiteEntry {
  readonly index: number;
  readonly term: number;
  /** 32 hex digits. */
  readonly sum: string;
  /** Nothing that a client made is there: no collection, no session. */
  readonly isStateEmpty: boolean;
}

/** What `site` becomes; null when the change does not take effect. */
export function changedSite(site: Site, change: SiteChange, at: SiteEntry): Site | null {
  switch (change.kind) {
    case 'standBy':
      return stoodBy(site, change.source, at);
    case 'retarget': {
      if (site.kind !== 'standby' || site.takeover !== null) return null;
      return { ...site, source: { ...site.source, timeline: change.timeline } };
    }
    case 'freeze': {
      if (site.kind !== 'standby' || site.takeover !== null) return null;
      if (site.source.index !== change.index) return null;
      return { ...site, takeover: change.takeover };
    }
    case 'thaw': {
      if (site.kind !== 'standby' || site.takeover?.epoch !== change.epoch) return null;
      return { ...site, takeover: null };
    }
    case 'promote': {
      if (site.kind !== 'standby' || site.takeover?.epoch !== change.epoch) return null;
      const { index, sum, term } = at;
      const promotion = { ...site.takeover, source: site.source, own: { index, term, sum } };
      return { kind: 'primary', promotion };
    }
    case 'fence': {
      if (site.kind !== 'primary' || change.fence.epoch <= OWN_EPOCH) return null;
      return { kind: 'fenced', fence: change.fence, promotion: site.promotion };
    }
    case 'forget':
      return isOfAnother(site, change.clusterId) ? PLAIN_SITE : null;
    default:
      return unreachable(change);
  }
}

/**
 * An empty cluster begins at the beginning; one that was laid by a restore, at the end of the log
 * that was laid: whatever it was before the restore counts no more.
 */
function stoodBy(site: Site, source: SourcePoint, at: SiteEntry): Site | null {
  const isBeginning = source.index === 0 && site.kind === 'primary' && at.isStateEmpty;
  const isRestored = source.index > 0 && source.index < at.index;
  return isBeginning || isRestored ? { kind: 'standby', source, takeover: null } : null;
}

/** True when what is said of promotions and fences was said of a cluster this one is made from. */
export function isOfAnother(site: Site, clusterId: ClusterId): boolean {
  if (site.kind === 'fenced') return site.fence.clusterId !== clusterId;
  if (site.kind === 'standby') return false;
  return site.promotion !== null && site.promotion.clusterId !== clusterId;
}
