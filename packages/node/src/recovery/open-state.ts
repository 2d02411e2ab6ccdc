/**
 * Loads the state of a checkpoint into lanes and memory, and does not give up when its files are
 * damaged: the phase beside the repair of the log (docs/adr/0025). Least drastic first:
 *
 * 1. sealed segments are made whole with blocks of peers, for as long as that takes;
 * 2. files that only this node has (meta, manifest, growing): the generation before, if the log
 *    still reaches back to it;
 * 3. without any checkpoint: the log from its beginning, if it was never cut;
 * 4. else a new life: everything goes to quarantine and comes back as a snapshot.
 *
 * Meanwhile the node shows what it does, refuses clients, and answers peers that repair theirs. A
 * clean start looks at nothing twice: loading verifies every byte anyway.
 */
import type { Clock, Logger, LogIndex, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError, logIndex, must, toHoldfastError } from '@holdfast/base';
import { damagesOf, isDamage, parseSegmentPath } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, GroupLog, NodeIdentity } from '@holdfast/storage';
import { checkpointRootNames, joinPath, scrubBlockFile } from '@holdfast/storage';
import { segmentLost } from '../heal/file-healer.ts';
import type { NodeCare } from '../heal/node-care.ts';
import type { AnyFlaw, ScrubTarget } from '../heal/scrub-targets.ts';
import { blockFiles } from '../heal/scrub-targets.ts';
import { repairSegment } from '../heal/segment-repair.ts';
import type { PeerTransport } from '../service-api.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import type { Recovery } from './heal-log.ts';
import { startConf } from './heal-log.ts';
import { knownConfs } from './known-confs.ts';
import { tellDamage } from './start-state.ts';
import type { WaitingView } from './waiting-service.ts';

const RETRY_DELAY_MS = 1_000;
/**
 * A peer makes a checkpoint when it is asked for a segment that it has not written yet, so nobody
 * has it only if that is so for a while, and of several answers.
 */
const NOWHERE_MS_MIN = 10_000;
const NOWHERE_ROUND_COUNT_MIN = 3;

export interface StateOpenerOptions {
  readonly identity: NodeIdentity;
  readonly dataDirectory: string;
  readonly fileSystem: FileSystem;
  readonly log: GroupLog;
  readonly care: NodeCare;
  readonly transport: Pick<PeerTransport, 'setMembers'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly onRecovery?: (recovery: Recovery) => void;
  /** As loadStartState. @throws HoldfastError (as a rejection): files are damaged */
  readonly load: (root: CheckpointRoot | null) => Promise<MetaMachine>;
}

export interface OpenedState {
  /** Of the generation in use, and those before it; empty on a node without a checkpoint. */
  readonly roots: readonly CheckpointRoot[];
  readonly meta: MetaMachine;
}

interface DamagedFile {
  readonly target: Extract<ScrubTarget, { readonly checksum: string }>;
  readonly flaws: readonly AnyFlaw[];
}

export class StateOpener {
  readonly #options: StateOpenerOptions;
  #doing = 'looking at the files of the checkpoint';
  #failure: string | null = null;
  readonly #done = { segmentsRepaired: 0, bytesMoved: 0 };
  #wake: ((isStopped: boolean) => void) | null = null;
  #timer: TimerHandle | null = null;
  #isStopped = false;
  /** Checksums of files that no member had, however often asked: older states name them too. */
  readonly #nowhere = new Set<string>();

  constructor(options: StateOpenerOptions) {
    this.#options = options;
  }

