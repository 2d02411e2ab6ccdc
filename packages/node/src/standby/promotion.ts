/**
 * How a standby takes over, in steps that each can be found again by a next leader:
 *   freeze    in the log: what is taken over does not move any more
 *   epoch     in the deciding store, only if absent: the one place where a race has a winner
 *   timeline  in the stores: where the own log goes on
 *   promote   in the log: from here on writes are taken
 * Between epoch and promote it waits until an old primary that requires the store takes no more.
 */
import type { Clock, ClusterId, HoldfastError, Logger } from '@holdfast/base';
import { HoldfastError as HoldfastFailure, logIndex, term, toHoldfastError } from '@holdfast/base';
import type { SiteEpoch } from '@holdfast/storage';
import { fromHex } from '@holdfast/storage';
import type { BackupSink } from '../backup/sinks/sink.ts';
import type { Site, SiteChange, SourcePoint, Takeover } from '../state/site.ts';
import { OWN_EPOCH } from '../state/site.ts';
import { PROPOSE_TIMEOUT_MS, type SiteReplica } from './site-replica.ts';
import type { SiteStores } from './site-stores.ts';

export interface PromotionParts {
  readonly clusterId: ClusterId;
  readonly replica: SiteReplica;
  readonly stores: SiteStores;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long an old primary may go on after the epoch is in the store; 0: nobody waits for it. */
  readonly primaryAgeMaxMs: number;
  /** 32 hex digits, never the same twice. */
  readonly mintHexId: () => string;
  /** Rejects when the node stops, or leads no more. */
  readonly wait: (durationMs: number, signal: AbortSignal) => Promise<void>;
}

export interface Promoted {
  readonly epoch: number;
  /** The last entry of the old primary that was taken over, and its log time. */
  readonly index: number;
  readonly timestampMs: number;
  readonly fromClusterId: ClusterId;
  readonly timeline: string;
}

/** Both clocks may run wrong by one in a hundred, one fast and one slow. */
const CLOCK_RATE_MARGIN = 1.03;

type Standby = Extract<Site, { kind: 'standby' }>;

/** The position stays where it is from here on. @throws HoldfastError PROMOTION_REFUSED, SINK_* */
export async function freeze(parts: PromotionParts, signal: AbortSignal): Promise<void> {
  const { clusterId, mintHexId, replica, stores } = parts;
  const { source } = standbyOf(replica.site());
  const newest = await stores.newestEpoch(stores.deciding, source.clusterId, OWN_EPOCH, signal);
  if (newest !== null) throw superseded(newest);
  const takeover: Takeover = {
    ...{ epoch: OWN_EPOCH + 1, clusterId },
    timeline: `p-${mintHexId()}`,
  };
  const { index } = standbyOf(replica.site()).source;
  await change(parts, { kind: 'freeze', takeover, index });
  if (takeoverOf(replica.site())?.timeline === takeover.timeline) return;
  throw refusal('the standby moved, or another promotion began, in the same moment: try again');
}

/**
 * Carries a takeover that was begun to its end; also by a leader that did not begin it.
 * @throws HoldfastError PROMOTION_REFUSED when another cluster was first (this one is a standby
 *   again), SINK_*, NOT_LEADER, ...: it is still begun, and is carried on
 */
export async function completeTakeover(
  parts: PromotionParts,
  signal: AbortSignal,
): Promise<Promoted> {
  const { clusterId, clock, logger, replica, stores } = parts;
  const { source, takeover } = standbyOf(replica.site());
  if (takeover === null) throw refusal('no promotion was begun');
  const epoch = epochFor(parts, source, takeover);
  const won = await claim(stores, stores.deciding, epoch, signal);
  if (won.byClusterId !== clusterId || won.byTimeline !== takeover.timeline) {
    await change(parts, { kind: 'thaw', epoch: takeover.epoch });
    throw superseded(won);
  }
  const claimedMs = clock.monotonicMs();
  await beginTimeline(parts, stores.deciding, source, takeover, signal);
  for (const sink of stores.others) await copyTo(parts, sink, epoch, source, takeover, signal);
  const waitMs = parts.primaryAgeMaxMs * CLOCK_RATE_MARGIN - (clock.monotonicMs() - claimedMs);
  if (waitMs > 0) {
    logger.info({ waitMs }, 'the promotion waits until the old primary takes no more writes');
    await parts.wait(waitMs, signal);
  }
  await change(parts, { kind: 'promote', epoch: takeover.epoch });
  const site = replica.site();
  if (site.kind !== 'primary') throw refusal('the promotion did not take effect: try again');
  const { index, timestampMs } = source;
  const promoted = { epoch: takeover.epoch, index, timestampMs, timeline: takeover.timeline };
  logger.info({ promoted }, 'this cluster has taken over');
  return { ...promoted, fromClusterId: source.clusterId };
}

