/**
 * What is done about each kind of damaged file while the node runs: one ladder per kind, handed to
 * the RecoveryManager, each step verified by reading the disk again.
 *
 * | damaged | made good by |
 * |---|---|
 * | sealed segment | blocks of other replicas; of one that was merged away: new checkpoints |
 * | growing file, manifest, meta file | a new checkpoint from memory |
 * | CHECKPOINT | written again from memory; the one before: a new checkpoint |
 * | identity, EPOCH | written again from memory |
 * | a copy of term and vote | the log thread writes both anew |
 * | the log where records are | written again at its end; what nobody has: the log begins later |
 * | the log where no batch is | zeros, by the log thread |
 * | a saved graph | taken out of use; saved again with the next checkpoint |
 *
 * Rot in old log files stays until they go: what was there stands elsewhere, and that is remembered
 * (`isSettled`). A file that is repaired is looked at anew when its turn comes, so that what was
 * damaged meanwhile is made good as well.
 */
import type { GroupId, Logger, LogIndex, Member } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type { SavedGraphFile } from '@holdfast/shard-worker';
import { describeRows, parseSegmentPath, quarantineGeneration } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, NodeIdentity, Wal, WalFlaw } from '@holdfast/storage';
import {
  CHECKPOINT_GENERATION_COUNT_MAX,
  joinPath,
  rewriteCheckpointRoot,
  WAL_DIRECTORY_NAME,
  writeEpoch,
  writeIdentity,
} from '@holdfast/storage';
import { keepIdentityCopy } from '../recovery/identity-copy.ts';
import type { EntryFetcher } from './entry-fetcher.ts';
import { LogRepair } from './log-repair.ts';
import type { Quarantine } from './quarantine.ts';
import type { RecoveryAction, RecoveryCause } from './recovery-manager.ts';
import type { AnyFlaw, ScrubTarget } from './scrub-targets.ts';
import type { Finding } from './scrubber.ts';
import type { SegmentRepairParts, SegmentRepairResult } from './segment-repair.ts';
import { repairSegment } from './segment-repair.ts';

/** A generation is given up by every new checkpoint; more are never kept. */
const RENEWAL_COUNT_MAX = CHECKPOINT_GENERATION_COUNT_MAX + 1;
/** A flaw of the log is remembered until its file is let go of. */
const SETTLED_COUNT_MAX = 65_536;

export interface HealedCheckpointer {
  readonly root: CheckpointRoot | null;
  readonly group: GroupId;
  renew(givenUpIndex?: number): Promise<CheckpointRoot>;
}

export type HealedWal = Pick<
  Wal,
  'mend' | 'rewrite' | 'entriesLostBy' | 'distrustHead' | 'groups' | 'files' | 'epoch'
>;

export interface FileHealerOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly identity: NodeIdentity;
  readonly wal: HealedWal;
  readonly checkpointer: HealedCheckpointer;
  readonly segments: Omit<SegmentRepairParts, 'quarantine'>;
  readonly entries: Pick<EntryFetcher, 'fetch'>;
  readonly quarantine: Quarantine;
  /** What the newest checkpoint is made of, by path. */
  readonly newestFiles: () => ReadonlySet<string>;
  /** Up to here every entry of the log is committed: what was applied is. */
  readonly committedIndex: () => LogIndex;
  /** The other members, as the newest configuration has them. */
  readonly peers: () => readonly Member[];
  /** What is wrong with the target right now. */
  readonly look: (target: ScrubTarget) => Promise<readonly AnyFlaw[]>;
  readonly logger: Logger;
}

const isWalFlaw = (flaw: AnyFlaw): flaw is WalFlaw => 'fileId' in flaw;

export class FileHealer {
  readonly #options: FileHealerOptions;
  /** Flaws of the log that miss nothing any more, by path and place. */
  readonly #settled = new Set<string>();
  /** The log takes one repair at a time. */
  #logTurn: Promise<unknown> = Promise.resolve();

  constructor(options: FileHealerOptions) {
    this.#options = options;
  }

  /** A rotten place in an old log file whose records stand elsewhere stays until the file goes. */
  isSettled(target: ScrubTarget, flaw: AnyFlaw): boolean {
    return this.#settled.has(placeOf(target, flaw));
  }

  causeOf({ target, flaws }: Finding): RecoveryCause {
    const places = flaws.map(({ offset, what }) => ({
      offset: offset ?? 0,
      what: `${target.path}: ${what} (offset ${offset ?? 0})`,
    }));
    return {
      ...{ key: target.path, type: 'corruption', priority: 0, places },
      what: `${target.path} is damaged in ${flaws.length} places`,
      ladder: this.#ladder(target, flaws),
    };
  }

