/**
 * Everything a node does about its own disk and for the disks of its peers, in one place: it
 * answers peers from the moment the log is open, repairs files before the lanes open, and scrubs
 * and repairs while the replica runs. The RecoveryManager in here is the one that every other part
 * of the node hands its causes to.
 *
 * Over 400 lines because it ties the parts of the care to each other and to the node, and decides
 * nothing else.
 */
import type {
  Clock,
  ConfState,
  HoldfastError,
  Logger,
  LogIndex,
  Member,
  TimerHandle,
  Timers,
} from '@holdfast/base';
import { assert, must } from '@holdfast/base';
import type { BlockResponse, CareMessage } from '@holdfast/protocol';
import type { RaftMessage } from '@holdfast/raft';
import type { ShardDigest, ShardHost } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, NodeIdentity, Wal } from '@holdfast/storage';
import { joinPath, REPAIR_DIRECTORY_NAME } from '@holdfast/storage';
import type { Defer } from '../replica/group-host.ts';
import type { Pause } from '../replica/slices.ts';
import { pauseBy } from '../replica/slices.ts';
import { TransferBudget } from '../replica/transfer-budget.ts';
import type { CareAddress, PeerTransport } from '../service-api.ts';
import { BlockClient } from './block-client.ts';
import { BlockResponder, NO_FILE } from './block-responder.ts';
import type { BreakerStatus, CareService, CareSettings } from './care-api.ts';
import { Divergence } from './divergence.ts';
import { EntryFetcher } from './entry-fetcher.ts';
import type { HealedCheckpointer } from './file-healer.ts';
import { FileHealer } from './file-healer.ts';
import type { NodeCache } from './memory-watch.ts';
import { MemoryWatch } from './memory-watch.ts';
import { Quarantine } from './quarantine.ts';
import { RecoveryManager } from './recovery-manager.ts';
import { RottenReads } from './rotten-reads.ts';
import { scrubPlaceOf } from './scrub-place.ts';
import type { MakeScrubReader } from './scrub-reader.ts';
import { inlineReaders } from './scrub-reader.ts';
import type { ScrubPlace } from './scrub-targets.ts';
import { blockFiles } from './scrub-targets.ts';
import { Scrubber } from './scrubber.ts';
import type { SegmentRepairParts } from './segment-repair.ts';
import type { CheckpointTrouble } from './self-causes.ts';
import { SelfCauses } from './self-causes.ts';
import { WatchedCauses } from './watched-causes.ts';
import type { ProcessSample } from './workers.ts';
import { Workers } from './workers.ts';

export interface HealLimits {
  /** 0: never. */
  readonly scrubIntervalMs: number;
  /** 0: as fast as the disk. */
  readonly scrubBytesPerSecMax: number;
  readonly repairBytesPerSecMax: number;
  readonly recoveryConcurrencyMax: number;
  readonly isAutoRecoveryEnabled: boolean;
  /** False: findings are told and nothing is repaired. */
  readonly isAutoRepairEnabled: boolean;
  readonly repairRetryCountMax: number;
  /** How often the lanes are asked for what they do not say by themselves; 0: never. */
  readonly lookIntervalMs: number;
  /** Of the process; over it caches are let go. 0: not watched. */
  readonly residentSizeBytesMax: number;
}

const HOUR_MS = 3_600_000;
const BYTES_PER_MB = 1_000_000;
const MIB = 1024 * 1024;

export const HEAL_LIMITS_DEFAULT: HealLimits = {
  scrubIntervalMs: 24 * HOUR_MS,
  scrubBytesPerSecMax: 100_000_000,
  // As snapshots: half of a gigabit line.
  repairBytesPerSecMax: 64 * MIB,
  recoveryConcurrencyMax: 3,
  isAutoRecoveryEnabled: true,
  isAutoRepairEnabled: true,
  repairRetryCountMax: 3,
  // Whoever reads metrics or status looks as well.
  lookIntervalMs: 0,
  residentSizeBytesMax: 0,
};

const TICK_INTERVAL_MS = 250;

export interface NodeCareOptions {
  readonly identity: NodeIdentity;
  readonly dataDirectory: string;
  readonly limits: HealLimits;
  /** Of the newest checkpoint when the node was started. */
  readonly members: readonly Member[];
  /** Generations on the disk at the start, newest first. */
  readonly roots: readonly CheckpointRoot[];
}

