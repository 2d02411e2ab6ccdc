/**
 * What clients of a simulated cluster were told, and whether one order of the log explains all of
 * it. Versions are log indexes, so every answer names the prefix of the log that it saw, and the
 * check is exact and linear: no search for an order is needed.
 *
 * Every write has a value of its own. An upsert that somebody saw is known by its version; a delete
 * whose outcome nobody was told can only be seen by what is missing, so what is missing may be
 * explained by it. The payload of a point names the group of its value, so what a filter must let
 * through is known too. The same operations go, as registers, to the linearizability search, which
 * knows nothing of log indexes.
 *
 * Over 400 lines because what clients were told and what may explain it are one model.
 */
import type { HistoryEvent, Outcome } from '../history.ts';
import type { FilterDelete } from './filter-deletes.ts';
import { FilterDeletes, groupOf } from './filter-deletes.ts';
import type { Timeline } from './timeline.ts';
import { valueAt, versionAt } from './timeline.ts';

export interface Condition {
  readonly key: number;
  /** 0: the key must not exist. */
  readonly version: number;
}

export interface WriteRecord {
  readonly kind: 'upsert' | 'delete';
  /** Unique; also the vector of an upsert. */
  readonly value: number;
  readonly keys: readonly number[];
  readonly conditions: readonly Condition[] | null;
  readonly processes: readonly number[];
  /** Log index once it is known to have taken effect. */
  outcome: 'open' | 'refused' | 'unknown' | { readonly index: number };
}

export interface ReadRecord {
  readonly keys: readonly number[];
  /** Highest index that anyone was told before this read began; 0 for a stale read. */
  readonly floorIndex: number;
  readonly processes: readonly number[];
  /** Linearizable reads also go to the search. */
  readonly isLinearizable: boolean;
  /** Only points of this group were asked for; null: whatever they are. */
  readonly group: number | null;
}

interface Answer {
  readonly read: ReadRecord;
  readonly index: number;
  readonly seen: ReadonlyMap<number, Seen>;
}

interface Seen {
  readonly version: number;
  readonly value: number;
}

interface CountAnswer {
  readonly floorIndex: number;
  readonly index: number;
  readonly count: number;
  readonly group: number | null;
}

interface ConflictRecord {
  readonly write: WriteRecord;
  readonly index: number;
  readonly actual: ReadonlyMap<number, number>;
}

export class SimHistory {
  readonly events: HistoryEvent[] = [];
  readonly #writes = new Map<number, WriteRecord>();
  readonly #answers: Answer[] = [];
  readonly #counts: CountAnswer[] = [];
  readonly #conflicts: ConflictRecord[] = [];
  readonly #filterDeletes = new FilterDeletes();
  readonly #problems: string[] = [];
  readonly #newestSeen = new Map<number, number>();
  readonly #nowMs: () => number;
  /** Highest log index that any client was told of: a read that begins later must see it. */
  #toldIndex = 0;
  #nextProcess = 1;
  acknowledgedCount = 0;
  refusedCount = 0;
  unknownCount = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get readCount(): number {
    return this.#answers.length;
  }

  get conflictCount(): number {
    return this.#conflicts.length;
  }

  get toldIndex(): number {
    return this.#toldIndex;
  }

  fail(problem: string): void {
    this.#problems.push(problem);
  }

  /** Newest version of `key` that any client saw; 0 when none saw one. */
  newestSeen(key: number): number {
    return this.#newestSeen.get(key) ?? 0;
  }

