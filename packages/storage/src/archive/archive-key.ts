/**
 * Keys that backups and the archive of the log are encrypted with. A key is 32 random bytes, never
 * a password: its id is public and made from it. One key is current, older ones still open what
 * they sealed; keys that are kept elsewhere come by id through a `KeyService`.
 *
 * Invariant: the bytes of a key never leave this file but as a KeyObject, which prints nothing.
 */
import type { KeyObject } from 'node:crypto';
import { createHash, createSecretKey } from 'node:crypto';
import { assert, HoldfastError } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { readWholeFile } from '../fs.ts';

export const ARCHIVE_KEY_SIZE_BYTES = 32;
export const ARCHIVE_KEY_ID_SIZE_BYTES = 8;
/** Older keys of one ring, and keys remembered from a service. */
export const ARCHIVE_KEY_COUNT_MAX = 64;
const KEY_ID_PATTERN = /^[0-9a-f]{16}$/;
const HEX_PATTERN = /^[0-9a-fA-F]{64}$/;
const BASE64_PATTERN = /^[0-9A-Za-z+/_-]{43}=?$/;

export interface ArchiveKey {
  /** The first 8 bytes of the sha256 of the key, as 16 lower-case hex digits. */
  readonly id: string;
  readonly secret: KeyObject;
}

/** Keys by id, of a key management service or any other place. */
export interface KeyService {
  /** The 32 bytes of the key; null when it is not known there. @throws HoldfastError */
  keyById(keyId: string): Promise<Uint8Array | null>;
}

export interface KeyRing {
  /** What is written now is sealed with it; null: in the clear. */
  readonly current: ArchiveKey | null;
  /** True: objects that are not encrypted are refused, since anybody could have put them there. */
  readonly isPlainRefused: boolean;
  /** Null when there is no such key. @throws HoldfastError when a key service fails */
  find(keyId: string): Promise<ArchiveKey | null>;
}

export interface KeyRingOptions {
  readonly current?: ArchiveKey | null;
  readonly older?: readonly ArchiveKey[];
  /** Asked for keys that are not listed; what it gives is remembered. */
  readonly service?: KeyService;
  readonly isPlainRefused?: boolean;
}

export const isArchiveKeyId = (text: string): boolean => KEY_ID_PATTERN.test(text);

/** `bytes` must be 32 and random; they are copied. */
export function makeArchiveKey(bytes: Uint8Array): ArchiveKey {
  assert(bytes.byteLength === ARCHIVE_KEY_SIZE_BYTES, 'an archive key has 32 bytes', {
    sizeBytes: bytes.byteLength,
  });
  const id = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return { id, secret: createSecretKey(bytes) };
}

/**
 * A key as people write it: 64 hex digits or base64 of 32 bytes, blanks around it ignored.
 * `source` says in errors where it came from.
 * @throws HoldfastError CONFIG_INVALID; the message never has the text in it
 */
export function parseArchiveKey(text: string, source: string): ArchiveKey {
  const trimmed = text.trim();
  if (HEX_PATTERN.test(trimmed)) return makeArchiveKey(Buffer.from(trimmed, 'hex'));
  if (!BASE64_PATTERN.test(trimmed)) throw malformedKey(source);
  const bytes = Buffer.from(trimmed, 'base64');
  if (bytes.byteLength !== ARCHIVE_KEY_SIZE_BYTES) throw malformedKey(source);
  return makeArchiveKey(bytes);
}

/**
 * A key file: 32 raw bytes, or text as in parseArchiveKey. 32 printable characters are refused:
 * they are the text of something shorter, and no random key.
 * @throws HoldfastError CONFIG_INVALID, FILE_IO
 */
export function readArchiveKeyFile(fileSystem: FileSystem, path: string): ArchiveKey {
  // A key file is tiny; anything else is a wrong path, and is not read.
  if (fileSystem.sizeBytes(path) > 4_096) throw malformedKey(path);
  const bytes = readWholeFile(fileSystem, path);
  const isText = bytes.every((byte) => byte >= 0x09 && byte <= 0x7e);
  if (bytes.byteLength === ARCHIVE_KEY_SIZE_BYTES && !isText) return makeArchiveKey(bytes);
  return parseArchiveKey(Buffer.from(bytes).toString('latin1'), path);
}

/** Without keys: nothing is encrypted, and what is cannot be opened. */
export const NO_KEYS: KeyRing = makeKeyRing({});

export function makeKeyRing(options: KeyRingOptions): KeyRing {
  const { current = null, older = [], service, isPlainRefused = false } = options;
  assert(older.length <= ARCHIVE_KEY_COUNT_MAX, 'a ring holds a bounded number of keys', {
    count: older.length,
  });
  const listed = new Map<string, ArchiveKey>(older.map((key) => [key.id, key]));
  if (current !== null) listed.set(current.id, current);
  const fetched = new Map<string, ArchiveKey>();
  return {
    current,
    isPlainRefused,
    async find(keyId) {
      const known = listed.get(keyId) ?? fetched.get(keyId);
      if (known !== undefined) return known;
      if (service === undefined || !isArchiveKeyId(keyId)) return null;
      const key = await fetchKey(service, keyId);
      if (key === null) return null;
      if (fetched.size >= ARCHIVE_KEY_COUNT_MAX) fetched.clear();
      fetched.set(keyId, key);
      return key;
    },
  };
}

async function fetchKey(service: KeyService, keyId: string): Promise<ArchiveKey | null> {
  const bytes = await service.keyById(keyId);
  if (bytes === null) return null;
  const isWhole = bytes.byteLength === ARCHIVE_KEY_SIZE_BYTES;
  const key = isWhole ? makeArchiveKey(bytes) : null;
  if (key?.id === keyId) return key;
  const message = `the key service gave another key than ${keyId}: correct what it stores`;
  throw new HoldfastError('BACKUP_KEY_WRONG', message, { details: { keyId } });
}

function malformedKey(source: string): HoldfastError {
  const message = `${source} holds no archive key: it must be 32 random bytes as hex or base64`;
  return new HoldfastError('CONFIG_INVALID', message, { details: { source } });
}
