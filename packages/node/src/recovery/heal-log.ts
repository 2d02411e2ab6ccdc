/**
 * What happens between opening the log and building the core: a damaged log is repaired, and from
 * then on peers that repair theirs are answered. Owns the transport's messages: those of repairs
 * never reach the core.
 */
import type { EntryHasher, Logger, LogIndex, Timers } from '@holdfast/base';
import { HoldfastError, logIndex, makeConf, toHoldfastError } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import type { CheckpointRoot, GroupLog, NodeIdentity, Wal } from '@holdfast/storage';
import type { WatchedCauses } from '../heal/watched-causes.ts';
import type { PeerTransport } from '../service-api.ts';
import { EntryResponder } from './entry-responder.ts';
import type { KnownConf } from './known-confs.ts';
import { LogRepair } from './log-repair.ts';
import type { WaitingView } from './waiting-service.ts';

/** Something a node does before it has a replica. */
export interface Recovery {
  view(): WaitingView;
  /** Ends it: what waits for it rejects with SHUTTING_DOWN. */
  stop(): void;
}

/** What of a running replica the answers to peers depend on. */
export interface RepairableReplica {
  receive(messages: readonly RaftMessage[]): void;
  /** Null when it does not lead. */
  leaderLastIndex(): LogIndex | null;
  confIndex(): LogIndex;
  /** An entry could not be read for a peer. */
  onRot(index: LogIndex, rot: HoldfastError): void;
}

export interface LogHealerOptions {
  readonly identity: NodeIdentity;
  readonly wal: Wal;
  readonly root: CheckpointRoot | null;
  readonly electionTimeoutMs: number;
  readonly transport: PeerTransport;
  readonly timers: Timers;
  readonly hash: EntryHasher;
  readonly watched: WatchedCauses;
  readonly logger: Logger;
  readonly onRecovery?: (recovery: Recovery) => void;
  /** Gets the answers that the repair of this log does not wait for. */
  readonly onEntryResponse?: (message: RaftMessage) => void;
}

/** In the event of the recovery; the log tells every one. */
const HOLES_TOLD_MAX = 8;

/** The configuration a node starts from, before its log says more. */
export function startConf(identity: NodeIdentity, root: CheckpointRoot | null): KnownConf {
  if (root !== null) return { conf: root.meta.conf, confIndex: root.meta.confIndex };
  return { conf: makeConf(identity.firstConfiguration), confIndex: logIndex(0) };
}

export class LogHealer {
  readonly #options: LogHealerOptions;
  readonly #log: GroupLog;
  readonly #responder: EntryResponder;
  #repair: LogRepair | null = null;
  #replica: RepairableReplica | null = null;

  constructor(options: LogHealerOptions) {
    this.#options = options;
    const { identity, logger, root, transport, wal } = options;
    this.#log = wal.groupLog(identity.group);
    const first = startConf(identity, root).confIndex;
    this.#responder = new EntryResponder({
      ...identity,
      log: this.#log,
      send: (messages) => transport.send(messages),
      leaderLastIndex: () => this.#replica?.leaderLastIndex() ?? null,
      confIndex: () => this.#replica?.confIndex() ?? this.#repair?.conf.confIndex ?? first,
      onRot: (index, rot) => void this.#replica?.onRot(index, rot),
      logger,
    });
    transport.onMessages((messages) => this.#receive(messages));
  }

  /**
   * Resolves when every entry of the log can be read and relied on.
   * @throws HoldfastError ENTRY_LOST, NEW_LIFE_NEEDED (only a snapshot heals it), SHUTTING_DOWN,
   *   WAL_CORRUPT (term and vote are lost), WAL_IO
   */
  async heal(): Promise<void> {
    const { identity, root } = this.#options;
    if (!this.#log.isHardStateKnown()) throw unknownVote(identity);
    // A snapshot past the end was installed and the log was not restarted yet: it gives way whole.
    const isReplaced = root !== null && root.meta.index > this.#log.lastIndex();
    if (this.#log.damage().length === 0 || isReplaced) return;
    const repair = this.#makeRepair();
    this.#repair = repair;
    this.#options.onRecovery?.({ view: () => this.#view(repair), stop: () => repair.stop() });
    this.#options.transport.setMembers(repair.conf.conf.members, repair.conf.confIndex);
    await this.#recorded(repair);
    this.#repair = null;
  }

  async #recorded(repair: LogRepair): Promise<void> {
    const { watched } = this.#options;
    const key = 'log at start';
    const holes = this.#log.damage();
    const what = holes.map(({ file, high, low }) => `${file}: entries ${low} to ${high}`);
    watched.begin({
      ...{ key, type: 'corruption', priority: 0, action: 'fetchEntries', isUnconditional: true },
      what: `the log is damaged: ${what.slice(0, HOLES_TOLD_MAX).join('; ')}`,
      isGone: () => this.#log.damage().length === 0,
    });
    try {
      await repair.run();
      watched.end(key, { holes: holes.length });
    } catch (thrown) {
      watched.fail(key, toHoldfastError(thrown));
      throw thrown;
    }
  }

  /** From now on the replica gets what is not about repair. */
  handOver(replica: RepairableReplica): void {
    this.#replica = replica;
  }

  #receive(messages: readonly RaftMessage[]): void {
    const others: RaftMessage[] = [];
    for (const message of messages) {
      if (message.kind === 'entryRequest') this.#responder.answer(message);
      else if (message.kind === 'entryResponse') this.#onEntryResponse(message);
      else others.push(message);
    }
    if (others.length > 0) this.#replica?.receive(others);
  }

  #onEntryResponse(message: RaftMessage): void {
    if (this.#repair !== null) this.#repair.receive(message);
    else this.#options.onEntryResponse?.(message);
  }

  #makeRepair(): LogRepair {
    const { electionTimeoutMs, hash, identity, logger, root, timers, transport, wal } =
      this.#options;
    return new LogRepair({
      ...{ identity, wal, hash, timers, logger, electionTimeoutMs },
      log: this.#log,
      conf: startConf(identity, root),
      checkpoint: root === null ? null : root.meta,
      send: (messages) => transport.send(messages),
    });
  }

  #view(repair: LogRepair): WaitingView {
    return {
      role: 'repairing',
      membership: 'voter',
      confIndex: repair.conf.confIndex,
      recovery: recoveryOf(repair),
      term: this.#log.hardState()?.term ?? 0,
      lastIndex: this.#log.lastIndex(),
      members: repair.conf.conf.members,
      failure: null,
    };
  }
}

function recoveryOf(repair: LogRepair): string {
  const progress = repair.progress();
  if (progress === null) return 'writing repaired log entries';
  const { fetchedThrough, high, isLost, low, needsSnapshot, unheard } = progress;
  const what = `repairing log entries ${low} to ${high}, found through ${fetchedThrough}`;
  if (isLost) return `${what}; no member has the rest`;
  if (needsSnapshot) return `${what}; the rest was compacted, waiting for a leader to join anew`;
  return unheard.length === 0 ? what : `${what}; waiting for ${unheard.join(', ')}`;
}

function unknownVote({ group, nodeId }: NodeIdentity): HoldfastError {
  return new HoldfastError(
    'WAL_CORRUPT',
    `group ${group}: term and vote of ${nodeId} are lost, so it must not vote any more: move its ` +
      'data directory away and let it join again as a new incarnation',
    { details: { group, what: 'hard state' } },
  );
}