  #ladder(target: ScrubTarget, flaws: readonly AnyFlaw[]): readonly RecoveryAction[] {
    const { dataDirectory, fileSystem, identity, wal } = this.#options;
    const walDirectory = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
    switch (target.kind) {
      case 'segment':
        return this.#segmentLadder(target);
      case 'growing':
      case 'manifest':
      case 'meta':
      case 'previousRoot':
        return [this.#renew(target)];
      case 'root':
        // Either leaves a root of the newest state: alternatives.
        return [
          { ...this.#write('rewriteRoot', target, () => this.#rewriteRoot()), rank: 0 },
          { ...this.#renew(target), rank: 0 },
        ];
      case 'identity':
        return [
          this.#write('rewriteIdentity', target, () =>
            writeIdentity(fileSystem, dataDirectory, identity),
          ),
        ];
      case 'identityCopy':
        return [
          this.#write('rewriteIdentity', target, () =>
            keepIdentityCopy(fileSystem, dataDirectory, identity),
          ),
        ];
      case 'epoch':
        return [
          this.#write('rewriteEpoch', target, () => {
            writeEpoch(fileSystem, walDirectory, wal.epoch);
          }),
        ];
      case 'hardState':
        return [this.#write('rewriteTermAndVote', target, () => wal.mend({ kind: 'hardStates' }))];
      case 'wal':
        return this.#walLadder(target, flaws);
      case 'graph':
        return [this.#write('quarantineGraph', target, () => this.#quarantineGraph(target.file))];
      default:
        return unreachable(target);
    }
  }

