/**
 * Replays the records of one group, also across holes. A hole may have hidden anything: entries, a
 * truncation, a snapshot, a base, a hard state. From a hole on the group is *in doubt*, and the
 * next record that fixes the log again ends it:
 *
 * - an entry whose hash chain connects to the entry before it: nothing is missing before it;
 * - the state of the group in a confirmation or at the head of a file, with the last index and
 *   chain sum; a snapshot; a truncation below everything that is in doubt.
 *
 * What cannot be connected is lost from the *floor* on: the lowest index that the hole can have
 * changed, as the confirmation of the lost batch says, or else the first one not known committed
 * (an entry known committed is never truncated). Lost entries become missing slots of the log.
 */
import type { Entry, EntryHasher, HardState, SnapshotMeta, Term } from '@holdfast/base';
import { HoldfastError, logIndex, sumsEqual } from '@holdfast/base';
import type { DurableGroupLog } from './durable-group-log.ts';
import type { RecordPosition } from './entry-index.ts';
import type { GroupSummary } from './record-payload.ts';
import type { LogBase } from './types.ts';

export interface HolePlace {
  readonly file: string;
  readonly offset: number;
  readonly what: string;
}

interface Doubt {
  floor: number;
  /** How many records the hole hides, when that is known and it is the only hole. */
  lostCount: number | null;
  readonly place: HolePlace;
}

type Name = { readonly term: Term; readonly sum: Uint8Array };

export class GroupReplay {
  readonly log: DurableGroupLog;
  readonly #hasher: EntryHasher;
  readonly #verifiesChain: boolean;
  #doubt: Doubt | null = null;
  #isHardStateInDoubt = false;
  /** A hole may have hidden a compaction, also when it touched no entry. */
  #isBaseInDoubt = false;

  constructor(log: DurableGroupLog, hasher: EntryHasher, verifiesChain: boolean) {
    this.log = log;
    this.#hasher = hasher;
    this.#verifiesChain = verifiesChain;
  }

  get doubt(): HolePlace | null {
    return this.#doubt?.place ?? null;
  }

  get isHardStateInDoubt(): boolean {
    return this.#isHardStateInDoubt;
  }

  /**
   * A hole was met. `changedFrom` is the lowest index it can have changed, when that is known: 0
   * when it did not touch the entries.
   */
  hole(place: HolePlace, changedFrom: number | null, lostCount: number | null): void {
    this.#isHardStateInDoubt = true;
    this.#isBaseInDoubt = true;
    if (changedFrom === 0) return;
    const committed = Math.max(this.log.base().index, this.log.hardState()?.commit ?? 0);
    const next = this.log.lastIndex() + 1;
    const floor = Math.min(Math.max(changedFrom ?? 0, committed + 1), next);
    if (this.#doubt === null) this.#doubt = { floor, lostCount, place };
    else {
      this.#doubt.floor = Math.min(this.#doubt.floor, floor);
      this.#doubt.lostCount = null;
    }
  }

  hardState(hardState: HardState): void {
    this.log.setHardState(hardState);
    this.#isHardStateInDoubt = false;
  }

  lostHardState(): void {
    this.#isHardStateInDoubt = true;
  }

  /** @throws HoldfastError WAL_CORRUPT without a place, when the entry cannot follow */
  entry(entry: Entry, position: RecordPosition): void {
    const { index } = entry;
    const next = this.log.lastIndex() + 1;
    if (this.#doubt === null) {
      if (index !== next) throw contradiction(`entry follows index ${next - 1}`);
      if (this.#verifiesChain && this.#connects(entry) === false) {
        throw contradiction('entry breaks the hash chain');
      }
    } else {
      this.#settleBefore(entry, this.#doubt.floor);
    }
    this.log.append(entry, position);
    this.#doubt = null;
  }

  /** In doubt: what the log holds before `entry` is proven, or lost. */
  #settleBefore(entry: Entry, floor: number): void {
    const { index } = entry;
    if (index < floor) throw contradiction(`entry replaces one below index ${floor}`);
    const connects = index <= this.log.lastIndex() + 1 ? this.#connects(entry) : false;
    const isBelieved = connects === true || (connects === null && index === floor);
    if (isBelieved) this.#cutFrom(index);
    else this.#loseThrough(index - 1);
  }

  /** An entry whose data is lost, known by its record header. */
  lostEntry(index: number, name: Name, place: HolePlace): void {
    const next = this.log.lastIndex() + 1;
    if (this.#doubt === null) {
      if (index !== next) throw contradiction(`entry follows index ${next - 1}`);
    } else if (index - 1 >= this.#doubt.floor) {
      this.#loseThrough(index - 1);
    } else {
      this.#cutFrom(index);
    }
    this.log.appendLost(1);
    this.log.nameLost(index, name);
    this.log.note({ low: index, high: index, ...place });
    this.#doubt = null;
  }

