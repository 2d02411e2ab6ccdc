/**
 * What clients of a storm were told, and the exact check of it. A version is the log index of the
 * write, so all writes to a key that anyone learned of form its true order, and an answer that
 * names a log index must show, per key, the last of them at or before that index.
 */
import type { GetResult, UpsertPoint, UpsertResult } from '@holdfast/protocol';

export interface WriteRecord {
  readonly value: number;
  readonly keys: readonly number[];
  /** With conditions, or null. */
  readonly conditional: readonly UpsertPoint[] | null;
  /** Newest index that anyone had been told when it began. */
  readonly floorIndex: number;
  outcome: 'unknown' | 'refused' | { readonly index: number };
}

interface ReadRecord {
  readonly keys: readonly number[];
  readonly floorIndex: number;
  answer: { readonly index: number; readonly seen: ReadonlyMap<number, Seen> } | null;
}

interface Seen {
  readonly version: number;
  readonly value: number;
}

interface ConflictRecord {
  readonly write: WriteRecord;
  readonly index: number;
  readonly conflicts: readonly { readonly id: number; readonly actualVersion: number }[];
}

export class History {
  readonly #writes = new Map<number, WriteRecord>();
  readonly #reads: ReadRecord[] = [];
  readonly #conflicts: ConflictRecord[] = [];
  readonly #newestSeen = new Map<number, number>();
  readonly #problems: string[] = [];
  #toldIndex = 0;

  fail(problem: string): void {
    this.#problems.push(problem);
  }

  /** Newest version of the key that a client was told; 0: none. */
  newestSeen(key: number): number {
    return this.#newestSeen.get(key) ?? 0;
  }

  /** Keys that certainly exist. */
  get keyCount(): number {
    return this.#newestSeen.size;
  }

  startWrite(
    value: number,
    keys: readonly number[],
    conditional: readonly UpsertPoint[] | null,
  ): WriteRecord {
    const floorIndex = this.#toldIndex;
    const write: WriteRecord = { value, keys, conditional, floorIndex, outcome: 'unknown' };
    this.#writes.set(value, write);
    return write;
  }

  acknowledged(write: WriteRecord, { index }: UpsertResult): void {
    write.outcome = { index };
    if (index <= write.floorIndex) this.fail(`value ${write.value} went back to index ${index}`);
    for (const key of write.keys) this.#see(key, index);
    this.#toldIndex = Math.max(this.#toldIndex, index);
  }

  refused(write: WriteRecord): void {
    write.outcome = 'refused';
  }

  conflicted(write: WriteRecord, details: Pick<ConflictRecord, 'index' | 'conflicts'>): void {
    const { index, conflicts } = details;
    if (write.conditional === null) this.fail(`value ${write.value} had no condition to conflict`);
    this.#conflicts.push({ write, index, conflicts });
    for (const { id, actualVersion } of conflicts)
      if (actualVersion > 0) this.#see(id, actualVersion);
    this.#toldIndex = Math.max(this.#toldIndex, index);
  }

