/**
 * Who works on a store right now: backups may run beside each other, whoever removes is alone, on
 * whatever node or machine. Told by empty objects, one per holder, under names of their own.
 *
 * Everybody first puts his object and then lists those of others. A listing sees every object that
 * was stored before it began, so of two who meet at least one sees the other. Who removes gives way
 * at once, and looks again before each batch; who backs up keeps his object and waits until the
 * remover has gone. So both may be refused for a while, and never do both work. A store need not
 * know a conditional removal for this, which few do, and nobody ever takes over a name of another.
 *
 * An object is valid for a time, by the store's clock alone: how much older it is than the one that
 * the reader has just put. A holder puts it again long before that, and by its own clock takes it
 * for lost after half of the time, so it stops before anybody else may begin.
 */
import type { Clock, Timers } from '@holdfast/base';
import { assert, HoldfastError } from '@holdfast/base';
import { lockKey, lockPrefix } from '@holdfast/storage';
import type { BackupSink } from './sinks/sink.ts';
import { bytesSource } from './sinks/sink.ts';
import { ignoreFailure } from './sinks/sink-failure.ts';
import { waitFor } from './sinks/sink-retry.ts';

export type StoreWork = 'backup' | 'prune';

export interface LockHolder {
  /** Never the same twice, on any node. */
  readonly id: string;
  /** Which node or command it is, for messages. */
  readonly owner: string;
}

export interface StoreLockOptions extends LockHolder {
  readonly sink: Pick<BackupSink, 'list' | 'name' | 'put' | 'remove'>;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly signal?: AbortSignal | undefined;
}

/**
 * How long a holder that has died is waited for. A file that is sent tells its progress, with
 * pauses; who removes tells itself before each batch, and backups wait for it.
 */
export const LOCK_AGE_MS_MAX: Readonly<Record<StoreWork, number>> = {
  backup: 60 * 60_000,
  prune: 10 * 60_000,
};
/** Parts of that: when it is told again, and when its holder takes it for lost. */
const TELL_DIVISOR = 6;
const LOST_DIVISOR = 2;
/** Longer than a remover that has died is valid. */
export const PRUNE_WAIT_MS_MAX = 15 * 60_000;
const PRUNE_POLL_MS_MIN = 500;
const PRUNE_POLL_MS_MAX = 15_000;
const OWNER_LENGTH_MAX = 40;

interface OtherHolder {
  readonly key: string;
  /** Null: of a later version. */
  readonly work: StoreWork | null;
  readonly owner: string;
  /** By the clock of the store. */
  readonly ageMs: number;
}

export class StoreLock {
  readonly #options: StoreLockOptions;
  readonly #work: StoreWork;
  readonly #key: string;
  /** When the newest put that the store has confirmed was begun; null: none was. */
  #told: { readonly monotonicMs: number; readonly wallMs: number } | null = null;
  #telling: Promise<void> | null = null;

  private constructor(options: StoreLockOptions, work: StoreWork) {
    const { clusterId, id, owner } = options;
    this.#options = options;
    this.#work = work;
    const shown = owner.replaceAll(/[^0-9A-Za-z-]/g, '-').slice(0, OWNER_LENGTH_MAX);
    this.#key = lockKey(clusterId, `${work}_${id}_${shown || 'unnamed'}`);
  }

  /**
   * Waits until nobody removes anything. Nobody begins to while it is held.
   * @throws HoldfastError OVERLOADED (a removal does not end), SINK_*, ABORTED; nothing is left
   */
  static takeForBackup(options: StoreLockOptions): Promise<StoreLock> {
    return StoreLock.#take(options, 'backup', (lock) => lock.#outwaitPrunes());
  }

  /** @throws HoldfastError OVERLOADED (others are at work), SINK_*, ABORTED; nothing is left */
  static takeForPrune(options: StoreLockOptions): Promise<StoreLock> {
    return StoreLock.#take(options, 'prune', (lock) => lock.#beginPrune());
  }