export interface NodeCareParts {
  readonly fileSystem: FileSystem;
  readonly wal: Wal;
  readonly host: Pick<ShardHost, 'health'>;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly defer: Defer;
  readonly logger: Logger;
  /** Left out where there is no process of its own. */
  readonly processSample?: () => ProcessSample;
  /** Left out: the scrubber reads on the thread of the node. */
  readonly scrubReader?: MakeScrubReader;
}

/** Of writes under way, as pages show them. */
const OPERATION_COUNT_MAX = 256;

/** What of a running replica is looked at and asked. */
export interface CaredReplica {
  readonly checkpointer: HealedCheckpointer & { readonly roots: readonly CheckpointRoot[] };
  readonly checkpoints: {
    runInBackground(): void;
    onOutcome(listener: (trouble: CheckpointTrouble) => void): void;
  };
  operations(countMax: number): ReturnType<CareService['operations']>;
  readonly fitness: { onChange(listener: (reasons: readonly string[]) => void): void };
  readonly membership: { readonly conf: ConfState };
  readonly applier: { readonly appliedIndex: LogIndex };
  confIndex(): LogIndex;
  onDigests(listener: (index: LogIndex, digests: readonly ShardDigest[]) => void): void;
  handOver(): Promise<void>;
  fail(error: HoldfastError): void;
  verify(deadlineMs: number): Promise<unknown>;
}

export class NodeCare {
  readonly recoveries: RecoveryManager;
  /** What mends itself where it is; the manager has its case. */
  readonly watched: WatchedCauses;
  readonly causes: SelfCauses;
  readonly entries: EntryFetcher;
  readonly quarantine: Quarantine;
  readonly #options: NodeCareOptions;
  readonly #parts: NodeCareParts;
  readonly #place: ScrubPlace;
  readonly #pause: Pause;
  readonly #budget: TransferBudget;
  readonly #client: BlockClient;
  readonly #responder: BlockResponder;
  #members: readonly Member[];
  #replica: CaredReplica | null = null;
  #scrubber: Scrubber | null = null;
  #divergence: Divergence | null = null;
  #rottenReads: RottenReads | null = null;
  #timer: TimerHandle | null = null;
  readonly #workers: Workers;
  #look: () => void = () => {};
  #memory: MemoryWatch | null = null;
  #nextLookMs = 0;
  #isStopped = false;
  /** Of the generations that were read last: what each path must be. */
  #listing: { readonly of: string; readonly checksums: ReadonlyMap<string, string> } | null = null;

