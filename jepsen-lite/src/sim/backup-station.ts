/**
 * The store of a run and its operator: backups and prunes by hand, moods of the store, and what
 * must hold of it at every moment and in the end.
 *
 * - Every piece of the archive is of committed entries, the very ones, and begins where the one
 *   before ends.
 * - In a store that is well everything committed is archived after a while, and a backup succeeds.
 * - Every backup that is listed is whole.
 * - A restore to a moment gives the rows that a node had then, or is refused where retention or a
 *   gap has taken what it needs.
 */
import type { HoldfastError, LogIndex, NodeId } from '@holdfast/base';
import { deriveSeed, SeededRandom, unreachable } from '@holdfast/base';
import type { ClusterWatch, SimCluster, SimNode, SimStore } from '@holdfast/node/testing';
import { rowDigests, SimArchive } from '@holdfast/node/testing';
import { describeError } from './describe-error.ts';
import type { BackupAction, BackupPlan, NodePick } from './plan.ts';
import type { RareState } from './rare-state-table.ts';
import type { Trace } from './trace.ts';

export interface BackupStationParts {
  readonly cluster: SimCluster;
  readonly store: SimStore;
  readonly plan: BackupPlan;
  readonly watch: ClusterWatch;
  readonly trace: Trace;
  readonly count: (state: RareState) => void;
  readonly onProblem: (problem: string) => void;
}

/** What the end of a run lends: time that moves until something holds, or work is done. */
export interface MovingTime {
  until(condition: () => boolean, limitMs: number, what: string): Promise<void>;
  finish<Value>(work: Promise<Value>, limitMs: number, what: string): Promise<Value>;
}

/** The longest back-off, twice, and the way there. */
const ARCHIVE_LIMIT_MS = 90_000;
/** A prune that died is waited for by a backup: up to 15 minutes (ADR 0041). */
const BACKUP_LIMIT_MS = 17 * 60_000;
const STORE: NodeId = 'the store' as NodeId;

/** Where nothing is left to begin with, or to go through. */
const LOST_BY_RULE: ReadonlySet<string> = new Set([
  'ARCHIVE_GAP',
  'BACKUP_CORRUPT',
  'BACKUP_NOT_FOUND',
  'RESTORE_TARGET',
]);

interface NotedMoment {
  readonly index: number;
  readonly digests: string;
}

export class BackupStation {
  readonly #parts: BackupStationParts;
  readonly #archive: SimArchive;
  readonly #random: SeededRandom;
  readonly #moments: NotedMoment[] = [];
  /** The archive reaches so far. */
  #endIndex = 0;
  #hasGap = false;
  #isLogPruned = false;
  #isHealed = false;

  constructor(parts: BackupStationParts) {
    this.#parts = parts;
    const { cluster, plan, store } = parts;
    this.#archive = new SimArchive(store.objects, cluster.clusterId, plan.salt);
    this.#random = new SeededRandom(deriveSeed(plan.salt, 'station'));
    store.observer = {
      onStored: (key, isOrphan) => this.#stored(key, isOrphan),
      onRefused: (key) => this.#refused(key),
      onUnsure: () => parts.count('storeUnsure'),
      onRemoved: (keys) => this.#removed(keys),
    };
  }

  /** From now on the actions of the plan happen. */
  begin(): void {
    const { cluster, plan } = this.#parts;
    for (const { action, atMs } of plan.actions) {
      cluster.scheduler.clock.after(atMs, () => {
        if (!this.#isHealed) this.#act(action);
      });
    }
  }

  heal(): void {
    this.#isHealed = true;
    this.#parts.store.mood = 'well';
  }

  /** All nodes are up behind one leader, and nobody writes. */
  async check(time: MovingTime, leader: SimNode): Promise<void> {
    const { committedIndex } = this.#parts.watch.ledger;
    const isArchived = (): boolean => this.#endIndex >= committedIndex;
    await time.until(isArchived, ARCHIVE_LIMIT_MS, `index ${committedIndex} is archived`);
    await this.#backUpAtLast(time, leader);
    await this.#checkBackups();
    const report = await this.#archive.verifyLog(null);
    if (report.error !== null) this.#fail(`the archive is damaged: ${report.error.message}`);
    if ((report.lastIndex ?? 0) < committedIndex) this.#fail('the archive has lost its end');
    await this.#checkRestore();
  }

  #act(action: BackupAction): void {
    const { cluster, store, trace } = this.#parts;
    trace.note(`store: ${JSON.stringify(action)}`);
    switch (action.kind) {
      case 'backUp': {
        const node = this.#pick(action.node);
        this.#ask(node, () => node?.node.backup?.create({ type: action.type }));
        return;
      }
      case 'prune': {
        const leader = this.#pick('leader');
        this.#ask(leader, () => leader?.node.backup?.prune({}));
        return;
      }
      case 'note':
        this.#note(this.#pick('follower'));
        return;
      case 'mood':
        store.mood = action.mood;
        cluster.scheduler.clock.after(action.forMs, () => {
          if (store.mood === action.mood) store.mood = 'well';
        });
        return;
      default:
        unreachable(action);
    }
  }

