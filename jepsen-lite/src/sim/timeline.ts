/** What one key was after each log index that changed it. */

/** Of a version: the value of an upsert, or nothing. NaN: nobody was told. */
export type Timeline = Map<number, number | null>;

/** Version of a key after `index`; 0: it does not exist. */
export function versionAt(timeline: Timeline | undefined, index: number): number {
  const { value, version } = stateAt(timeline, index);
  return value === null ? 0 : version;
}

/** Null: it does not exist. */
export function valueAt(timeline: Timeline | undefined, index: number): number | null {
  return stateAt(timeline, index).value;
}

function stateAt(timeline: Timeline | undefined, index: number) {
  let version = 0;
  let value: number | null = null;
  for (const [at, written] of timeline ?? []) {
    if (at > index || at < version) continue;
    version = at;
    value = written;
  }
  return { value, version };
}
