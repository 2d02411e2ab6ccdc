/**
 * The public protocol version and its history. A changed message changes the schema hash, and the
 * schema-hash test then asks for a new version here.
 *
 * 1  hello, sessions, collections, upsert, delete, get, search, count, status, members
 */
export const PROTOCOL_VERSION = 1;

/** Of the JSON Schemas of all public messages at this version; see test/schema.test.ts. */
export const SCHEMA_HASH = 'c2524d8f2849f359';

/** Every version this build speaks, newest first. */
export const SUPPORTED_PROTOCOL_VERSIONS: readonly number[] = [PROTOCOL_VERSION];

/** The newest version both sides speak, or null when there is none. */
export function negotiateVersion(offered: readonly number[]): number | null {
  for (const version of SUPPORTED_PROTOCOL_VERSIONS) if (offered.includes(version)) return version;
  return null;
}