  /** The last resort is a log that begins behind what cannot be had from anybody. */
  #walLadder(target: ScrubTarget, flaws: readonly AnyFlaw[]): readonly RecoveryAction[] {
    const isWithRecords = flaws.some((flaw) => isWalFlaw(flaw) && flaw.kind === 'batch');
    const verify = () => this.#isSound(target);
    return [
      {
        name: isWithRecords ? 'rewriteEntries' : 'mendLogFile',
        run: () => this.#mendLog(target),
        verify,
      },
      {
        name: 'shortenLog',
        run: () => this.#shortenLog(target),
        verify,
      },
    ];
  }

  /** Until no entry that is lost is in the log; one that a kept generation needs takes several. */
  async #shortenLog(target: ScrubTarget): Promise<Readonly<Record<string, unknown>>> {
    const { checkpointer } = this.#options;
    let renewals = 0;
    let lostIndex = await this.#lastLostIndex(target);
    do {
      await checkpointer.renew(lostIndex);
      renewals += 1;
      lostIndex = await this.#lastLostIndex(target);
    } while (renewals < RENEWAL_COUNT_MAX && lostIndex > 0);
    return { ...(await this.#mendLog(target)), renewals };
  }

  /** The last entry whose only place here is damaged; 0: none. */
  async #lastLostIndex(target: ScrubTarget): Promise<number> {
    const { checkpointer, look, wal } = this.#options;
    const flaws = (await look(target)).filter(isWalFlaw);
    const lost = flaws.flatMap((flaw) => wal.entriesLostBy(checkpointer.group, flaw));
    return lost.reduce((last: number, index) => Math.max(last, index), 0);
  }

  #mendLog(target: ScrubTarget): Promise<Readonly<Record<string, unknown>>> {
    const turn = this.#logTurn.then(async () => {
      const flaws = await this.#options.look(target);
      const repair = new LogRepair(this.#options);
      for (const flaw of flaws.filter(isWalFlaw)) {
        if (this.isSettled(target, flaw)) continue;
        if (await repair.mend(flaw)) this.#settle(target, flaw);
      }
      return repair.facts;
    });
    this.#logTurn = turn.catch(() => undefined);
    return turn;
  }

  /** When neither helps, what is told is what the blocks that nobody has have taken with them. */
  #segmentLadder(target: ScrubTarget & { readonly checksum: string }): readonly RecoveryAction[] {
    const copyBlocks = this.#copyBlocks(target);
    let reason: unknown = null;
    const run = async () => {
      try {
        return await copyBlocks.run();
      } catch (thrown) {
        reason = thrown;
        throw thrown;
      }
    };
    return [{ ...copyBlocks, run }, this.#outlive(target, () => reason)];
  }

  #copyBlocks(target: ScrubTarget & { readonly checksum: string }): RecoveryAction {
    const { peers, quarantine, segments } = this.#options;
    return {
      name: 'copyBlocks',
      run: async () => {
        const named = parseSegmentPath(target.path);
        if (named === null) throw postponed(target.path, 'it is no segment');
        const file = { ...named, checksum: target.checksum };
        const result = await repairSegment({ ...segments, quarantine }, file, peers());
        switch (result.kind) {
          case 'sound':
          case 'repaired':
            return result;
          case 'postponed':
            throw postponed(target.path, result.what);
          case 'lost':
            throw segmentLost(target.path, result);
          default:
            return unreachable(result);
        }
      },
      verify: () => this.#isSound(target),
    };
  }

  /** Until no generation names the file: a file of the one before takes two. */
  #renew(target: ScrubTarget): RecoveryAction {
    const { checkpointer, quarantine } = this.#options;
    const action = 'newCheckpoint';
    return {
      name: action,
      run: async () => {
        quarantine.keepFile({ path: target.path, what: 'it is damaged', action });
        let renewals = 0;
        do {
          await checkpointer.renew();
          renewals += 1;
        } while (renewals < RENEWAL_COUNT_MAX && !(await this.#isSound(target)));
        return { renewals };
      },
      verify: () => this.#isSound(target),
    };
  }

  /**
   * A segment that has been merged into another since is named by old generations only, and the
   * others may have let it go long ago: nobody has its blocks, and nobody needs them any more.
   */
  #outlive(target: ScrubTarget, reason: () => unknown): RecoveryAction {
    const { checkpointer, newestFiles } = this.#options;
    const renew = this.#renew(target);
    return {
      ...renew,
      attemptCountMax: 1,
      run: async () => {
        await checkpointer.renew();
        if (newestFiles().has(target.path)) {
          throw reason() ?? postponed(target.path, 'the state needs it');
        }
        return renew.run();
      },
    };
  }

  #write(name: string, target: ScrubTarget, write: () => void | Promise<void>): RecoveryAction {
    return {
      name,
      run: async () => {
        await write();
        return {};
      },
      verify: () => this.#isSound(target),
    };
  }

  #rewriteRoot(): void {
    const { checkpointer, dataDirectory, fileSystem, quarantine } = this.#options;
    const { root } = checkpointer;
    if (root === null) return;
    quarantine.keepFile({ path: 'CHECKPOINT', what: 'it is damaged', action: 'rewriteRoot' });
    rewriteCheckpointRoot(fileSystem, dataDirectory, root);
  }

  /** Sound, or no part of the state any more; what is settled is sound enough. */
  async #isSound(target: ScrubTarget): Promise<boolean> {
    const flaws = await this.#options.look(target);
    return flaws.every((flaw) => this.isSettled(target, flaw));
  }

  /** Moved aside as a whole; the lane saves the graph again with the next checkpoint. */
  #quarantineGraph({ generation, shard, uid }: SavedGraphFile): void {
    const { dataDirectory, fileSystem } = this.#options;
    const place = { fs: fileSystem, dataDirectory, uid, shard };
    quarantineGeneration(place, generation, 'the scrubber has found it damaged');
  }

  #settle(target: ScrubTarget, flaw: AnyFlaw): void {
    if (this.#settled.size < SETTLED_COUNT_MAX) this.#settled.add(placeOf(target, flaw));
  }
}

/**
 * What is settled is settled for what was known to be committed before it: more damage in front may
 * take that away, and then a start doubts more than was written again.
 */
export function placeOf({ path }: Pick<ScrubTarget, 'path'>, flaw: AnyFlaw): string {
  if (!isWalFlaw(flaw)) return `${path}@${flaw.offset}-`;
  const committed = [...(flaw.committed ?? [])].map((pair) => pair.join(':')).join();
  return `${path}@${flaw.offset}-${flaw.end} ${committed}`;
}

function postponed(path: string, what: string): HoldfastError {
  const message = `${path} cannot be made whole now: ${what}; it is tried again`;
  return new HoldfastError('REPAIR_POSTPONED', message, { details: { path, what } });
}

/** Names the points as well, as far as the damaged copies tell. */
export function segmentLost(
  path: string,
  { blocks, rows }: Extract<SegmentRepairResult, { readonly kind: 'lost' }>,
): HoldfastError {
  const message =
    `${path}: blocks ${blocks.join(', ')} are damaged in every copy of the cluster, with ` +
    `${describeRows(rows)}; they are never served from it: restore a backup`;
  return new HoldfastError('SEGMENT_LOST', message, { details: { path, blocks, rows } });
}