  startWrite(
    kind: WriteRecord['kind'],
    value: number,
    keys: readonly number[],
    conditions: readonly Condition[] | null,
  ): WriteRecord {
    const processes = keys.map(() => this.#nextProcess++);
    const write: WriteRecord = { kind, value, keys, conditions, processes, outcome: 'open' };
    this.#writes.set(value, write);
    keys.forEach((key, i) => {
      this.#event('invoke', processes[i]!, key, kind === 'upsert' ? value : null, 'write');
    });
    return write;
  }

  acknowledged(write: WriteRecord, index: number): void {
    write.outcome = { index };
    this.acknowledgedCount += 1;
    this.#endWrite(write, 'ok');
    for (const key of write.keys) this.#see(key, write.kind === 'upsert' ? index : 0);
    this.#told(index);
  }

  refused(write: WriteRecord): void {
    write.outcome = 'refused';
    this.refusedCount += 1;
    this.#endWrite(write, 'fail');
  }

  unknown(write: WriteRecord): void {
    write.outcome = 'unknown';
    this.unknownCount += 1;
    this.#endWrite(write, 'info');
  }

  /** Refused because of these versions at this index. */
  conflicted(write: WriteRecord, index: number, actual: ReadonlyMap<number, number>): void {
    this.refused(write);
    if (write.conditions === null) this.fail(`value ${write.value} had no condition to conflict`);
    this.#conflicts.push({ write, index, actual });
    for (const [key, version] of actual) this.#see(key, version);
    this.#told(index);
  }

  /** Every key may be deleted by it: which were, the end of the run shows. */
  startFilterDelete(group: number, keys: readonly number[]): FilterDelete {
    const processes = keys.map(() => this.#nextProcess++);
    processes.forEach((process, i) => void this.#event('invoke', process, keys[i]!, null, 'write'));
    const ends = new Map<number, number>();
    const one: FilterDelete = {
      ...{ group, floorIndex: this.#toldIndex, outcome: 'open' },
      settle: (key, phase) => {
        const end = ends.get(key);
        const event = end === undefined ? undefined : this.events[end];
        if (end !== undefined && event?.kind === 'operation')
          this.events[end] = { ...event, phase };
      },
      end: () => {
        processes.forEach((process, i) => {
          ends.set(keys[i]!, this.#event('info', process, keys[i]!, null, 'write'));
        });
      },
    };
    this.#filterDeletes.begin(one);
    return one;
  }

  filterDeleted(one: FilterDelete, index: number, count: number): void {
    one.outcome = { index, count };
    this.acknowledgedCount += 1;
    one.end();
    this.#told(index);
  }

  filterDeleteFailed(one: FilterDelete, keys: readonly number[], isDefinite: boolean): void {
    one.outcome = isDefinite ? 'refused' : 'unknown';
    if (isDefinite) this.refusedCount += 1;
    else this.unknownCount += 1;
    one.end();
    if (isDefinite) for (const key of keys) one.settle(key, 'fail');
  }

  startRead(
    keys: readonly number[],
    isLinearizable: boolean,
    group: number | null = null,
  ): ReadRecord {
    const floorIndex = isLinearizable ? this.#toldIndex : 0;
    const processes = isLinearizable ? keys.map(() => this.#nextProcess++) : [];
    processes.forEach((process, i) => {
      this.#event('invoke', process, keys[i]!, undefined, 'read');
    });
    return { keys, floorIndex, processes, isLinearizable, group };
  }

  readAnswered(read: ReadRecord, index: number, seen: ReadonlyMap<number, Seen>): void {
    this.#answers.push({ read, index, seen });
    for (const [key, { version }] of seen) this.#see(key, version);
    read.processes.forEach((process, i) => {
      const key = read.keys[i]!;
      const value = seen.get(key)?.value ?? null;
      // What a filter leaves out may be there with another value.
      const isTelling = read.group === null || value !== null;
      this.#event(isTelling ? 'ok' : 'fail', process, key, value, 'read');
    });
    if (read.isLinearizable) this.#told(index);
  }

  readFailed(read: ReadRecord): void {
    read.processes.forEach((process, i) => {
      this.#event('fail', process, read.keys[i]!, undefined, 'read');
    });
  }

  countAnswered(
    floorIndex: number,
    index: number,
    count: number,
    group: number | null = null,
  ): void {
    this.#counts.push({ floorIndex, index, count, group });
    this.#told(index);
  }

  /** Everything that no order of the log explains. */
  problems(): readonly string[] {
    const timelines = this.#timelines();
    for (const answer of this.#answers) this.#checkAnswer(answer, timelines);
    for (const count of this.#counts) this.#checkCount(count, timelines);
    for (const write of this.#writes.values()) this.#checkConditions(write, timelines);
    for (const conflict of this.#conflicts) this.#checkConflict(conflict, timelines);
    return this.#problems;
  }

  #timelines(): Map<number, Timeline> {
    const timelines = new Map<number, Timeline>();
    const indexOfValue = new Map<number, number>();
    const timelineOf = (key: number): Timeline => {
      const known = timelines.get(key) ?? new Map<number, number | null>();
      timelines.set(key, known);
      return known;
    };
    const learn = (write: WriteRecord, index: number): void => {
      const value = write.kind === 'upsert' ? write.value : null;
      for (const key of write.keys) {
        const timeline = timelineOf(key);
        const other = timeline.get(index);
        if (other !== undefined && other !== value)
          this.fail(`key ${key} at index ${index}: both ${other} and ${value} were written`);
        timeline.set(index, value);
      }
      const first = indexOfValue.get(write.value) ?? index;
      indexOfValue.set(write.value, first);
      if (first !== index)
        this.fail(`value ${write.value} took effect at ${first} and again at ${index}`);
    };
    for (const write of this.#writes.values())
      if (typeof write.outcome === 'object') learn(write, write.outcome.index);
    for (const { seen } of this.#answers) {
      for (const [key, { version, value }] of seen) {
        const write = this.#writes.get(value);
        if (write === undefined || write.kind !== 'upsert' || !write.keys.includes(key))
          this.fail(`key ${key} has value ${value}, which nobody wrote there`);
        else if (write.outcome === 'refused')
          this.fail(`key ${key} has value ${value}, whose write was refused`);
        else learn(write, version);
      }
    }
    for (const { actual } of this.#conflicts) {
      for (const [key, version] of actual) {
        const timeline = timelineOf(key);
        if (version > 0 && !timeline.has(version)) timeline.set(version, Number.NaN);
      }
    }
    const isBlurred = (key: number): boolean =>
      this.#hasUnknown(key, 'upsert') || this.#hasUnknown(key, 'delete');
    const found = this.#filterDeletes.apply([...timelines.keys()], timelineOf, isBlurred);
    for (const problem of found) this.fail(problem);
    return timelines;
  }

  #checkAnswer({ read, index, seen }: Answer, timelines: ReadonlyMap<number, Timeline>): void {
    if (index < read.floorIndex)
      this.fail(`a read saw index ${index} after someone was told of index ${read.floorIndex}`);
    for (const key of read.keys) {
      const timeline = timelines.get(key);
      const isWanted = isOfGroup(valueAt(timeline, index), read.group);
      const version = versionAt(timeline, index);
      const found = seen.get(key)?.version ?? 0;
      if (isWanted === 'unknown' && (found === 0 || found === version)) continue;
      // What nobody saw may have put the key into another group.
      if (found === 0 && read.group !== null && this.#hasUnknown(key, 'upsert')) continue;
      if (this.#isExplained(key, found, isWanted === 'no' ? 0 : version, timeline, index)) continue;
      const expected = isWanted === 'no' ? 0 : version;
      this.fail(`at index ${index} key ${key} has version ${expected}, a read saw ${found}`);
    }
  }

  #checkCount(answer: CountAnswer, all: ReadonlyMap<number, Timeline>): void {
    const { floorIndex, index, count, group } = answer;
    if (index < floorIndex)
      this.fail(`a count saw index ${index} after someone was told of index ${floorIndex}`);
    let low = 0;
    let high = 0;
    const keys = new Set([...this.#writes.values()].flatMap((write) => write.keys));
    for (const key of keys) {
      const timeline = all.get(key);
      const value = valueAt(timeline, index);
      const isThere = isOfGroup(value, group);
      const mayHaveChanged = group !== null && this.#hasUnknown(key, 'upsert');
      const mayBeGone = this.#mayBeGone(key, versionAt(timeline, index), value, index);
      if (isThere !== 'no' || this.#hasUnknown(key, 'upsert')) high += 1;
      if (isThere === 'yes' && !mayBeGone && !mayHaveChanged) low += 1;
    }
    if (count < low || count > high)
      this.fail(`at index ${index} there are ${low} to ${high} points, ${count} were counted`);
  }

  #checkConditions(write: WriteRecord, timelines: ReadonlyMap<number, Timeline>): void {
    const { conditions, outcome, value } = write;
    if (conditions === null || typeof outcome !== 'object') return;
    for (const { key, version } of conditions) {
      const timeline = timelines.get(key);
      const before = versionAt(timeline, outcome.index - 1);
      if (this.#isExplained(key, version, before, timeline, outcome.index - 1)) continue;
      this.fail(`value ${value} was written over version ${before} of ${key}, not ${version}`);
    }
  }

  #checkConflict(
    { write, index, actual }: ConflictRecord,
    timelines: ReadonlyMap<number, Timeline>,
  ): void {
    for (const { key, version } of write.conditions ?? []) {
      const timeline = timelines.get(key);
      const before = versionAt(timeline, index - 1);
      // A key that is not named held its condition.
      const found = actual.get(key) ?? version;
      if (actual.has(key) && found === version)
        this.fail(`value ${write.value}: refused for ${key}, which has the version asked for`);
      if (!this.#isExplained(key, found, before, timeline, index - 1))
        this.fail(
          `value ${write.value} at ${index}: ${key} has ${before}, the refusal says ${found}`,
        );
    }
  }

  /** `expected` is what the timeline has at `index`, or 0. */
  #isExplained(
    key: number,
    found: number,
    expected: number,
    timeline: Timeline | undefined,
    index: number,
  ): boolean {
    if (found === expected) return true;
    return found === 0 && this.#mayBeGone(key, expected, valueAt(timeline, index), index);
  }

  /** A delete that nobody was told of may have taken this version of the key. */
  #mayBeGone(key: number, version: number, value: number | null, index: number): boolean {
    if (this.#hasUnknown(key, 'delete')) return true;
    if (this.#filterDeletes.mayBeGone(key, version, value, index)) return true;
    // Replaced by what nobody saw before a filter took that.
    return this.#unknownValues(key).some((unseen) => this.#filterDeletes.isAbout(unseen));
  }

  #unknownValues(key: number): readonly number[] {
    return [...this.#writes.values()]
      .filter((write) => write.kind === 'upsert' && isUnknown(write) && write.keys.includes(key))
      .map(({ value }) => value);
  }

  #hasUnknown(key: number, kind: WriteRecord['kind']): boolean {
    for (const write of this.#writes.values()) {
      if (isUnknown(write) && write.kind === kind && write.keys.includes(key)) return true;
    }
    return false;
  }

  #endWrite(write: WriteRecord, outcome: Outcome): void {
    const value = write.kind === 'upsert' ? write.value : null;
    write.keys.forEach((key, i) => {
      this.#event(outcome, write.processes[i]!, key, value, 'write');
    });
  }

  /** Returns its position. */
  #event(
    phase: 'invoke' | Outcome,
    processId: number,
    key: number,
    value: number | null | undefined,
    kind: 'read' | 'write',
  ): number {
    const timeMs = this.#nowMs();
    const operation =
      kind === 'read'
        ? ({ kind, key: String(key), value, nodePick: null } as const)
        : ({ kind, key: String(key), value: value ?? null } as const);
    return this.events.push({ kind: 'operation', phase, processId, operation, timeMs }) - 1;
  }

  #see(key: number, version: number): void {
    this.#newestSeen.set(key, Math.max(this.newestSeen(key), version));
  }

  #told(index: number): void {
    this.#toldIndex = Math.max(this.#toldIndex, index);
  }
}

const isUnknown = ({ outcome }: WriteRecord): boolean =>
  outcome === 'unknown' || outcome === 'open';

/** Whether a point with this value is among those asked for; null: it does not exist. */
function isOfGroup(value: number | null, group: number | null): 'yes' | 'no' | 'unknown' {
  if (value === null) return 'no';
  if (group === null) return 'yes';
  if (Number.isNaN(value)) return 'unknown';
  return groupOf(value) === group ? 'yes' : 'no';
}
