/**
 * How filters and payload indexes name a place inside a payload: keys joined by dots, with `\.` for
 * a dot and `\\` for a backslash inside a key. Arrays are not named: a path goes through them into
 * each of their elements.
 */

/** A payload is nested no deeper than this. */
export const KEY_PATH_SEGMENT_COUNT_MAX = 16;

/** The keys of a path; null when it is empty, has an empty key, a stray backslash, or too many. */
export function parseKeyPath(path: string): readonly string[] | null {
  const segments: string[] = [];
  let segment = '';
  for (let i = 0; i < path.length; i++) {
    const char = path.charAt(i);
    if (char === '\\') {
      i += 1;
      const escaped = path.charAt(i);
      if (escaped !== '.' && escaped !== '\\') return null;
      segment += escaped;
    } else if (char === '.') {
      if (segment === '') return null;
      segments.push(segment);
      segment = '';
    } else segment += char;
  }
  if (segment === '') return null;
  segments.push(segment);
  return segments.length > KEY_PATH_SEGMENT_COUNT_MAX ? null : segments;
}

/** The path that names these keys, whatever characters they hold: `keyPath('a', 'b.c')`. */
export function keyPath(...keys: readonly string[]): string {
  return keys.map((key) => key.replaceAll(/[\\.]/g, (char) => `\\${char}`)).join('.');
}