function epochFor(
  { clock, clusterId }: PromotionParts,
  source: SourcePoint,
  takeover: Takeover,
): SiteEpoch {
  return {
    ...{ clusterId: source.clusterId, timeline: source.timeline, epoch: takeover.epoch },
    ...{ byClusterId: clusterId, byTimeline: takeover.timeline },
    ...{ index: logIndex(source.index), term: term(source.term), sum: fromHex(source.sum) },
    ...{ timestampMs: source.timestampMs, createdMs: clock.wallMs() },
  };
}

/** What stands there in the end, ours or not. An unknown outcome is met as a lost race. */
async function claim(
  stores: SiteStores,
  sink: BackupSink,
  epoch: SiteEpoch,
  signal: AbortSignal,
): Promise<SiteEpoch> {
  if ((await stores.putEpoch(sink, epoch, signal)) === 'stored') return epoch;
  const found = await stores.readEpoch(sink, epoch.clusterId, epoch.epoch, signal);
  if (found !== null) return found;
  throw new HoldfastFailure('SINK_UNAVAILABLE', `${sink.name}: the epoch was there and is gone`);
}

async function copyTo(
  parts: PromotionParts,
  sink: BackupSink,
  epoch: SiteEpoch,
  source: SourcePoint,
  takeover: Takeover,
  signal: AbortSignal,
): Promise<void> {
  const { logger, stores } = parts;
  try {
    const found = await claim(stores, sink, epoch, signal);
    if (found.byTimeline !== takeover.timeline) throw superseded(found);
    await beginTimeline(parts, sink, source, takeover, signal);
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const { code, message } = toHoldfastError(thrown);
    logger.error({ sink: sink.name, code }, `the store has no copy of the takeover: ${message}`);
  }
}

async function beginTimeline(
  { clock, clusterId, stores }: PromotionParts,
  sink: BackupSink,
  source: SourcePoint,
  { timeline }: Takeover,
  signal: AbortSignal,
): Promise<void> {
  const parent = parentOf(source);
  const createdMs = clock.wallMs();
  await stores
    .archiveIn(sink, clusterId, timeline, signal)
    .beginTimeline({ clusterId, timeline, parent, createdMs });
}

/** Where the own timeline of a promoted cluster leaves that of the old primary. */
export const parentOf = ({
  clusterId,
  index,
  sum,
  term: at,
  timeline,
  timestampMs,
}: SourcePoint) =>
  index === 0
    ? null
    : {
        ...{ clusterId, timeline, index: logIndex(index), term: term(at), timestampMs },
        sum: fromHex(sum),
      };

const change = ({ replica }: PromotionParts, siteChange: SiteChange) =>
  replica.propose({ kind: 'site', change: siteChange }, PROPOSE_TIMEOUT_MS);

function standbyOf(site: Site): Standby {
  if (site.kind === 'standby') return site;
  throw refusal(`this cluster is ${site.kind}, and only a standby is promoted`);
}

const takeoverOf = (site: Site): Takeover | null =>
  site.kind === 'standby' ? site.takeover : null;

export const refusal = (why: string): HoldfastError =>
  new HoldfastFailure('PROMOTION_REFUSED', `the standby does not take over: ${why}`);

export function superseded({ byClusterId, clusterId, epoch, index }: SiteEpoch): HoldfastError {
  return new HoldfastFailure(
    'PROMOTION_REFUSED',
    `cluster ${byClusterId} has taken over from cluster ${clusterId} already, with epoch ` +
      `${epoch} behind index ${index}: make a standby of that one, with holdfast restore plan ` +
      '--standby',
    { details: { byClusterId, clusterId, epoch, index } },
  );
}
