/**
 * What clients of a simulated cluster were told, and whether one order of the log explains all of
 * it. Versions are log indexes, so every answer names the prefix of the log that it saw, and the
 * check is exact and linear: no search for an order is needed.
 *
 * Every write has a value of its own. An upsert that somebody saw is known by its version; a delete
 * whose outcome nobody was told can only be seen by what is missing, so what is missing may be
 * explained by it. The same operations go, as registers, to the linearizability search, which
 * knows nothing of log indexes.
 */
import type { HistoryEvent, Outcome } from '../history.ts';

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
}

interface ConflictRecord {
  readonly write: WriteRecord;
  readonly index: number;
  readonly actual: ReadonlyMap<number, number>;
}

/** What a version of a key is: the value of an upsert, or nothing. NaN: nobody was told. */
type Timeline = Map<number, number | null>;

export class SimHistory {
  readonly events: HistoryEvent[] = [];
  readonly #writes = new Map<number, WriteRecord>();
  readonly #answers: Answer[] = [];
  readonly #counts: CountAnswer[] = [];
  readonly #conflicts: ConflictRecord[] = [];
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

  startRead(keys: readonly number[], isLinearizable: boolean): ReadRecord {
    const floorIndex = isLinearizable ? this.#toldIndex : 0;
    const processes = isLinearizable ? keys.map(() => this.#nextProcess++) : [];
    processes.forEach((process, i) => {
      this.#event('invoke', process, keys[i]!, undefined, 'read');
    });
    return { keys, floorIndex, processes, isLinearizable };
  }

  readAnswered(read: ReadRecord, index: number, seen: ReadonlyMap<number, Seen>): void {
    this.#answers.push({ read, index, seen });
    for (const [key, { version }] of seen) this.#see(key, version);
    read.processes.forEach((process, i) => {
      const key = read.keys[i]!;
      this.#event('ok', process, key, seen.get(key)?.value ?? null, 'read');
    });
    if (read.isLinearizable) this.#told(index);
  }

  readFailed(read: ReadRecord): void {
    read.processes.forEach((process, i) => {
      this.#event('fail', process, read.keys[i]!, undefined, 'read');
    });
  }

  countAnswered(floorIndex: number, index: number, count: number): void {
    this.#counts.push({ floorIndex, index, count });
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
    return timelines;
  }

  #checkAnswer({ read, index, seen }: Answer, timelines: ReadonlyMap<number, Timeline>): void {
    if (index < read.floorIndex)
      this.fail(`a read saw index ${index} after someone was told of index ${read.floorIndex}`);
    for (const key of read.keys) {
      const expected = versionAt(timelines.get(key), index);
      const found = seen.get(key)?.version ?? 0;
      if (this.#isExplained(key, found, expected)) continue;
      this.fail(`at index ${index} key ${key} has version ${expected}, a read saw ${found}`);
    }
  }

  #checkCount({ floorIndex, index, count }: CountAnswer, all: ReadonlyMap<number, Timeline>): void {
    if (index < floorIndex)
      this.fail(`a count saw index ${index} after someone was told of index ${floorIndex}`);
    let low = 0;
    let high = 0;
    const keys = new Set([...this.#writes.values()].flatMap((write) => write.keys));
    for (const key of keys) {
      const isThere = versionAt(all.get(key), index) > 0;
      if (isThere || this.#hasUnknown(key, 'upsert')) high += 1;
      if (isThere && !this.#hasUnknown(key, 'delete')) low += 1;
    }
    if (count < low || count > high)
      this.fail(`at index ${index} there are ${low} to ${high} points, ${count} were counted`);
  }

  #checkConditions(write: WriteRecord, timelines: ReadonlyMap<number, Timeline>): void {
    const { conditions, outcome, value } = write;
    if (conditions === null || typeof outcome !== 'object') return;
    for (const { key, version } of conditions) {
      const before = versionAt(timelines.get(key), outcome.index - 1);
      if (this.#isExplained(key, version, before)) continue;
      this.fail(`value ${value} was written over version ${before} of ${key}, not ${version}`);
    }
  }

  #checkConflict(
    { write, index, actual }: ConflictRecord,
    timelines: ReadonlyMap<number, Timeline>,
  ): void {
    for (const { key, version } of write.conditions ?? []) {
      const before = versionAt(timelines.get(key), index - 1);
      // A key that is not named held its condition.
      const found = actual.get(key) ?? version;
      if (actual.has(key) && found === version)
        this.fail(`value ${write.value}: refused for ${key}, which has the version asked for`);
      if (!this.#isExplained(key, found, before))
        this.fail(
          `value ${write.value} at ${index}: ${key} has ${before}, the refusal says ${found}`,
        );
    }
  }

  #isExplained(key: number, found: number, expected: number): boolean {
    if (found === expected) return true;
    return found === 0 && this.#hasUnknown(key, 'delete');
  }

  #hasUnknown(key: number, kind: WriteRecord['kind']): boolean {
    for (const write of this.#writes.values()) {
      const isOpen = write.outcome === 'unknown' || write.outcome === 'open';
      if (isOpen && write.kind === kind && write.keys.includes(key)) return true;
    }
    return false;
  }

  #endWrite(write: WriteRecord, outcome: Outcome): void {
    const value = write.kind === 'upsert' ? write.value : null;
    write.keys.forEach((key, i) => {
      this.#event(outcome, write.processes[i]!, key, value, 'write');
    });
  }

  #event(
    phase: 'invoke' | Outcome,
    processId: number,
    key: number,
    value: number | null | undefined,
    kind: 'read' | 'write',
  ): void {
    const timeMs = this.#nowMs();
    const operation =
      kind === 'read'
        ? ({ kind, key: String(key), value, nodePick: null } as const)
        : ({ kind, key: String(key), value: value ?? null } as const);
    this.events.push({ kind: 'operation', phase, processId, operation, timeMs });
  }

  #see(key: number, version: number): void {
    this.#newestSeen.set(key, Math.max(this.newestSeen(key), version));
  }

  #told(index: number): void {
    this.#toldIndex = Math.max(this.#toldIndex, index);
  }
}

/** Version of a key after `index`; 0: it does not exist. */
function versionAt(timeline: Timeline | undefined, index: number): number {
  let last = 0;
  let value: number | null = null;
  for (const [version, written] of timeline ?? []) {
    if (version > index || version < last) continue;
    last = version;
    value = written;
  }
  return value === null ? 0 : last;
}
