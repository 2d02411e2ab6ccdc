/**
 * Which keys objects may have, the same for every sink, so that a backup can move from any store to
 * any other: what one of them would change, hide or refuse, none of them takes.
 *
 * Only ASCII letters, digits and `_ . = -`, in parts between single slashes: the order of the bytes
 * is then the order of JavaScript strings, and no store, shell or URL reads more into a key. No
 * part begins with a dot (hidden files, `..`) or ends with one (dropped by Azure and by SMB), or
 * ends with the suffix under which a folder keeps objects beside folders of the same name.
 */
import { refusal } from './sink-failure.ts';

/** S3 takes 1,024 bytes, and the prefix of the sink comes on top. */
export const KEY_SIZE_BYTES_MAX = 512;
/** File systems take 255 bytes, and the folder sink adds a suffix. */
export const KEY_PART_SIZE_BYTES_MAX = 200;
export const KEY_PART_COUNT_MAX = 16;
/** How the folder sink ends the names of objects. */
export const OBJECT_FILE_SUFFIX = '.object';

const PART = /^[A-Za-z0-9_=-](?:[A-Za-z0-9_.=-]*[A-Za-z0-9_=-])?$/;
/** Whole parts, then the beginning of one. */
const PREFIX =
  /^(?:[A-Za-z0-9_=-](?:[A-Za-z0-9_.=-]*[A-Za-z0-9_=-])?\/)*(?:[A-Za-z0-9_=-][A-Za-z0-9_.=-]*)?$/;
/** A wrong key may be anything; a message shows its beginning. */
const SHOWN_LENGTH_MAX = 80;

export function isSinkKey(key: string): boolean {
  // one byte per character, because others are not allowed
  if (key.length === 0 || key.length > KEY_SIZE_BYTES_MAX) return false;
  const parts = key.split('/');
  return parts.length <= KEY_PART_COUNT_MAX && parts.every(isKeyPart);
}

const isKeyPart = (part: string): boolean =>
  part.length <= KEY_PART_SIZE_BYTES_MAX && PART.test(part) && !part.endsWith(OBJECT_FILE_SUFFIX);

/** @throws HoldfastError SINK_REFUSED */
export function checkSinkKey(key: string, sink: string): string {
  if (isSinkKey(key)) return key;
  const shown = JSON.stringify(key.slice(0, SHOWN_LENGTH_MAX));
  throw refusal(`the key ${shown} for ${sink}`, 'a part of it is empty, too long or has odd bytes');
}

/** The beginning of keys: it may end anywhere. @throws HoldfastError SINK_REFUSED */
export function checkKeyPrefix(prefix: string, sink: string): string {
  if (prefix.length <= KEY_SIZE_BYTES_MAX && PREFIX.test(prefix)) return prefix;
  const shown = JSON.stringify(prefix.slice(0, SHOWN_LENGTH_MAX));
  throw refusal(`the prefix ${shown} for ${sink}`, 'no key begins like this');
}
