/**
 * Small objects of the archive that a person should be able to read: a magic of four bytes and
 * JSON. They are inside sealed objects, whose checksum was verified; their hash is a link of the
 * chain, so the bytes are kept as they were written.
 */
import { HoldfastError } from '@holdfast/base';
import { JsonFields } from '../json-shape.ts';

const MAGIC_LENGTH = 4;
const DECODER = new TextDecoder('utf-8', { fatal: true });

export const encodeArchiveJson = (magic: string, body: unknown): Uint8Array =>
  new Uint8Array(Buffer.from(`${magic}${JSON.stringify(body)}`, 'utf8'));

export const hasMagic = (bytes: Uint8Array, magic: string): boolean =>
  Buffer.from(bytes.subarray(0, MAGIC_LENGTH)).toString('latin1') === magic;

/**
 * What `parse` makes of the JSON behind the magic.
 * @throws HoldfastError BACKUP_CORRUPT naming the key, FORMAT_UNKNOWN
 */
export function decodeArchiveJson<T>(
  bytes: Uint8Array,
  magic: string,
  key: string,
  parse: (fields: JsonFields) => T,
): T {
  if (!hasMagic(bytes, magic)) throw damaged(key, `it does not begin with ${magic}`);
  try {
    const value: unknown = JSON.parse(DECODER.decode(bytes.subarray(MAGIC_LENGTH)));
    return parse(new JsonFields(key, value));
  } catch (cause) {
    if (cause instanceof HoldfastError && cause.code !== 'FILE_CORRUPT') throw cause;
    throw damaged(key, cause instanceof Error ? cause.message : 'it is no JSON', cause);
  }
}

const damaged = (key: string, what: string, cause?: unknown): HoldfastError =>
  new HoldfastError(
    'BACKUP_CORRUPT',
    `${key} is damaged: ${what}; bring it back from another copy of the store`,
    { details: { key }, ...(cause === undefined ? {} : { cause }) },
  );