  truncateFrom(index: number): void {
    const last = this.log.lastIndex();
    if (this.#doubt === null) {
      if (index > last + 1) throw contradiction(`truncation is beyond index ${last}`);
      this.log.truncateFrom(logIndex(index));
      return;
    }
    if (index > last + 1) this.#lose(last + 1, index - 1);
    else this.log.truncateFrom(logIndex(index));
    if (index <= this.#doubt.floor) this.#doubt = null;
  }

  restart(base: LogBase, snapshot: SnapshotMeta | null): void {
    this.log.restartAfter(base, snapshot);
    this.#doubt = null;
  }

  base(base: LogBase): void {
    if (base.index <= this.log.base().index) return;
    const known = this.log.nameOf(base.index);
    const isStale = known !== null && !sumsEqual(known.sum, base.sum);
    const isInside = base.index <= this.log.lastIndex();
    if (this.#doubt === null && (isStale || !isInside)) {
      throw contradiction(`base is not an entry of the log, which ends at ${this.log.lastIndex()}`);
    }
    if (isStale || !isInside) this.log.restartAfter(base, this.log.snapshot());
    else this.log.compactTo(base);
    if (this.#doubt !== null) this.#doubt.floor = Math.max(this.#doubt.floor, base.index + 1);
  }

  /** A lost entry was put back. */
  repaired(entry: Entry, position: RecordPosition): void {
    const { index } = entry;
    if (index <= this.log.base().index) return;
    const known = this.log.nameOf(index);
    const isOther = known !== null && !sumsEqual(known.sum, entry.sum);
    const isOutside = index > this.log.lastIndex();
    if (isOther || isOutside || this.#connects(entry) === false) {
      // In doubt it is not believed: what stays lost is repaired again.
      if (this.#doubt !== null) return;
      throw contradiction('repaired entry is not the one that was lost');
    }
    if (!this.log.isPresent(index)) this.log.fill(entry, position);
  }

  /** The state of the group at this point, from a confirmation or the head of a file. */
  summary(summary: GroupSummary): void {
    if (this.#isBaseInDoubt) {
      this.base(summary.base);
      if (summary.snapshot !== null) this.log.adoptSnapshot(summary.snapshot);
    }
    this.#isBaseInDoubt = false;
    if (this.#doubt === null) this.#checkAgrees(summary);
    else this.#endAt(summary);
    if (!this.#isHardStateInDoubt) return;
    this.#isHardStateInDoubt = false;
    if (summary.hardState !== null) this.log.setHardState(summary.hardState);
  }

  /** The log starts here: in the oldest file, or where everything before is lost. */
  startFrom(summary: GroupSummary, place: HolePlace): void {
    const { base, lastIndex, lastTerm, lastSum, snapshot, hardState } = summary;
    this.log.restartAfter(base, snapshot);
    if (hardState !== null) this.log.setHardState(hardState);
    this.#doubt = null;
    this.#isHardStateInDoubt = false;
    this.#isBaseInDoubt = false;
    if (lastIndex === base.index) return;
    this.#lose(base.index + 1, lastIndex, place);
    if (lastTerm !== null && lastSum !== null) {
      this.log.nameLost(lastIndex, { term: lastTerm, sum: lastSum });
    }
  }

  /** Null when the entry before is not known. */
  #connects(entry: Entry): boolean | null {
    const previous = this.log.nameOf(entry.index - 1);
    if (previous === null) return null;
    const { term, index, type, data } = entry;
    return sumsEqual(this.#hasher(previous.sum, term, index, type, data), entry.sum);
  }

  #endAt({ lastIndex, lastTerm, lastSum }: GroupSummary): void {
    const name = lastTerm === null || lastSum === null ? null : { term: lastTerm, sum: lastSum };
    const known = this.log.nameOf(lastIndex);
    if (name !== null && known !== null && sumsEqual(known.sum, name.sum)) {
      this.#cutFrom(lastIndex + 1);
    } else if (lastIndex < (this.#doubt?.floor ?? 0)) {
      const isPossible = lastIndex + 1 === this.#doubt?.floor && (name === null || known === null);
      if (!isPossible) throw contradiction(`log ends at another entry ${lastIndex}`);
      this.#cutFrom(lastIndex + 1);
    } else {
      this.#loseThrough(lastIndex);
      if (name !== null) this.log.nameLost(lastIndex, name);
    }
    this.#doubt = null;
  }

  /** The log must end at `through`, and what the hole can have changed up to there is lost. */
  #loseThrough(through: number): void {
    const doubt = this.#doubt;
    const last = this.log.lastIndex();
    if (doubt === null) return;
    const isCounted = doubt.lostCount !== null && through - last === doubt.lostCount;
    const low = isCounted ? last + 1 : Math.max(doubt.floor, this.log.base().index + 1);
    if (through < low) throw contradiction(`entry does not continue index ${through}`);
    this.#cutFrom(through + 1);
    this.#lose(low, through);
  }

  #lose(low: number, high: number, place: HolePlace | null = this.doubt): void {
    const last = this.log.lastIndex();
    if (low <= Math.min(high, last)) this.log.disbelieve(low, Math.min(high, last));
    if (high > last) this.log.appendLost(high - last);
    if (place !== null) this.log.note({ low, high, ...place });
  }

  #cutFrom(index: number): void {
    if (index <= this.log.lastIndex()) this.log.truncateFrom(logIndex(index));
  }

  #checkAgrees({ base, lastIndex, lastSum, hardState }: GroupSummary): void {
    const known = this.log.summary();
    const isSameEnd =
      known.lastSum === null || lastSum === null || sumsEqual(known.lastSum, lastSum);
    const isSameLog = known.lastIndex === lastIndex && known.base.index === base.index && isSameEnd;
    const isSameHardState =
      this.#isHardStateInDoubt ||
      (known.hardState?.term === hardState?.term && known.hardState?.vote === hardState?.vote);
    if (isSameLog && isSameHardState) return;
    const ends = `${lastIndex} after ${base.index}`;
    const knownEnds = `${known.lastIndex} after ${known.base.index}`;
    const what = isSameLog ? 'another term and vote' : `it ends at ${ends}, not at ${knownEnds}`;
    throw contradiction(`group ${this.log.group} is not as the records before say: ${what}`);
  }
}

/** Records that verify and make no sense together: the place is added where it is known. */
function contradiction(what: string): HoldfastError {
  return new HoldfastError('WAL_CORRUPT', what, { details: { what } });
}
