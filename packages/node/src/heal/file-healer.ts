/**
 * What is done about each kind of damaged file while the node runs: one ladder per kind, handed to
 * the RecoveryManager, each step verified by reading the disk again.
 *
 * | damaged | made good by |
 * |---|---|
 * | sealed segment | blocks of other replicas |
 * | growing file, manifest, meta file | a new checkpoint from memory |
 * | CHECKPOINT | written again from memory; the one before: a new checkpoint |
 * | identity, EPOCH | written again from memory |
 * | a copy of term and vote | the log thread writes both anew |
 * | the log where records are | their entries written again at its end, from memory or peers |
 * | the log where nothing is yet | zeros, by the log thread |
 */
import type { GroupId, Logger, LogIndex, Member } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import { parseSegmentPath } from '@holdfast/shard-worker';
import type {
  CheckpointRoot,
  EpochRecord,
  FileSystem,
  NodeIdentity,
  Wal,
  WalFlaw,
} from '@holdfast/storage';
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
import type { Quarantine } from './quarantine.ts';
import type { RecoveryAction, RecoveryCause } from './recovery-manager.ts';
import type { AnyFlaw, ScrubTarget } from './scrub-targets.ts';
import type { Finding } from './scrubber.ts';
import type { SegmentRepairParts } from './segment-repair.ts';
import { repairSegment } from './segment-repair.ts';

/** A generation is given up by every new checkpoint; more are never kept. */
const RENEWAL_COUNT_MAX = CHECKPOINT_GENERATION_COUNT_MAX + 1;
/** A flaw of the log is remembered until its file is let go of. */
const SETTLED_COUNT_MAX = 65_536;

export interface HealedCheckpointer {
  readonly root: CheckpointRoot | null;
  renew(): Promise<CheckpointRoot>;
}

export interface FileHealerOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly identity: NodeIdentity;
  readonly wal: Pick<Wal, 'mend' | 'rewrite' | 'entriesIn' | 'distrustHead' | 'groups'>;
  readonly checkpointer: HealedCheckpointer;
  readonly segments: Omit<SegmentRepairParts, 'quarantine'>;
  readonly entries: Pick<EntryFetcher, 'fetch'>;
  readonly quarantine: Quarantine;
  /** Up to here every entry of the log is committed: what was applied is. */
  readonly committedIndex: () => LogIndex;
  /** The other members, as the newest configuration has them. */
  readonly peers: () => readonly Member[];
  /** As it was when the log was opened; null when there was none. */
  readonly epoch: EpochRecord | null;
  /** What is wrong with the target right now. */
  readonly look: (target: ScrubTarget) => Promise<readonly AnyFlaw[]>;
  readonly logger: Logger;
}

const isWalFlaw = (flaw: AnyFlaw): flaw is WalFlaw => 'fileId' in flaw;

export class FileHealer {
  readonly #options: FileHealerOptions;
  /** Flaws of the log that miss nothing any more, by path and offset. */
  readonly #settled = new Set<string>();

  constructor(options: FileHealerOptions) {
    this.#options = options;
  }

  /** A rotten place in an old log file whose records stand elsewhere stays until the file goes. */
  isSettled(target: ScrubTarget, flaw: AnyFlaw): boolean {
    return this.#settled.has(placeOf(target, flaw));
  }

  causeOf({ target, flaws }: Finding): RecoveryCause {
    const [first] = flaws;
    const more = flaws.length > 1 ? `, and ${flaws.length - 1} more places` : '';
    return {
      key: target.path,
      type: 'corruption',
      what: `${target.path}: ${first?.what ?? ''} (offset ${first?.offset ?? 0})${more}`,
      priority: 0,
      ladder: this.#ladder(target, flaws),
    };
  }

