/**
 * How one node keeps its cluster's place among others: follows while the cluster is a standby,
 * looks for who took over while it is a primary, promotes when asked. Only the leader acts, and one
 * thing at a time; all that must last is in the log or in the stores.
 */
import type { Clock, ErrorBody, Logger, TimerHandle, Timers } from '@holdfast/base';
import {
  clusterId as clusterIdOf,
  EMPTY_LOG_SUM,
  HEX_ID_PATTERN,
  HoldfastError,
  toHoldfastError,
  unreachable,
} from '@holdfast/base';
import type { GroupLog, NodeIdentity } from '@holdfast/storage';
import { toHex } from '@holdfast/storage';
import { ArchiveReader } from '../backup/archive/archive-reader.ts';
import { findTimeline } from '../backup/archive/find-timeline.ts';
import type { Fence, Site, SiteChange } from '../state/site.ts';
import { isOfAnother, OWN_EPOCH } from '../state/site.ts';
import { ArchiveFollower } from './archive-follower.ts';
import { listDifferences } from './differences.ts';
import { entriesBehind } from './entries-behind.ts';
import { FenceWatch } from './fence-watch.ts';
import { firstLost, notFollowable } from './first-lost.ts';
import type { Promoted, PromotionParts } from './promotion.ts';
import { completeTakeover, freeze, refusal } from './promotion.ts';
import type {
  DifferenceReport,
  PromoteWishes,
  SiteLimits,
  SiteService,
  SiteStatus,
} from './site-api.ts';
import { PROPOSE_TIMEOUT_MS, type SiteReplica } from './site-replica.ts';
import type { SiteStores } from './site-stores.ts';
import { waitFor } from './wait-for.ts';
import { WriteGate } from './write-gate.ts';

export interface NodeSiteOptions {
  readonly identity: Pick<NodeIdentity, 'clusterId'>;
  readonly stores: SiteStores;
  readonly limits: SiteLimits;
  readonly replica: SiteReplica;
  readonly log: Pick<GroupLog, 'base' | 'entries' | 'lastIndex'>;
  readonly commitIndex: () => number;
  /** Name of a collection that is there now. */
  readonly nameOf: (uid: number) => string | null;
  readonly contentDigest: SiteService['contentDigest'];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly mintHexId: () => string;
  /** Told whenever it may have changed: this node archives for its cluster. */
  readonly onArchiving: (isArchiving: boolean) => void;
}

const TICK_INTERVAL_MS = 100;
const READY_TIMEOUT_MS = 5_000;
/** A takeover that meets a store that is away is carried on by the leader, not by who asked. */
const RETRY_MS = 1_000;

export class NodeSite implements SiteService {
  readonly gate: WriteGate;
  readonly #options: NodeSiteOptions;
  readonly #follower: ArchiveFollower;
  readonly #watch: FenceWatch;
  #abort = new AbortController();
  #isLeading = false;
  #isStopped = false;
  #isPromoting = false;
  #isArchiving = false;
  #isLagTold = false;
  #timer: TimerHandle | null = null;
  #running: Promise<void> | null = null;
  #nextRunMs = 0;
  #lastPromotionError: ErrorBody | null = null;