  static async #take(
    options: StoreLockOptions,
    work: StoreWork,
    clear: (lock: StoreLock) => Promise<void>,
  ): Promise<StoreLock> {
    const lock = new StoreLock(options, work);
    try {
      await lock.#tell(true);
      await clear(lock);
      return lock;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** The holder moves on. Tells the store when it is time, behind the caller's back. */
  touch(): void {
    if (this.#telling !== null || this.#elapsedMs() < this.#ageMsMax / TELL_DIVISOR) return;
    const telling = this.#tell(false)
      // The next one tries again; that none got through is noticed by `confirm`.
      .catch(ignoreFailure)
      .finally(() => {
        this.#telling = null;
      });
    this.#telling = telling;
  }

  /**
   * Resolves while the store is still ours; called before what must not happen otherwise.
   * @throws HoldfastError BACKUP_ABORTED (nothing was told for too long), OVERLOADED (a backup
   *   waits for the end of a prune), SINK_*, ABORTED
   */
  async confirm(): Promise<void> {
    await this.#telling;
    this.#refuseLost();
    if (this.#elapsedMs() > this.#ageMsMax / TELL_DIVISOR) await this.#tell(false);
    if (this.#work === 'prune') this.#refuse(await this.#others());
    // The answer may have been long in coming.
    this.#refuseLost();
  }

  /** Never rejects for what a store does: what cannot be removed loses its validity. */
  async release(): Promise<void> {
    await this.#telling;
    await this.#options.sink.remove([this.#key]).catch(ignoreFailure);
  }

  get #ageMsMax(): number {
    return LOCK_AGE_MS_MAX[this.#work];
  }

  /** A machine that slept has perhaps not counted it in monotonic time: the longer one counts. */
  #elapsedMs(): number {
    const { clock } = this.#options;
    if (this.#told === null) return Infinity;
    const { monotonicMs, wallMs } = this.#told;
    return Math.max(clock.monotonicMs() - monotonicMs, clock.wallMs() - wallMs);
  }

  #refuseLost(): void {
    if (this.#elapsedMs() > this.#ageMsMax / LOST_DIVISOR) throw this.#lost();
  }

  async #tell(ifAbsent: boolean): Promise<void> {
    const { clock, sink } = this.#options;
    const began = { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
    const nothing = bytesSource(new Uint8Array(0));
    const outcome = await sink.put(this.#key, nothing, { ifAbsent, ...this.#abortable() });
    assert(outcome === 'stored', 'a name of a lock is used once', { key: this.#key });
    this.#told = began;
  }

  /** Those that are valid. */
  async #others(): Promise<readonly OtherHolder[]> {
    const all = await this.#listed();
    return all.filter(({ ageMs, work }) => ageMs <= LOCK_AGE_MS_MAX[work ?? 'backup']);
  }

  async #listed(): Promise<readonly OtherHolder[]> {
    const { clusterId, sink } = this.#options;
    const prefix = lockPrefix(clusterId);
    const found: { readonly key: string; readonly modifiedMs: number }[] = [];
    let ownMs: number | null = null;
    for await (const object of sink.list(prefix, undefined, this.#abortable())) {
      if (object.key === this.#key) ownMs = object.modifiedMs;
      else found.push(object);
    }
    if (ownMs === null) throw this.#lost();
    const nowMs = ownMs;
    return found.map(({ key, modifiedMs }) => {
      const [work, , owner = 'unknown'] = key.slice(prefix.length).split('_');
      const known = work === 'backup' || work === 'prune' ? work : null;
      return { key, work: known, owner, ageMs: nowMs - modifiedMs };
    });
  }

  async #outwaitPrunes(): Promise<void> {
    const { clock, sink, signal, timers } = this.#options;
    const endMs = clock.monotonicMs() + PRUNE_WAIT_MS_MAX;
    for (let delayMs = PRUNE_POLL_MS_MIN; ; delayMs = Math.min(delayMs * 2, PRUNE_POLL_MS_MAX)) {
      const prunes = (await this.#others()).filter(({ work }) => work === 'prune');
      if (prunes.length === 0) return;
      if (clock.monotonicMs() + delayMs > endMs) this.#refuse(prunes);
      const what = `the wait for the end of a prune of ${sink.name}`;
      await waitFor(timers, delayMs, { what, signal });
      // The age of the others is measured from it.
      await this.#tell(false);
    }
  }

  async #beginPrune(): Promise<void> {
    const { sink } = this.#options;
    const all = await this.#listed();
    const isOver = ({ ageMs, work }: OtherHolder) => ageMs > LOCK_AGE_MS_MAX[work ?? 'backup'];
    this.#refuse(all.filter((other) => !isOver(other)));
    // Names are never used twice, so nobody's new object is hit.
    const left = all.filter(isOver).map(({ key }) => key);
    if (left.length > 0) await sink.remove(left, this.#abortable());
  }

  #refuse([other]: readonly OtherHolder[]): void {
    if (other === undefined) return;
    const { sink } = this.#options;
    const { ageMs, key, owner, work } = other;
    const what = work === 'prune' ? 'old backups are removed' : 'a backup is made';
    const own = this.#work === 'prune' ? 'nothing more is removed' : 'no backup is made';
    const said = `seen ${Math.max(0, Math.round(ageMs / 1_000))} s ago`;
    const message = `${own}: ${what} in ${sink.name} by ${owner} (${said}); try again after that`;
    throw new HoldfastError('OVERLOADED', message, { details: { object: key } });
  }

  #lost(): HoldfastError {
    const { sink } = this.#options;
    const message =
      `${sink.name} was not told for too long that this ${this.#work} goes on, and others may ` +
      'have begun meanwhile: start it again';
    return new HoldfastError('BACKUP_ABORTED', message, { details: { object: this.#key } });
  }

  #abortable(): { readonly signal?: AbortSignal } {
    const { signal } = this.#options;
    return signal === undefined ? {} : { signal };
  }
}
