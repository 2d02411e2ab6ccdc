/**
 * The phase before a replica exists: heals a damaged log, range by range, from what peers answer
 * and from the own checkpoint (docs/adr/0015). While it lasts the node neither votes nor
 * acknowledges; it only asks, and answers others that ask. The decisions are the pure
 * `RangeRepair`'s; here are its clock, its network and its disk.
 */
import type {
  Entry,
  EntryHasher,
  GroupId,
  Logger,
  LogIndex,
  NodeId,
  TimerHandle,
  Timers,
} from '@holdfast/base';
import {
  failpoint,
  HoldfastError,
  logIndex,
  must,
  term,
  toHoldfastError,
  unreachable,
} from '@holdfast/base';
import type { RaftMessage, RepairLog, RepairProgress, RepairVerdict } from '@holdfast/raft';
import { RangeRepair } from '@holdfast/raft';
import type { GroupLog, LogBase, NodeIdentity } from '@holdfast/storage';
import type { KnownConf } from './known-confs.ts';
import { confsFrom, knownConfs } from './known-confs.ts';

const TICK_INTERVAL_MS = 50;
/** 200 ms: several round trips. */
const RETRY_TICKS = 4;
/** A peer that is down costs one small message in two seconds. */
const RETRY_TICKS_MAX = 40;
/** Three seconds: peers in the same distress must hear this node before it stops. */
const LOST_TICKS = 60;
/** Of election timeouts: without a quorum a leader steps down after one. */
const RESEED_TIMEOUT_COUNT = 3;

export type DamagedLog = RepairLog & Pick<GroupLog, 'hardState'>;

/** What of the WAL a repair needs. */
export interface RepairingWal {
  repair(group: GroupId, entries: readonly Entry[]): Promise<void>;
  discardDamaged(group: GroupId, from: LogIndex): Promise<void>;
  compact(group: GroupId, base: LogBase): void;
}

export interface LogRepairOptions {
  readonly identity: Pick<NodeIdentity, 'nodeId' | 'incarnation' | 'group'>;
  readonly wal: RepairingWal;
  readonly log: DamagedLog;
  readonly hash: EntryHasher;
  /** Of the newest checkpoint, or the first one. */
  readonly conf: KnownConf;
  readonly electionTimeoutMs: number;
  /** Where the newest checkpoint ends; its state is whole and durable. Null without one. */
  readonly checkpoint: LogBase | null;
  readonly send: (messages: readonly RaftMessage[]) => void;
  readonly timers: Timers;
  readonly logger: Logger;
}

export class LogRepair {
  readonly #options: LogRepairOptions;
  readonly #confs: KnownConf[];
  #current: RangeRepair | null = null;
  #timer: TimerHandle | null = null;
  #settle: { resolve(): void; reject(error: HoldfastError): void } | null = null;
  #isEnded = false;

  constructor(options: LogRepairOptions) {
    this.#options = options;
    const after = options.checkpoint?.index ?? logIndex(0);
    this.#confs = knownConfs(options.log, options.conf, after);
  }