  #ladder(target: ScrubTarget, flaws: readonly AnyFlaw[]): readonly RecoveryAction[] {
    const { dataDirectory, epoch, fileSystem, identity, wal } = this.#options;
    const walDirectory = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
    switch (target.kind) {
      case 'segment':
        return [this.#copyBlocks(target)];
      case 'growing':
      case 'manifest':
      case 'meta':
      case 'previousRoot':
        return [this.#renew(target)];
      case 'root':
        return [this.#write('rewriteRoot', target, () => this.#rewriteRoot()), this.#renew(target)];
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
            const known = epoch ?? { epoch: 1, durableBatch: 0 };
            writeEpoch(fileSystem, walDirectory, { ...known, hasBatches: true });
          }),
        ];
      case 'hardState':
        return [this.#write('rewriteTermAndVote', target, () => wal.mend({ kind: 'hardStates' }))];
      case 'wal':
        return this.#walLadder(target, flaws.filter(isWalFlaw));
      default:
        return unreachable(target);
    }
  }

  #walLadder(target: ScrubTarget, flaws: readonly WalFlaw[]): readonly RecoveryAction[] {
    const rewrite: RecoveryAction = {
      name: 'rewriteEntries',
      run: () => this.#rewriteEntries(flaws),
      verify: async () => {
        const isDone = flaws.every((flaw) => this.#entriesAt(flaw).length === 0);
        if (isDone) for (const flaw of flaws) this.#settle(target, flaw);
        return isDone;
      },
    };
    if (flaws.some(({ kind }) => kind === 'batch')) return [rewrite];
    const mend = this.#write('mendLogFile', target, async () => {
      for (const flaw of flaws) await this.#mendPlace(flaw);
    });
    return [mend, rewrite];
  }

  /** What can be made as it was; the rest is left for the next action. */
  async #mendPlace({ end, epoch = 0, fileId, kind, offset, watermark = 0 }: WalFlaw) {
    const { wal } = this.#options;
    if (kind === 'zeros') await wal.mend({ kind: 'zero', fileId, from: offset, to: end });
    if (kind === 'header') await wal.mend({ kind: 'header', fileId, epoch, watermark });
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
            throw lost(target.path, result.blocks);
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

  async #rewriteEntries(flaws: readonly WalFlaw[]): Promise<Readonly<Record<string, unknown>>> {
    const { committedIndex, entries, peers, wal } = this.#options;
    let entryCount = 0;
    let bytesMoved = 0;
    const sources = new Set<string>();
    for (const flaw of flaws) {
      wal.distrustHead(flaw.fileId);
      for (const { group, indexes } of this.#entriesAt(flaw)) {
        const fetched = await entries.fetch(group, indexes, peers());
        await wal.rewrite(group, fetched.entries, committedIndex());
        entryCount += fetched.entries.length;
        bytesMoved += fetched.bytesMoved;
        for (const source of fetched.sources) sources.add(source);
      }
    }
    return { entryCount, bytesMoved, sources: [...sources] };
  }

  #entriesAt({ end, fileId, offset }: WalFlaw) {
    const { wal } = this.#options;
    return wal.groups().flatMap((group: GroupId) => {
      const indexes = wal.entriesIn(group, fileId, offset, end);
      return indexes.length === 0 ? [] : [{ group, indexes }];
    });
  }

  #settle(target: ScrubTarget, flaw: AnyFlaw): void {
    if (this.#settled.size < SETTLED_COUNT_MAX) this.#settled.add(placeOf(target, flaw));
  }
}

const placeOf = (target: ScrubTarget, flaw: AnyFlaw): string => `${target.path}@${flaw.offset}`;

function postponed(path: string, what: string): HoldfastError {
  const message = `${path} cannot be made whole now: ${what}; it is tried again`;
  return new HoldfastError('REPAIR_POSTPONED', message, { details: { path, what } });
}

function lost(path: string, blocks: readonly number[]): HoldfastError {
  const message =
    `${path}: blocks ${blocks.join(', ')} are damaged in every copy of the cluster; the rows in ` +
    'them are never served from it: restore a backup';
  return new HoldfastError('SEGMENT_LOST', message, { details: { path, blocks: [...blocks] } });
}