  /**
   * The state of the newest of `roots` (all readable generations, newest first), or of the best
   * that can be had when that is damaged.
   * @throws HoldfastError NEW_LIFE_NEEDED, CHECKPOINT_CORRUPT (without peers), SHUTTING_DOWN,
   *   FILE_IO
   */
  async open(roots: readonly CheckpointRoot[]): Promise<OpenedState> {
    try {
      const newest = roots[0] ?? null;
      this.#refuseGap(newest);
      return { roots, meta: await this.#options.load(newest) };
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown;
      this.#options.logger.error({ code: thrown.code, details: thrown.details }, thrown.message);
      return this.#recorded(thrown, () => this.#recover(roots, thrown));
    }
  }

  /** The node has no other work until this is done, so it waits for nobody's leave. */
  async #recorded(cause: HoldfastError, recover: () => Promise<OpenedState>) {
    const { watched } = this.#options.care;
    const key = 'state at start';
    let isOpen = false;
    watched.begin({
      ...{ key, type: 'corruption', what: cause.message, priority: 0, action: 'openDamagedState' },
      isUnconditional: true,
      isGone: () => isOpen,
    });
    try {
      const opened = await recover();
      isOpen = true;
      watched.end(key, { ...this.#done, index: opened.roots[0]?.meta.index ?? 0 });
      return opened;
    } catch (thrown) {
      watched.fail(key, toHoldfastError(thrown));
      throw thrown;
    }
  }

  async #recover(roots: readonly CheckpointRoot[], cause: HoldfastError): Promise<OpenedState> {
    this.#show(roots[0] ?? null);
    for (const [age, root] of roots.entries()) {
      if ((age > 0 && !this.#canReplayFrom(root)) || this.#hasGap(root)) continue;
      if (!(await this.#mend(root))) continue;
      const meta = await this.#tryLoad(root);
      if (meta === null) continue;
      const { index } = root.meta;
      if (age > 0) this.#options.logger.error({ index }, 'an older checkpoint is used');
      return { roots: roots.slice(age), meta };
    }
    if (!this.#hasGap(null)) {
      this.#quarantineRoots('every checkpoint is damaged; the log has all of it');
      const meta = await this.#tryLoad(null);
      if (meta !== null) return { roots: [], meta };
    }
    if (this.#options.care.peers.length === 0) throw cause;
    await this.#untilDispensable();
    throw newLifeNeeded(this.#options, cause);
  }

  /**
   * The log of this node may be one of the two that hold what was acknowledged, so it is given up
   * only when a majority without it has gone on: when a peer has applied an entry that this log
   * never had. Everything committed before is in the logs of those who committed that one.
   */
  async #untilDispensable(): Promise<void> {
    const { care, log } = this.#options;
    for (;;) {
      this.#doing = 'no checkpoint can be used; waiting until the others have gone on without it';
      for (const peer of care.peers) {
        const appliedIndex = (await care.factsOf(peer))?.appliedIndex ?? 0;
        this.#refuseStopped();
        if (appliedIndex > log.lastIndex()) return;
      }
      await this.#sleep(RETRY_DELAY_MS);
    }
  }

  /** True when every file of the generation is sound at last; false when that cannot be. */
  async #mend(root: CheckpointRoot): Promise<boolean> {
    let nowhereCount = 0;
    let nowhereSinceMs = 0;
    let isTold = false;
    for (;;) {
      const damaged = await this.#damagedFiles(root);
      if (damaged.length === 0) return true;
      if (!isTold) tellDamage(this.#options.logger, root, damaged.flatMap(flawsOf));
      isTold = true;
      if (damaged.some(({ target }) => target.kind !== 'segment')) return false;
      if (damaged.some(({ target }) => this.#nowhere.has(target.checksum))) return false;
      const rounds = await this.#repairAll(damaged);
      const nowMs = this.#options.clock.monotonicMs();
      nowhereCount = rounds.isNowhere ? nowhereCount + 1 : 0;
      if (nowhereCount === 1) nowhereSinceMs = nowMs;
      const isLong = nowMs - nowhereSinceMs >= NOWHERE_MS_MIN;
      if (isLong && nowhereCount >= NOWHERE_ROUND_COUNT_MIN) {
        for (const { target } of damaged) this.#nowhere.add(target.checksum);
        return false;
      }
      if (rounds.openCount > 0) await this.#sleep(RETRY_DELAY_MS);
    }
  }

  async #damagedFiles(root: CheckpointRoot): Promise<readonly DamagedFile[]> {
    const { care, dataDirectory, fileSystem } = this.#options;
    const place = { fileSystem, dataDirectory, roots: () => [root] };
    const damaged: DamagedFile[] = [];
    for (const target of blockFiles(place)) {
      if (!('checksum' in target)) continue;
      const path = joinPath(dataDirectory, target.path);
      const steps = scrubBlockFile(fileSystem, path, target.checksum);
      for (;;) {
        const step = steps.next();
        if (step.done !== true) await care.pause();
        else if (step.value.length > 0) damaged.push({ target, flaws: step.value });
        if (step.done === true) break;
      }
      this.#refuseStopped();
    }
    return damaged;
  }

  async #repairAll(damaged: readonly DamagedFile[]) {
    const { care, logger } = this.#options;
    let openCount = 0;
    let isNowhere = false;
    this.#failure = null;
    for (const [i, { target }] of damaged.entries()) {
      const { checksum, path } = target;
      this.#doing = `repairing ${path} from the other members, file ${i + 1} of ${damaged.length}`;
      const named = must(parseSegmentPath(path), 'only segments are repaired from others');
      const result = await repairSegment(care.segmentParts, { ...named, checksum }, care.peers);
      this.#refuseStopped();
      switch (result.kind) {
        case 'sound':
          break;
        case 'repaired':
          logger.warn({ path, ...result }, 'a damaged segment is repaired');
          this.#done.segmentsRepaired += 1;
          this.#done.bytesMoved += result.bytesMoved;
          break;
        case 'postponed':
          openCount += 1;
          isNowhere ||= result.isNowhere;
          this.#doing = `${path} is damaged: ${result.what}; asking again`;
          break;
        case 'lost':
          openCount += 1;
          this.#failure = describeLost(segmentLost(path, result), logger);
          break;
      }
    }
    return { openCount, isNowhere };
  }

  /** Null when it is damaged all the same: what it was made of does not fit together. */
  async #tryLoad(root: CheckpointRoot | null): Promise<MetaMachine | null> {
    this.#doing = 'loading the state';
    try {
      return await this.#options.load(root);
    } catch (thrown) {
      if (!isDamage(thrown)) throw thrown;
      this.#options.logger.error({ code: thrown.code, details: thrown.details }, thrown.message);
      tellDamage(this.#options.logger, root, damagesOf(thrown));
      return null;
    }
  }

  #quarantineRoots(what: string): void {
    const { care, dataDirectory, fileSystem } = this.#options;
    for (const path of checkpointRootNames(fileSystem, dataDirectory)) {
      care.quarantine.keepFile({ path, what, action: 'an older state is loaded' });
      fileSystem.remove(joinPath(dataDirectory, path));
    }
    fileSystem.syncDirectory(dataDirectory);
  }

  /** The log does not reach back to the end of `root`. */
  #hasGap(root: CheckpointRoot | null): boolean {
    return this.#options.log.base().index > (root?.meta.index ?? 0);
  }

  /** The log has every entry after `root`, and knows the one at its end. */
  #canReplayFrom({ meta }: CheckpointRoot): boolean {
    return this.#options.log.term(meta.index) === meta.term;
  }

  #refuseGap(root: CheckpointRoot | null): void {
    if (!this.#hasGap(root)) return;
    const logBase = this.#options.log.base().index;
    const checkpoint = root?.meta.index ?? (0 as LogIndex);
    throw new HoldfastError(
      'CHECKPOINT_CORRUPT',
      `the log starts after index ${logBase}, the checkpoint ends at ${checkpoint}: entries ` +
        'between them are missing; restore this node from a peer',
      { details: { logBase, checkpoint } },
    );
  }

  #show(root: CheckpointRoot | null): void {
    const { care, identity, log, onRecovery, transport } = this.#options;
    // The log may know members that the checkpoint does not: those are the ones that answer.
    const known = knownConfs(log, startConf(identity, root), root?.meta.index ?? logIndex(0));
    const { conf, confIndex } = must(known.at(-1));
    transport.setMembers(conf.members, confIndex);
    care.askMembers(conf.members);
    const view = (): WaitingView => ({
      role: 'repairing',
      membership: 'voter',
      confIndex,
      recovery: this.#doing,
      term: log.hardState()?.term ?? 0,
      lastIndex: log.lastIndex(),
      members: conf.members,
      failure: this.#failure,
    });
    onRecovery?.({ view, stop: () => this.#stop() });
  }

  #stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#wake?.(true);
  }

  async #sleep(delayMs: number): Promise<void> {
    await new Promise<boolean>((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#options.timers.after(delayMs, () => resolve(false));
    });
    this.#refuseStopped();
  }

  #refuseStopped(): void {
    if (!this.#isStopped) return;
    throw new HoldfastError('SHUTTING_DOWN', 'this node is shutting down; use another');
  }
}

const flawsOf = ({ target: { kind, path }, flaws }: DamagedFile) =>
  flaws.map(({ offset, what }) => ({ kind, path, offset, what }));

function newLifeNeeded(
  { identity }: { readonly identity: NodeIdentity },
  cause: HoldfastError,
): HoldfastError {
  return new HoldfastError(
    'NEW_LIFE_NEEDED',
    `no checkpoint of ${identity.nodeId} can be used (${cause.message}): started again, it puts ` +
      'what it has into quarantine and joins anew',
    { cause, details: { group: identity.group } },
  );
}

function describeLost({ code, details, message }: HoldfastError, logger: Logger): string {
  logger.error({ code, details }, message);
  return `${code}: ${message}`;
}