  /** The newest configuration that is known: whom this node talks to meanwhile. */
  get conf(): KnownConf {
    return must(this.#confs.at(-1));
  }

  /** Null before `run` and between two ranges. */
  progress(): RepairProgress | null {
    return this.#current?.progress() ?? null;
  }

  /**
   * Resolves when the log has no hole any more. Runs once.
   * @throws HoldfastError ENTRY_LOST, NEW_LIFE_NEEDED, SHUTTING_DOWN (stopped), WAL_IO, WAL_CORRUPT
   */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#guard(() => this.#next());
    });
  }

  stop(): void {
    this.#end(new HoldfastError('SHUTTING_DOWN', 'this node is shutting down; use another'));
  }

  receive(message: RaftMessage): void {
    const current = this.#current;
    if (this.#isEnded || current === null) return;
    this.#guard(() => {
      current.receive(message);
      this.#pump(current);
    });
  }

  #next(): void {
    if (this.#isEnded) return;
    this.#compactToCheckpoint();
    const { log, logger } = this.#options;
    const [range] = log.damage();
    if (range === undefined) {
      this.#end(null);
      return;
    }
    const { low, high } = range;
    logger.warn({ low, high }, 'log entries are damaged; asking the other members for them');
    this.#current = this.#repairOf(range);
    this.#tick();
  }

  #repairOf(range: ReturnType<RepairLog['damage']>[number]): RangeRepair {
    const { electionTimeoutMs, hash, identity, log } = this.#options;
    const hardState = log.hardState();
    return new RangeRepair({
      id: identity.nodeId,
      group: identity.group,
      incarnation: identity.incarnation,
      ...{ hash, log, range },
      term: hardState?.term ?? term(0),
      committed: this.#committed,
      ...this.conf,
      confs: confsFrom(this.#confs, range.low),
      retryTicks: RETRY_TICKS,
      retryTicksMax: RETRY_TICKS_MAX,
      lostTicks: LOST_TICKS,
      reseedTicks: Math.ceil((RESEED_TIMEOUT_COUNT * electionTimeoutMs) / TICK_INTERVAL_MS),
    });
  }

  get #committed(): LogIndex {
    const { checkpoint, log } = this.#options;
    return logIndex(Math.max(log.hardState()?.commit ?? 0, checkpoint?.index ?? 0));
  }

  /** Entries that the own checkpoint holds need nobody's help. */
  #compactToCheckpoint(): void {
    const { checkpoint, identity, log, logger, wal } = this.#options;
    const [range] = log.damage();
    if (range === undefined || checkpoint === null || range.low > checkpoint.index) return;
    wal.compact(identity.group, checkpoint);
    logger.warn(
      { low: range.low, high: range.high, checkpoint: checkpoint.index },
      'damaged log entries are in the own checkpoint; the log now starts after it',
    );
  }

  #tick(): void {
    const current = this.#current;
    if (this.#isEnded || current === null) return;
    this.#timer = this.#options.timers.after(TICK_INTERVAL_MS, () => this.#tick());
    this.#guard(() => {
      current.tick();
      this.#pump(current);
    });
  }

  #pump(current: RangeRepair): void {
    const messages = current.takeMessages();
    if (messages.length > 0) this.#options.send(messages);
    const { verdict } = current;
    if (verdict === null) return;
    this.#current = null;
    this.#timer?.cancel();
    this.#carryOut(verdict).then(
      () => this.#guard(() => this.#next()),
      (error: unknown) => this.#end(toHoldfastError(error)),
    );
  }

  async #carryOut(verdict: RepairVerdict): Promise<void> {
    const { identity, logger, wal } = this.#options;
    switch (verdict.kind) {
      case 'repair': {
        const { entries, isProven } = verdict;
        if (!(await this.#fill(entries, isProven))) return;
        this.#learnConfs(entries);
        const [first, last] = [entries.at(0)?.index, entries.at(-1)?.index];
        logger.warn({ low: first, high: last, isProven }, 'damaged log entries are repaired');
        return;
      }
      case 'discard': {
        const { from, witnesses } = verdict;
        await wal.discardDamaged(identity.group, from);
        while (this.#confs.length > 1 && this.conf.confIndex >= from) this.#confs.pop();
        logger.warn({ from, witnesses }, 'damaged log entries that were never committed are gone');
        return;
      }
      case 'reseed':
        throw this.#needsNewLife(verdict.leader);
      case 'lost':
        throw this.#lost(verdict.from, verdict.holders);
      default:
        unreachable(verdict);
    }
  }

  /**
   * False when the disk still knows a lost entry by name and the log that is followed has another
   * one there: nothing from that entry on is in that log, so it is given up first.
   */
  async #fill(entries: readonly Entry[], isProven: boolean): Promise<boolean> {
    const { identity, logger, wal } = this.#options;
    try {
      failpoint('repair.before-log-fill');
      await wal.repair(identity.group, entries);
      failpoint('repair.after-log-fill');
      return true;
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      const index = error.details.index;
      const isOther = error.code === 'REPAIR_REFUSED' && typeof index === 'number';
      if (isProven || !isOther || index <= this.#committed) throw thrown;
      await wal.discardDamaged(identity.group, logIndex(index));
      logger.warn({ from: index }, 'damaged log entries that were never committed are gone');
      return false;
    }
  }

  #learnConfs(entries: readonly Entry[]): void {
    const [first] = entries;
    if (!entries.some(({ type }) => type === 'conf') || first === undefined) return;
    const { checkpoint, conf, log } = this.#options;
    this.#confs.splice(0, this.#confs.length);
    this.#confs.push(...knownConfs(log, conf, checkpoint?.index ?? logIndex(0)));
  }

  #needsNewLife(leader: NodeId): HoldfastError {
    const { identity, log } = this.#options;
    const { low, high } = must(log.damage()[0]);
    return new HoldfastError(
      'NEW_LIFE_NEEDED',
      `group ${identity.group}: log entries ${low} to ${high} are damaged here, and the leader ` +
        `${leader} has them only in a snapshot: started again, ${identity.nodeId} puts what it ` +
        'has into quarantine and joins anew',
      { details: { group: identity.group, low, high, leader } },
    );
  }

  #lost(from: LogIndex, holders: readonly string[]): HoldfastError {
    const { identity, log } = this.#options;
    const range = log.damage().find(({ low, high }) => low <= from && from <= high);
    const high = range?.high ?? from;
    const lastTerm = range?.lastTerm ?? log.hardState()?.term ?? 0;
    const elsewhere =
      holders.length === 0
        ? 'no other member has them'
        : `the logs of ${holders.join(', ')} are damaged there too`;
    return new HoldfastError(
      'ENTRY_LOST',
      `group ${identity.group}: log entries ${from} to ${high} (term at most ${lastTerm}) are ` +
        `damaged here, and ${elsewhere}; ` +
        'every member was asked. What they wrote is lost: restore a backup, or keep what is left ' +
        'with holdfast cluster recover',
      { details: { group: identity.group, from, high, lastTerm, holders: [...holders] } },
    );
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (thrown) {
      this.#end(toHoldfastError(thrown));
    }
  }

  #end(error: HoldfastError | null): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#current = null;
    this.#timer?.cancel();
    if (error === null) this.#settle?.resolve();
    else this.#settle?.reject(error);
  }
}