  constructor(options: NodeSiteOptions) {
    this.#options = options;
    const { clock, identity, limits, logger, replica, stores } = options;
    this.#follower = new ArchiveFollower({
      ...{ replica, stores, clock },
      onAlarm: ({ code, details, message }) => logger.error({ code, details }, message),
    });
    this.#watch = new FenceWatch({
      ...{ clusterId: identity.clusterId, stores, clock },
      lookIntervalMs: limits.fenceLookIntervalMs,
      ageMaxMs: limits.isSinkRequired ? limits.fenceAgeMaxMs : null,
    });
    this.gate = new WriteGate({
      clusterId: identity.clusterId,
      site: () => replica.site(),
      watch: this.#watch,
    });
  }

  /** After the replica exists. */
  start(): void {
    this.#schedule();
  }

  /** Told whenever the role of this node changes. */
  setLeading(isLeading: boolean): void {
    if (isLeading === this.#isLeading) return;
    this.#isLeading = isLeading;
    this.#nextRunMs = 0;
    if (isLeading) {
      this.#follower.begin();
      this.#watch.begin();
    } else {
      this.#follower.end();
      this.#abort.abort();
      this.#abort = new AbortController();
    }
    this.#tellArchive();
  }

  /** Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#abort.abort();
    await this.#running;
  }

  status(): SiteStatus {
    const { identity, limits, replica } = this.#options;
    const follower = this.#follower.status();
    const { lastError, ...watch } = this.#watch.status();
    const { isSinkRequired, lagMsMax } = limits;
    const site = replica.site();
    return {
      ...{ clusterId: identity.clusterId, isLeading: this.#isLeading, site },
      contentIndex: site.kind === 'standby' ? site.source.index : replica.appliedIndex(),
      follower: { ...follower, lagMsMax, isLagExceeded: (follower.lagMs ?? 0) > lagMsMax },
      fenceWatch: {
        ...{ ...watch, isSinkRequired, isFresh: this.#watch.isFresh },
        lastError: lastError?.toBody() ?? null,
      },
      isPromoting: this.#isPromoting,
      lastPromotionError: this.#lastPromotionError,
    };
  }

  contentDigest(): ReturnType<SiteService['contentDigest']> {
    return this.#options.contentDigest();
  }

  async begin(text: string): Promise<void> {
    const { replica } = this.#options;
    if (!HEX_ID_PATTERN.test(text)) {
      throw new HoldfastError('REQUEST_INVALID', `clusterId: ${text} is no id of a cluster`);
    }
    const clusterId = clusterIdOf(text);
    if (clusterId === this.#options.identity.clusterId) {
      throw new HoldfastError('REQUEST_INVALID', 'clusterId: a cluster does not follow itself');
    }
    await this.#alone(async (signal) => {
      const timeline = await this.#timelineFromTheBeginning(clusterId, signal);
      const start = { index: 0, term: 0, sum: toHex(EMPTY_LOG_SUM), timestampMs: 0 };
      await this.#change({ kind: 'standBy', source: { clusterId, timeline, ...start } });
      const site = replica.site();
      if (site.kind === 'standby' && site.source.clusterId === clusterId) return;
      throw new HoldfastError(
        'REQUEST_INVALID',
        'only an empty primary, without collections and sessions, becomes a standby: restore one ' +
          'from a backup with holdfast restore plan --standby',
      );
    });
  }

  async promote({ isForced }: PromoteWishes): Promise<Promoted> {
    if (this.#isPromoting) throw refusal('another promotion is under way on this node');
    this.#isPromoting = true;
    try {
      return await this.#alone(async (signal) => {
        const site = this.#options.replica.site();
        if (site.kind !== 'standby') {
          throw refusal(`this cluster is ${site.kind}, and only a standby is promoted`);
        }
        if (site.takeover === null) {
          await this.#beforeFreeze(isForced, signal);
          await freeze(this.#promotionParts(), signal);
        }
        return completeTakeover(this.#promotionParts(), signal);
      });
    } catch (thrown) {
      this.#lastPromotionError = toHoldfastError(thrown).toBody();
      throw thrown;
    } finally {
      this.#isPromoting = false;
    }
  }

  async differences(countMax: number): Promise<DifferenceReport> {
    const { commitIndex, identity, log, nameOf, stores } = this.#options;
    const { clusterId } = identity;
    const { signal } = this.#abort;
    const epoch = await stores.newestEpoch(stores.deciding, clusterId, OWN_EPOCH, signal);
    if (epoch === null) {
      const message = 'nobody has taken over from this cluster, so nobody differs from it';
      throw new HoldfastError('REQUEST_INVALID', message);
    }
    const through = commitIndex();
    const archive = () => stores.archiveIn(stores.deciding, clusterId, epoch.timeline, signal);
    const { differences, isCut, throughIndex } = await listDifferences({
      entries: entriesBehind(epoch, log, archive, through),
      ...{ cutIndex: epoch.index, commitIndex: through, nameOf, countMax },
    });
    const { byClusterId, epoch: number, index: cutIndex } = epoch;
    const about = { clusterId, byClusterId, epoch: number, cutIndex };
    return { ...about, throughIndex, differences, isCut };
  }

  /** All that is archived is here, and the old primary seems to be silent. */
  async #beforeFreeze(isForced: boolean, signal: AbortSignal): Promise<void> {
    const { limits, timers } = this.#options;
    const indexOf = (): number => {
      const site = this.#options.replica.site();
      return site.kind === 'standby' ? site.source.index : 0;
    };
    try {
      await this.#follower.catchUp(signal);
      const before = indexOf();
      if (!isForced) {
        await waitFor(limits.quietMs, signal, timers);
        await this.#follower.catchUp(signal);
        if (indexOf() > before) throw stillArchiving(before, indexOf(), limits.quietMs);
      }
    } catch (thrown) {
      if (!isForced || signal.aborted) throw thrown;
      const { code, message } = toHoldfastError(thrown);
      this.#options.logger.warn({ code }, `promoted by force all the same: ${message}`);
    }
    if (indexOf() === 0) throw refusal('it has not followed anything yet');
  }

  /**
   * Every timeline of the history is there from its beginning, and says of no gap.
   * @throws HoldfastError BACKUP_NOT_FOUND, RESTORE_TARGET when a backup is needed
   */
  async #timelineFromTheBeginning(
    clusterId: ReturnType<typeof clusterIdOf>,
    signal: AbortSignal,
  ): Promise<string> {
    const { stores } = this.#options;
    const storeOf = (timeline: string) =>
      stores.archiveIn(stores.deciding, clusterId, timeline, signal);
    const { timeline } = await findTimeline(stores.deciding, clusterId, storeOf, { signal });
    const lost = await firstLost(new ArchiveReader(storeOf(timeline)));
    if (lost === null) return timeline;
    throw notFollowable(clusterId, stores.deciding, lost);
  }

  #promotionParts(): PromotionParts {
    const { clock, identity, limits, logger, mintHexId, replica, stores, timers } = this.#options;
    return {
      ...{ clusterId: identity.clusterId, replica, stores, clock, logger, mintHexId },
      primaryAgeMaxMs: limits.isSinkRequired ? limits.fenceAgeMaxMs : 0,
      wait: (durationMs, signal) => waitFor(durationMs, signal, timers),
    };
  }

  #change(change: SiteChange) {
    return this.#options.replica.propose({ kind: 'site', change }, PROPOSE_TIMEOUT_MS);
  }

  /** When nothing else is under way here, and this node leads. */
  async #alone<Result>(task: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    while (this.#running !== null) await this.#running;
    if (this.#isStopped) throw new HoldfastError('SHUTTING_DOWN', 'this node is shutting down');
    const done = this.#asLeader(task);
    this.#running = done.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await done;
    } finally {
      this.#running = null;
    }
  }

  async #asLeader<Result>(task: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    await this.#options.replica.whenLeaderReady(READY_TIMEOUT_MS);
    return task(this.#abort.signal);
  }

  #schedule(): void {
    if (this.#isStopped) return;
    this.#timer = this.#options.timers.after(TICK_INTERVAL_MS, () => {
      this.#tick();
      this.#schedule();
    });
  }

  #tick(): void {
    this.#tellArchive();
    this.#tellLag();
    const { clock, limits, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    if (!this.#isLeading || this.#running !== null || nowMs < this.#nextRunMs) return;
    const task = this.#nextTask();
    if (task === null) return;
    this.#nextRunMs = nowMs + limits.followIntervalMs;
    this.#alone(task).catch((thrown: unknown) => {
      this.#nextRunMs = clock.monotonicMs() + RETRY_MS;
      const { code, message } = toHoldfastError(thrown);
      logger.debug({ code }, `the place among other clusters is looked after again: ${message}`);
    });
  }

  /** What the state asks of a leader now. */
  #nextTask(): ((signal: AbortSignal) => Promise<unknown>) | null {
    const { identity, replica } = this.#options;
    const site = replica.site();
    if (isOfAnother(site, identity.clusterId)) {
      return () => this.#change({ kind: 'forget', clusterId: identity.clusterId });
    }
    switch (site.kind) {
      case 'standby':
        if (site.takeover !== null) return (signal) => this.#carryOn(signal);
        return this.#follower.isDue ? (signal) => this.#followOnce(site, signal) : null;
      case 'primary':
        if (this.#watch.newer !== null) return () => this.#fence();
        return this.#watch.isDue ? (signal) => this.#watch.look(signal) : null;
      case 'fenced':
        return null;
      default:
        return unreachable(site);
    }
  }

  /** Not behind what another cluster took over: that is no history of anybody's future. */
  async #followOnce(site: Extract<Site, { kind: 'standby' }>, signal: AbortSignal): Promise<void> {
    const { stores } = this.#options;
    const { clusterId } = site.source;
    await this.#follower.round(signal, async () => {
      const newer = await stores.newestEpoch(stores.deciding, clusterId, OWN_EPOCH, signal);
      return newer !== null && newer.byClusterId !== this.#options.identity.clusterId
        ? newer
        : null;
    });
  }

  async #carryOn(signal: AbortSignal): Promise<void> {
    try {
      await completeTakeover(this.#promotionParts(), signal);
    } catch (thrown) {
      this.#lastPromotionError = toHoldfastError(thrown).toBody();
      throw thrown;
    }
  }

  async #fence(): Promise<void> {
    const { identity, logger } = this.#options;
    const { newer } = this.#watch;
    if (newer === null) return;
    const { byClusterId, byTimeline, epoch, index } = newer;
    const fence: Fence = {
      ...{ clusterId: identity.clusterId, epoch, byClusterId, byTimeline, index },
    };
    logger.error({ fence }, 'another cluster has taken over: this one refuses writes from now on');
    await this.#change({ kind: 'fence', fence });
  }

  #tellArchive(): void {
    const { identity, onArchiving, replica } = this.#options;
    const site = replica.site();
    const isOwn = site.kind === 'primary' && !isOfAnother(site, identity.clusterId);
    const hasLooked = this.#watch.isFirstDone && this.#watch.newer === null;
    const isArchiving = this.#isLeading && isOwn && hasLooked;
    if (isArchiving === this.#isArchiving) return;
    this.#isArchiving = isArchiving;
    onArchiving(isArchiving);
  }

  #tellLag(): void {
    const { limits, logger } = this.#options;
    const { lagEntryCount, lagMs } = this.#follower.status();
    const isExceeded = lagMs !== null && lagMs > limits.lagMsMax;
    if (isExceeded && !this.#isLagTold) {
      logger.error({ lagMs, lagEntryCount }, 'the standby is too far behind the archive');
    }
    this.#isLagTold = isExceeded;
  }
}

const stillArchiving = (before: number, after: number, quietMs: number): HoldfastError =>
  refusal(
    `the primary lives: within ${quietMs} ms its archive went from index ${before} to ${after}; ` +
      'stop it first. With --force the cut is made all the same, and what it acknowledges behind ' +
      'the cut is in no history but its own (holdfast standby diff lists it)',
  );
