/**
 * One simulated machine: its disk outlives its processes. Real driver, WAL code, applier, lanes and
 * client port; only clock, chance, file system, WAL host, lane host and transports are replaced.
 * Over 400 lines because one machine is one object: its disk, its processes and their ends.
 */
import type { HoldfastError, Incarnation, LogFields, Logger, NodeId } from '@holdfast/base';
import {
  assert,
  deriveSeed,
  incarnation,
  must,
  SeededRandom,
  toHoldfastError,
} from '@holdfast/base';
import type { SupervisedInlineHost } from '@holdfast/shard-worker/testing';
import type { GroupLog, NodeIdentity } from '@holdfast/storage';
import {
  createEntryHasher,
  InlineWal,
  joinPath,
  NO_KEYS,
  readIdentity,
  removeTemporaryFiles,
  writeIdentity,
} from '@holdfast/storage';
import type { CrashOptions } from '@holdfast/storage/testing';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import type { AssembledNode, BackupPlace } from '../assemble.ts';
import { assembleNode } from '../assemble.ts';
import type { Recovery } from '../recovery/heal-log.ts';
import { keepIdentityCopy, restoreIdentity } from '../recovery/identity-copy.ts';
import { beginNewLifeAfter, openLife, resumeNewLife } from '../recovery/new-life.ts';
import type { WaitingView } from '../recovery/waiting-service.ts';
import { LaneAlarms } from '../replica/lane-alarms.ts';
import { openClientPort } from './sim-client-port.ts';
import type { SimCluster } from './sim-cluster.ts';
import { SimDevice } from './sim-device.ts';
import { makeLanes } from './sim-lanes.ts';
import { SimProcess } from './sim-process.ts';
import type { SimTransport } from './sim-transport.ts';

export const DATA_DIRECTORY = '/data';
const DEFAULT_SETTINGS = {
  tickIntervalMs: 20,
  heartbeatIntervalMs: 100,
  electionTimeoutMs: 600,
  checkpointIntervalMs: 1_000_000,
  checkpointLogSizeBytes: 1 << 30,
  retainedEntryCount: 10_000,
  sessionIdleTimeoutMs: 3_600_000,
};

/** Scrubs are begun by tests that want them. */
const SIM_HEAL = { scrubIntervalMs: 0 };

interface RunningSimNode {
  readonly process: SimProcess;
  readonly assembled: AssembledNode;
  readonly wal: InlineWal;
  readonly host: SupervisedInlineHost;
  readonly transport: SimTransport;
}

/** `booting`: its process runs, its replica does not exist yet. `failed`: it stopped by itself. */
export type SimNodeState = 'down' | 'booting' | 'running' | 'failed';

export class SimNode {
  readonly id: NodeId;
  fileSystem = new MemoryFileSystem();
  #incarnation: Incarnation;
  #diskCount = 1;
  readonly #cluster: SimCluster;
  #process: SimProcess | null = null;
  #disk: SimDevice | null = null;
  #running: RunningSimNode | null = null;
  #recovery: Recovery | null = null;
  #log: GroupLog | null = null;
  #failure: HoldfastError | null = null;
  #bootCount = 0;
  #wallOffsetMs = 0;
  #isLying = false;

  constructor(cluster: SimCluster, id: NodeId, identity: NodeIdentity) {
    this.#cluster = cluster;
    this.id = id;
    this.#incarnation = identity.incarnation;
    this.fileSystem.makeDirectory(DATA_DIRECTORY);
    writeIdentity(this.fileSystem, DATA_DIRECTORY, identity);
  }

  /** An empty disk, formatted for `identity`. The node is down. */
  format(identity: NodeIdentity): void {
    assert(this.state === 'down', 'only a machine that is down gets another disk');
    this.fileSystem = new MemoryFileSystem();
    this.#incarnation = identity.incarnation;
    this.#diskCount += 1;
    this.#log = null;
    this.fileSystem.makeDirectory(DATA_DIRECTORY);
    writeIdentity(this.fileSystem, DATA_DIRECTORY, identity);
  }

  /** It came back with an empty disk, at least once. */
  get hasBeenWiped(): boolean {
    return this.#diskCount > 1;
  }

  /** Of its present disk. */
  get incarnation(): Incarnation {
    return this.#incarnation;
  }

  get isRunning(): boolean {
    return this.#running !== null && this.#failure === null;
  }