  startRead(keys: readonly number[]): ReadRecord {
    const read: ReadRecord = { keys, floorIndex: this.#toldIndex, answer: null };
    this.#reads.push(read);
    return read;
  }

  readAnswered(read: ReadRecord, result: GetResult): void {
    const { appliedIndex: index } = result;
    const seen = new Map<number, Seen>();
    for (const { id, version, vector } of result.points) {
      const key = id as number;
      seen.set(key, { version, value: vector?.[0] ?? Number.NaN });
      this.#see(key, version);
    }
    read.answer = { index, seen };
    this.#toldIndex = Math.max(this.#toldIndex, index);
  }

  counts(): { acknowledged: number; reads: number; conflicts: number } {
    let acknowledged = 0;
    for (const { outcome } of this.#writes.values()) {
      if (typeof outcome === 'object') acknowledged += 1;
    }
    const reads = this.#reads.filter((read) => read.answer !== null).length;
    return { acknowledged, reads, conflicts: this.#conflicts.length };
  }

  problems(): readonly string[] {
    const versions = this.#knownVersions();
    for (const read of this.#reads) this.#checkRead(read, versions);
    for (const write of this.#writes.values()) this.#checkCondition(write, versions);
    for (const conflict of this.#conflicts) this.#checkConflict(conflict, versions);
    return this.#problems;
  }

  #see(key: number, version: number): void {
    this.#newestSeen.set(key, Math.max(this.newestSeen(key), version));
  }

  /** Per key: version to value, of every write that an answer speaks of. */
  #knownVersions(): Map<number, Map<number, number>> {
    const byKey = new Map<number, Map<number, number>>();
    const indexOfValue = new Map<number, number>();
    const learn = (key: number, version: number, value: number): void => {
      const known = byKey.get(key) ?? new Map<number, number>();
      byKey.set(key, known);
      const other = known.get(version);
      if (other !== undefined && other !== value) {
        this.fail(`key ${key}, version ${version}: seen as ${other} and as ${value}`);
      }
      known.set(version, value);
      const index = indexOfValue.get(value) ?? version;
      indexOfValue.set(value, index);
      if (index !== version) this.fail(`value ${value} took effect at ${index} and ${version}`);
    };
    for (const { value, keys, outcome } of this.#writes.values()) {
      if (typeof outcome === 'object') for (const key of keys) learn(key, outcome.index, value);
    }
    for (const { answer } of this.#reads) {
      for (const [key, { version, value }] of answer?.seen ?? []) {
        const write = this.#writes.get(value);
        if (write === undefined || !write.keys.includes(key)) {
          this.fail(`key ${key} has value ${value}, which nobody wrote there`);
        } else if (write.outcome === 'refused') {
          this.fail(`key ${key} has value ${value}, whose write was refused`);
        } else for (const other of write.keys) learn(other, version, value);
      }
    }
    // A refusal names versions, also of writes whose outcome and value nobody was told otherwise.
    for (const { conflicts } of this.#conflicts) {
      for (const { id, actualVersion } of conflicts) {
        const known = byKey.get(id) ?? new Map<number, number>();
        byKey.set(id, known);
        if (actualVersion > 0 && !known.has(actualVersion)) known.set(actualVersion, Number.NaN);
      }
    }
    return byKey;
  }

  #checkRead(read: ReadRecord, versions: Map<number, Map<number, number>>): void {
    const { answer, floorIndex, keys } = read;
    if (answer === null) return;
    const { index, seen } = answer;
    if (index < floorIndex) {
      this.fail(`a read saw index ${index} after someone was told of index ${floorIndex}`);
    }
    for (const key of keys) {
      const expected = lastVersion(versions.get(key), index);
      const found = seen.get(key)?.version ?? 0;
      if (found !== expected) {
        this.fail(`at index ${index} key ${key} has version ${expected}, a read saw ${found}`);
      }
    }
  }

  #checkCondition(write: WriteRecord, versions: Map<number, Map<number, number>>): void {
    const { conditional, outcome, value } = write;
    if (conditional === null || typeof outcome !== 'object') return;
    for (const { id, ifVersion } of conditional) {
      const before = lastVersion(versions.get(id as number), outcome.index - 1);
      if (before === (ifVersion ?? 0)) continue;
      this.fail(`value ${value} was written over version ${before} of ${id}, not ${ifVersion}`);
    }
  }

  #checkConflict(
    { write, index, conflicts }: ConflictRecord,
    versions: Map<number, Map<number, number>>,
  ): void {
    const expected = (write.conditional ?? [])
      .map(({ id, ifVersion }) => ({
        id: id as number,
        wanted: ifVersion ?? 0,
        actualVersion: lastVersion(versions.get(id as number), index - 1),
      }))
      .filter(({ wanted, actualVersion }) => wanted !== actualVersion)
      .map(({ id, actualVersion }) => ({ id, actualVersion }));
    if (JSON.stringify(conflicts) === JSON.stringify(expected)) return;
    this.fail(
      `value ${write.value} at ${index}: refused for ${JSON.stringify(conflicts)}, ` +
        `expected ${JSON.stringify(expected)}`,
    );
  }
}

/** The newest known version at or before `index`; 0: none. */
function lastVersion(versions: ReadonlyMap<number, number> | undefined, index: number): number {
  let last = 0;
  for (const version of versions?.keys() ?? []) {
    if (version <= index && version > last) last = version;
  }
  return last;
}