  constructor(options: NodeCareOptions, parts: NodeCareParts) {
    this.#options = options;
    this.#parts = parts;
    this.#members = options.members;
    const { dataDirectory, identity, limits } = options;
    const { clock, fileSystem, logger, timers, transport, wal } = parts;
    this.#pause = pauseBy(parts.defer);
    this.#budget = new TransferBudget(clock, timers, limits.repairBytesPerSecMax);
    this.#place = scrubPlaceOf({ fileSystem, dataDirectory, roots: () => this.#roots() }, wal);
    const { group } = identity;
    this.#client = new BlockClient({ group, transport, timers });
    this.quarantine = new Quarantine({ fileSystem, dataDirectory, clock, logger });
    this.entries = new EntryFetcher({
      ...{ identity, wal, timers },
      send: (messages: readonly RaftMessage[]) => transport.send(messages),
      confIndex: () => this.#replica?.confIndex() ?? (0 as LogIndex),
    });
    this.#responder = new BlockResponder({
      ...{ group, fileSystem, dataDirectory, transport, clock, logger },
      checksumOf: (path) => this.#checksums().get(path) ?? null,
      appliedIndex: () => this.#replica?.applier.appliedIndex ?? 0,
      onUnknown: () => this.#replica?.checkpoints.runInBackground(),
      budget: this.#budget,
      pause: this.#pause,
    });
    this.recoveries = new RecoveryManager(
      {
        concurrencyMax: limits.recoveryConcurrencyMax,
        isEnabled: limits.isAutoRecoveryEnabled,
        isRepairEnabled: limits.isAutoRepairEnabled,
        retryCountMax: limits.repairRetryCountMax,
      },
      { clock, timers, logger },
    );
    this.#workers = new Workers({
      nowMs: () => clock.monotonicMs(),
      lanes: () => parts.host.health(),
      log: () => ({ stats: wal.stats(), writes: wal.writes() }),
      process: parts.processSample ?? null,
    });
    this.watched = new WatchedCauses((cause) => this.recoveries.submit(cause));
    const { host } = parts;
    const own = { watched: this.watched, lanes: () => host.health(), writes: () => wal.writes() };
    this.causes = new SelfCauses(own);
    wal.onWrites((writes) => this.causes.onWrites(writes));
    fileSystem.removeTree(joinPath(dataDirectory, REPAIR_DIRECTORY_NAME));
    transport.onCare((from, message) => this.#receive(from, message));
  }

  /** For the repair of files before there is a replica. */
  get segmentParts(): SegmentRepairParts {
    const { dataDirectory } = this.#options;
    const { fileSystem, logger } = this.#parts;
    return {
      ...{ fileSystem, dataDirectory, client: this.#client, quarantine: this.quarantine },
      ...{ budget: this.#budget, pause: this.#pause, logger },
    };
  }

  /** How far a peer is; null when it cannot be asked. */
  factsOf(peer: Member): Promise<BlockResponse | null> {
    return this.#client.ask(peer, NO_FILE, []);
  }

  get pause(): Pause {
    return this.#pause;
  }

  /** The other members, as far as this node knows. */
  get peers(): readonly Member[] {
    const { nodeId } = this.#options.identity;
    const members = this.#replica?.membership.conf.members ?? this.#members;
    return members.filter((member) => member.nodeId !== nodeId);
  }

  /** Newer members than those it was made with; only before there is a replica. */
  askMembers(members: readonly Member[]): void {
    assert(this.#replica === null, 'a replica knows its members');
    this.#members = members;
  }

  /** Null before the replica runs. */
  get scrubber(): Scrubber | null {
    return this.#scrubber;
  }

  /** The replica exists: from now on its files are scrubbed and repaired. */
  attach(replica: CaredReplica): void {
    this.#replica = replica;
    const { dataDirectory, identity, limits } = this.#options;
    const { clock, fileSystem, logger, timers, wal } = this.#parts;
    const { segmentParts } = this;
    const healer: FileHealer = new FileHealer({
      ...{ fileSystem, dataDirectory, identity, wal, logger },
      checkpointer: replica.checkpointer,
      segments: segmentParts,
      entries: this.entries,
      quarantine: this.quarantine,
      committedIndex: () => replica.applier.appliedIndex,
      peers: () => this.peers,
      newestFiles: () => {
        const roots = (): readonly CheckpointRoot[] => replica.checkpointer.roots.slice(0, 1);
        return new Set(blockFiles({ fileSystem, dataDirectory, roots }).map(({ path }) => path));
      },
      look: (target) => scrubber.look(target),
    });
    const inline = inlineReaders(fileSystem, { clock, timers, pause: this.#pause });
    const { scrubReader = inline } = this.#parts;
    const scrubber: Scrubber = new Scrubber({
      ...{ clock, timers, logger, place: this.#place },
      reader: scrubReader(limits.scrubBytesPerSecMax),
      intervalMs: limits.scrubIntervalMs,
      onFinding: (finding) => this.recoveries.submit(healer.causeOf(finding)),
      isSettled: (target, flaw) => healer.isSettled(target, flaw),
    });
    this.#scrubber = scrubber;
    this.#rottenReads = new RottenReads({
      ...{ scrubber, healer, recoveries: this.recoveries, log: wal.groupLog(identity.group) },
      walFileIds: () => wal.files().map(({ fileId }) => fileId),
    });
    this.#watchDigests(replica);
    replica.checkpoints.onOutcome((trouble) => this.causes.onCheckpoint(trouble));
    replica.fitness.onChange((reasons) => this.causes.onFitness(reasons));
  }

  /**
   * An entry of the log could not be read. Resolves with null when it can, or is no part of the log
   * any more; else with what is left. Only once there is a replica.
   */
  mendRead(index: LogIndex, rot: HoldfastError): Promise<HoldfastError | null> {
    return must(this.#rottenReads, 'a read is mended for a replica').mend(index, rot);
  }

  #watchDigests(replica: CaredReplica): void {
    const { group, nodeId } = this.#options.identity;
    const { logger, transport } = this.#parts;
    const divergence = new Divergence({
      ...{ group, nodeId, transport, logger },
      conf: () => replica.membership.conf,
      submit: (cause) => this.recoveries.submit(cause),
      handOver: () => replica.handOver(),
      fail: (error) => replica.fail(error),
    });
    this.#divergence = divergence;
    replica.onDigests((index, digests) =>
      divergence.onOwn(
        index,
        digests.map(({ digest, shard, uid }) => ({ uid, shard, digest })),
      ),
    );
  }

  /** For pages and the command line; only once the replica runs. */
  service(): CareService {
    const { recoveries } = this;
    const scrubber = must(this.#scrubber, 'care is attached to a replica before it is shown');
    return {
      status: () => ({
        isScrubbing: scrubber.isRunning,
        settings: this.#settings(scrubber),
        newest: scrubber.newest,
        totals: scrubber.totals,
        recoveries: recoveries.stats(),
        unrecovered: recoveries.parkedKeys,
      }),
      events: (sinceNumber) => recoveries.events().filter(({ number }) => number > sinceNumber),
      check: () => {
        recoveries.retryParked();
        return scrubber.run();
      },
      workers: () => this.#workers.look(),
      breakers: () => [this.#walBreaker],
      probeBreaker: () => {
        const before = this.#walBreaker;
        this.#parts.wal.probeWrites();
        return before;
      },
      operations: () => must(this.#replica).operations(OPERATION_COUNT_MAX),
      configure: (settings) => this.#configure(scrubber, settings),
      recover: (cause) => recoveries.submit(cause),
    };
  }

  get #walBreaker(): BreakerStatus {
    return { name: 'wal', ...this.#parts.wal.writes() };
  }

  #settings(scrubber: Scrubber): CareSettings {
    const { concurrencyMax, isEnabled, retryCountMax } = this.recoveries.options;
    return {
      scrubIntervalMs: scrubber.intervalMs,
      scrubThrottleMbps: scrubber.bytesPerSecMax / BYTES_PER_MB,
      isAutoRecoveryEnabled: isEnabled,
      recoveryConcurrencyMax: concurrencyMax,
      repairRetryCountMax: retryCountMax,
    };
  }

  #configure(scrubber: Scrubber, settings: Partial<CareSettings>): void {
    const next = { ...this.#settings(scrubber), ...settings };
    scrubber.intervalMs = next.scrubIntervalMs;
    scrubber.bytesPerSecMax = next.scrubThrottleMbps * BYTES_PER_MB;
    this.recoveries.configure({
      concurrencyMax: next.recoveryConcurrencyMax,
      isEnabled: next.isAutoRecoveryEnabled,
      retryCountMax: next.repairRetryCountMax,
    });
  }

  /** What may be let go when memory is short. Set once, before `start`. */
  watchMemory(caches: readonly NodeCache[], handOver: () => Promise<void>): void {
    this.#memory = new MemoryWatch({
      limitSizeBytes: this.#options.limits.residentSizeBytesMax,
      residentSizeBytes: () => this.#workers.residentSizeBytes,
      ...{ caches, handOver, submit: (cause) => this.recoveries.submit(cause) },
    });
  }

  /** Called every `lookIntervalMs`. Set once, before `start`. */
  onLook(look: () => void): void {
    this.#look = look;
  }

  start(): void {
    const { clock, timers } = this.#parts;
    if (this.#isStopped) return;
    this.#timer = timers.after(TICK_INTERVAL_MS, () => {
      const nowMs = clock.monotonicMs();
      this.#scrubber?.onTick(nowMs);
      this.#lookNow(nowMs);
      this.start();
    });
  }

  #lookNow(nowMs: number): void {
    const { lookIntervalMs } = this.#options.limits;
    if (lookIntervalMs === 0 || nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + lookIntervalMs;
    this.#workers.look();
    this.#memory?.look();
    this.#look();
  }

  /** Nothing is read or repaired any more when it resolves. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#client.stop();
    const stopped = this.recoveries.stop();
    await this.#scrubber?.stop();
    this.watched.stop();
    await stopped;
    await this.#rottenReads?.stop();
  }

  #receive(from: CareAddress, message: CareMessage): void {
    if (this.#isStopped) return;
    switch (message.kind) {
      case 'blockRequest':
        this.#responder.receive(from, message);
        return;
      case 'blockResponse':
        this.#client.receive(from, message);
        return;
      case 'digestReport':
        this.#divergence?.receive(from, message);
        return;
    }
  }

  #roots(): readonly CheckpointRoot[] {
    return this.#replica?.checkpointer.roots ?? this.#options.roots;
  }

  #checksums(): ReadonlyMap<string, string> {
    const of = this.#roots()
      .map(({ generation }) => generation)
      .join();
    if (this.#listing?.of !== of) {
      const files = blockFiles(this.#place).flatMap((file) =>
        'checksum' in file ? [[file.path, file.checksum] as const] : [],
      );
      this.#listing = { of, checksums: new Map(files) };
    }
    return this.#listing.checksums;
  }
}