  get state(): SimNodeState {
    if (this.#failure !== null) return 'failed';
    if (this.#running !== null) return 'running';
    return this.#process === null ? 'down' : 'booting';
  }

  /** Its replica exists, also when it has failed since. */
  get hasReplica(): boolean {
    return this.#running !== null;
  }

  get isPaused(): boolean {
    return this.#process?.isPaused ?? false;
  }

  /** Why the node stopped by itself. */
  get failure(): HoldfastError | null {
    return this.#failure;
  }

  get node(): AssembledNode {
    return must(this.#running, `${this.id} is not running`).assembled;
  }

  /** Its own clock: deadlines of requests that are handed to it are in this time. */
  get nowMs(): number {
    return must(this.#process, `${this.id} is not running`).monotonicMs();
  }

  /** What it does instead of serving, while it is booting; null when it boots straight away. */
  get recovering(): WaitingView | null {
    return this.state === 'booting' ? (this.#recovery?.view() ?? null) : null;
  }

  /** Where clients reach it. */
  get clientAddress(): string {
    return `${this.id}:1`;
  }

  /** As its disk has it. */
  get epoch(): number {
    return readIdentity(this.fileSystem, DATA_DIRECTORY).epoch;
  }

  /** Where other nodes reach it. */
  get peerAddress(): string {
    return `${this.id}:2`;
  }

  /** Counts starts and ends: callbacks and answers of an earlier boot mean nothing any more. */
  get boot(): number {
    return this.#bootCount;
  }

  /**
   * What the newest boot knows to be durable in its log, also after its end (a disk keeps what was
   * reported durable). Null before the log was opened for the first time.
   */
  get log(): GroupLog | null {
    return this.#log;
  }

  /** Snapshots that peers sent to this boot of the node. */
  get snapshotsInstalled(): number {
    return this.#running?.transport.stats().snapshotsReceived ?? 0;
  }

  get wal(): InlineWal {
    return must(this.#running, `${this.id} is not running`).wal;
  }

  get host(): SupervisedInlineHost {
    return must(this.#running, `${this.id} is not running`).host;
  }

  get walStats() {
    return this.wal.stats();
  }

  /** Boots and moves virtual time until the node runs. */
  async start(): Promise<void> {
    await this.#cluster.scheduler.resolve(this.begin());
  }

  /**
   * Boots; somebody else moves the time. Resolves when the node runs, or when it was ended before;
   * rejects, and is `failed`, when it cannot start.
   */
  async begin(): Promise<void> {
    this.#bootCount += 1;
    this.#failure = null;
    const process = this.#makeProcess();
    this.#process = process;
    this.#recovery = null;
    try {
      await this.#boot(process);
    } catch (thrown) {
      if (process.isAlive) this.#failure = toHoldfastError(thrown);
      throw thrown;
    }
  }

  /** SIGTERM. Somebody else moves the time; false when it did not come to its end in order. */
  async shutDown(): Promise<boolean> {
    const running = this.#running;
    if (running === null) return false;
    const { assembled, wal } = running;
    await assembled.replica.handOver();
    const siteEnded = assembled.site?.stop();
    await assembled.logCheck.stop();
    await assembled.backup?.stop();
    await assembled.care.stop();
    await assembled.replica.stop();
    await siteEnded;
    if (running === this.#running) await wal.close();
    if (running !== this.#running) return false;
    this.kill();
    return true;
  }

  /** kill -9: the process is gone at once; the page cache stays. */
  kill(): void {
    this.#halt(false);
    this.fileSystem.crashProcess();
  }

  /** Power cut: what was not synced is lost or torn, by seed. */
  cutPower(options: CrashOptions): void {
    this.#halt(true);
    this.fileSystem.crash(options);
  }

  /** SIGSTOP: nothing of the process runs until `resume`; its clock goes on. */
  pause(): void {
    this.#process?.pause();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.#cluster.observer?.onResume?.(this);
    this.#process?.resume();
  }

  /** The log of the node waits for its disk until `untilMs` of the world's clock. */
  stallDisk(untilMs: number): void {
    this.#disk?.stall(untilMs);
  }

  /**
   * From now on, for as long as this process lives, its lanes tell the digests of a state in which
   * a row is another. What clients are told stays right: a checker needs something to compare with.
   */
  tellOtherDigests(): void {
    const { host } = this;
    const digests = host.digests.bind(host);
    this.#isLying = true;
    host.digests = async (index) => {
      const found = await digests(index);
      return found.map((one) => ({ ...one, digest: otherDigest(one.digest) }));
    };
  }

  /** Its lanes tell digests that are not those of its state. */
  get isLying(): boolean {
    return this.#isLying;
  }

  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
    this.#process?.jumpWall(deltaMs);
  }

  async #boot(process: SimProcess): Promise<void> {
    const { network, options } = this.#cluster;
    removeTemporaryFiles(this.fileSystem, DATA_DIRECTORY);
    resumeNewLife(this.fileSystem, DATA_DIRECTORY);
    restoreIdentity(this.fileSystem, DATA_DIRECTORY, this.#logger());
    const disk = this.#device(process, 'disk', options.latency?.diskMsMax ?? 0);
    this.#disk = disk;
    const logger = this.#logger();
    const life = {
      ...{ fileSystem: this.fileSystem, dataDirectory: DATA_DIRECTORY },
      identity: readIdentity(this.fileSystem, DATA_DIRECTORY),
      mintIncarnation: () => this.#mintIncarnation(),
    };
    const { wal, identity } = await openLife({
      ...{ ...life, logger },
      openWal: () => this.#openWal(disk, process),
    });
    keepIdentityCopy(this.fileSystem, DATA_DIRECTORY, identity);
    this.#incarnation = identity.incarnation;
    this.#log = wal.groupLog(identity.group);
    const { alarms, host } = this.#openLanes(process, logger);
    const transport = network.attach(this.id, process, {
      clusterId: identity.clusterId,
      epoch: identity.epoch,
      incarnation: identity.incarnation,
      peerAddress: this.peerAddress,
      clientAddress: this.clientAddress,
    });
    const assembled = await assembleNode(
      {
        identity,
        dataDirectory: DATA_DIRECTORY,
        ...DEFAULT_SETTINGS,
        publicAddress: () => this.clientAddress,
        joinAddresses: this.#cluster.nodes.map((node) => node.peerAddress),
        ...options.settings,
        heal: { ...SIM_HEAL, ...options.settings?.heal },
      },
      {
        ...{ fileSystem: this.fileSystem, wal, host, transport, logger },
        ...{ clock: process, timers: process, defer: process.defer },
        ...{ random: this.#random('replica'), hash: createEntryHasher() },
        ...this.#backupPlace(process),
        onFailure: (error) => {
          if (!process.isAlive) return;
          this.#failure ??= error;
          beginNewLifeAfter(error, { ...life, identity });
        },
        onRecovery: (recovery) => {
          this.#recovery = recovery;
        },
      },
    ).catch((thrown: unknown) => {
      if (process.isAlive) beginNewLifeAfter(thrown, { ...life, identity });
      throw thrown;
    });
    if (!process.isAlive) return;
    this.#running = { process, assembled, wal, host, transport };
    alarms.listen((event) => {
      assembled.replica.onLaneEvent(event);
      assembled.care.causes.onLane(event);
    });
    alarms.restartsAre(() => assembled.care.recoveries.options.isEnabled);
    this.#cluster.observer?.onRunning?.(this);
    startAll(assembled);
    transport.announce();
    if (options.hasClientPorts ?? false) this.#listen(assembled, process, logger);
  }

  #listen({ service }: AssembledNode, process: SimProcess, logger: Logger): void {
    const accept = openClientPort(service, process, logger);
    this.#cluster.clientNetwork.listen(this.clientAddress, { process, accept });
  }

  #openLanes(process: SimProcess, logger: Logger) {
    const { latency } = this.#cluster.options;
    const alarms = new LaneAlarms(logger);
    const host = makeLanes({
      ...{ fileSystem: this.fileSystem, dataDirectory: DATA_DIRECTORY, process },
      laneCount: this.#laneCount(),
      device: this.#device(process, 'lanes', latency?.laneMsMax ?? 0),
      onEvent: alarms.tell,
      mayRestart: () => alarms.mayRestart,
      onFatal: (error) => {
        if (process.isAlive) this.#failure ??= error;
      },
    });
    return { alarms, host };
  }

  #openWal(disk: SimDevice, process: SimProcess): InlineWal {
    const wal: InlineWal = InlineWal.open({
      fileSystem: this.fileSystem,
      directory: joinPath(DATA_DIRECTORY, 'wal'),
      options: { fileSizeBytes: 256 * 1024, ...this.#cluster.options.wal },
      clock: process,
      // First the bytes are on disk, later the node is told so.
      schedule: (deliver, delayMs) => {
        const turn = (): void =>
          disk.use(() => {
            wal.flush();
            disk.use(deliver);
          });
        if (delayMs === 0) turn();
        else process.after(delayMs, turn);
      },
    });
    return wal;
  }

  #backupPlace(process: SimProcess): { readonly backup?: BackupPlace } {
    const { options, store } = this.#cluster;
    if (options.backupPlace !== undefined) return { backup: options.backupPlace };
    if (store === null || options.backup === undefined) return {};
    const { archive, retention, schedules } = options.backup;
    const random = this.#random('backup');
    const stores = {
      ...{ archive, retention, schedules, sinks: [store.sinkFor(process)], keys: NO_KEYS },
      // Compression runs outside of the simulated world.
      ...{ compression: 'none' as const, bytesPerSecMax: 0, concurrency: 2 },
    };
    const randomBytes = (sizeBytes: number): Uint8Array =>
      Uint8Array.from({ length: sizeBytes }, () => random.nextBelow(256));
    return { backup: { stores, randomBytes, mintBackupId: () => uuidOf(random) } };
  }

  #mintIncarnation(): Incarnation {
    const random = this.#random('incarnation');
    const words = Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0'));
    return incarnation(words.join(''));
  }

  #laneCount(): number {
    const { options, nodes } = this.#cluster;
    if (options.laneCount === undefined || typeof options.laneCount === 'number') {
      return options.laneCount ?? 2;
    }
    return must(options.laneCount[nodes.indexOf(this)], 'a lane count for each node');
  }

  /** A stream of chance of its own for each purpose and boot. */
  #random(purpose: string): SeededRandom {
    const name = `${this.id}/${this.#bootCount}/${purpose}`;
    return new SeededRandom(deriveSeed(this.#cluster.options.seed, name));
  }

  #device(process: SimProcess, purpose: string, delayMsMax: number): SimDevice {
    const { scheduler } = this.#cluster;
    return new SimDevice({ scheduler, process, random: this.#random(purpose), delayMsMax });
  }

  #makeProcess(): SimProcess {
    const { scheduler, options, nodes } = this.#cluster;
    return new SimProcess({
      scheduler,
      driftPpm: options.driftPpm?.[nodes.indexOf(this)] ?? 0,
      wallOffsetMs: this.#wallOffsetMs,
      onStep: () => this.#cluster.observer?.onStep?.(this),
      onCrash: (signal) => {
        this.#failure ??= toHoldfastError(signal);
      },
    });
  }

  /** What the node logs is how the outside sees its events. */
  #logger(): Logger {
    const boot = this.#bootCount;
    const tell = (fields: LogFields, message: string): void => {
      if (boot === this.#bootCount) this.#cluster.observer?.onLog?.(this, fields, message);
    };
    const logger: Logger = {
      ...{ debug: tell, info: tell, warn: tell, error: tell },
      child: () => logger,
    };
    return logger;
  }

  #halt(isSilent: boolean): void {
    if (this.#process !== null) this.#cluster.observer?.onHalt?.(this, isSilent);
    this.#bootCount += 1;
    this.#failure = null;
    this.#process?.end();
    this.#process = null;
    this.#isLying = false;
    const running = this.#running;
    this.#running = null;
    if (running === null) return;
    this.#cluster.network.detach(this.id);
    this.#cluster.clientNetwork.silence(this.clientAddress, isSilent);
    // Only stops loops of the dead object; nothing it does reaches disk or network any more.
    running.assembled.replica.stop().catch(() => undefined);
  }
}

function uuidOf(random: SeededRandom): string {
  const word = (): string => random.nextU32().toString(16).padStart(8, '0');
  const [first, second, third] = [word(), word(), word()];
  const middle = `${second.slice(0, 4)}-4${second.slice(5)}-8${third.slice(1, 4)}`;
  return `${first}-${middle}-${third.slice(4)}${word()}`;
}

function startAll({ backup, care, replica, site }: AssembledNode): void {
  backup?.start();
  site?.start();
  replica.start();
  care.start();
}

const otherDigest = (digest: string): string =>
  digest.replace(/^./, (first) => (first === '0' ? '1' : '0'));