  /** What is refused or fails leaves nothing behind that anybody could take for a backup. */
  #ask(node: SimNode | null, work: () => Promise<unknown> | undefined): void {
    if (node === null) return;
    work()?.then(
      () => undefined,
      (error: unknown) => this.#parts.trace.note(`store: ${describeError(error)}`),
    );
  }

  #note(node: SimNode | null): void {
    if (node === null || node.isLying) return;
    const { boot } = node;
    const index = node.node.replica.applier.appliedIndex;
    rowDigests(node, index).then(
      (digests) => {
        if (node.boot === boot && !node.isLying) this.#moments.push({ index, digests });
      },
      // It stopped, lost a lane, or has applied more meanwhile: no moment this time.
      () => undefined,
    );
  }

  #stored(key: string, isOrphan: boolean): void {
    const { count, trace } = this.#parts;
    trace.note(`store: has ${key}`);
    if (isOrphan) count('storedForTheDead');
    if (key.endsWith('/manifest')) count('backupMade');
    const firstIndex = this.#archive.firstIndexOf(key);
    if (firstIndex === null) return;
    this.#checkPiece(firstIndex).catch((error: unknown) => this.#fail(describeError(error)));
  }

  async #checkPiece(firstIndex: number): Promise<void> {
    const { ledger } = this.#parts.watch;
    // A leader that stood still may put what retention has removed since: it is the same again.
    const isAgain = this.#isLogPruned && firstIndex <= this.#endIndex;
    if (firstIndex !== this.#endIndex + 1 && !isAgain) {
      this.#fail(`the archive ends at ${this.#endIndex} and goes on at ${firstIndex}`);
    }
    const piece = await this.#archive.piece(firstIndex);
    const isGap = piece.kind === 'gap';
    const last = isGap ? piece.lastIndex : (piece.entries.at(-1)?.index ?? firstIndex);
    this.#endIndex = Math.max(last, this.#endIndex);
    if (last > ledger.committedIndex) {
      this.#fail(`index ${last} is archived and only ${ledger.committedIndex} is committed`);
    }
    if (isGap) {
      this.#hasGap = true;
      this.#parts.count('archiveGap');
      ledger.checkSum(STORE, last as LogIndex, piece.lastSum, 'a gap of the archive');
      return;
    }
    for (const { index, sum } of piece.entries) ledger.checkSum(STORE, index, sum, 'the archive');
  }

  #refused(key: string): void {
    if (this.#archive.firstIndexOf(key) !== null) this.#parts.count('archiveRaceLost');
  }

  #removed(keys: readonly string[]): void {
    const { count, trace } = this.#parts;
    trace.note(`store: lost ${keys.join(' ')}`);
    if (keys.some((key) => key.endsWith('/manifest'))) count('backupPruned');
    if (keys.every((key) => this.#archive.firstIndexOf(key) === null)) return;
    this.#isLogPruned = true;
    count('archivePruned');
  }

  /** Something else may be under way on the leader: the backup after a gap, or a prune. */
  async #backUpAtLast(time: MovingTime, leader: SimNode): Promise<void> {
    const { backup } = leader.node;
    if (backup === null) return;
    const { cluster, store } = this.#parts;
    const isPruning = cluster.nodes.some(({ node }) => node.backup?.status().isPruning === true);
    if (!isPruning) store.outliveDeadPrunes();
    const isIdle = (): boolean => backup.status().underWay === null && !backup.status().isPruning;
    await time.until(isIdle, BACKUP_LIMIT_MS, 'the backup under way ends');
    const made = backup.create({ type: 'full' });
    const { outcomes } = await time.finish(made, BACKUP_LIMIT_MS, 'a last backup');
    for (const outcome of outcomes) {
      if (outcome.kind === 'failure') this.#fail(`the last backup: ${outcome.error.message}`);
    }
  }

  async #checkBackups(): Promise<void> {
    const { backups, damaged } = await this.#archive.backups();
    if (backups.length === 0) this.#fail('the store has no backup');
    for (const { backupId, error } of damaged) this.#fail(`${backupId}: ${error.message}`);
    for (const { backupId } of backups) {
      const { bad } = await this.#archive.verify(backupId);
      for (const { error, key } of bad) this.#fail(`${backupId}: ${key}: ${error?.message}`);
    }
  }

  /** To one of the moments behind the oldest backup. */
  async #checkRestore(): Promise<void> {
    const { backups } = await this.#archive.backups();
    const oldest = Math.min(...backups.map(({ index }) => index));
    const moments = this.#moments.filter(({ index }) => index >= oldest);
    const moment = moments[this.#random.nextBelow(Math.max(1, moments.length))];
    if (moment === undefined) return;
    const { digests, index } = moment;
    const outcome = await this.#archive.restore(index);
    if (outcome.kind === 'refused') return this.#checkRefusal(index, outcome.error);
    this.#parts.count('restoreMatches');
    if (outcome.digests !== digests) {
      this.#fail(`a restore to ${index} has ${outcome.digests}, the cluster had ${digests}`);
    }
  }

  #checkRefusal(index: number, { code, message }: HoldfastError): void {
    this.#parts.count('restoreRefused');
    const mayRefuse = (this.#hasGap || this.#isLogPruned) && LOST_BY_RULE.has(code);
    if (!mayRefuse) this.#fail(`a restore to ${index} is refused: ${code}: ${message}`);
  }

  #pick(pick: NodePick): SimNode | null {
    const running = this.#parts.cluster.nodes.filter((node) => node.isRunning && !node.isPaused);
    const isLeading = (node: SimNode): boolean => node.node.replica.soft.role === 'leader';
    if (pick === 'leader') return running.find(isLeading) ?? null;
    if (pick === 'follower') return running.find((node) => !isLeading(node)) ?? null;
    return running[pick % Math.max(1, running.length)] ?? null;
  }

  #fail(problem: string): void {
    this.#parts.onProblem(problem);
  }
}
