/**
 * What a log entry asks the replicated state to do, and its bytes. Everything non-deterministic
 * (time, names resolved to uids, defaults) was decided by the leader before it proposed: apply is
 * a function of the log alone. Little-endian, 48-byte header so that point ops start 8-aligned:
 *
 *   u8 format version  u8 kind  u16 flags (bit 0: has session)  u32 reserved
 *   f64 timestampMs    f64 session id    f64 sequence    f64 acked through    u64 body hash
 */
import type { SessionId } from '@holdfast/base';
import { assert, HoldfastError, sessionId, unreachable } from '@holdfast/base';
import type { CollectionDefinition, PayloadIndexDefinition } from '@holdfast/shard-worker';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import type { FollowedEntry } from './followed-entry.ts';
import { decodeFollowed, encodeFollowed } from './followed-entry.ts';
import type { SiteChange } from './site.ts';

/** A collection before the log gave it a uid. */
export type CollectionSpec = Omit<CollectionDefinition, 'uid'>;

export interface SessionStamp {
  readonly id: SessionId;
  readonly sequence: number;
  /** Every result up to this sequence was handed to the caller and may be forgotten. */
  readonly ackedThrough: number;
}

export type Command =
  | { readonly kind: 'openSession' }
  | { readonly kind: 'closeSession'; readonly sessionId: SessionId }
  /** Expires those of the sessions that were idle since `cutoffMs` of log time. */
  | {
      readonly kind: 'expireSessions';
      readonly cutoffMs: number;
      readonly ids: readonly SessionId[];
    }
  | {
      readonly kind: 'createCollection';
      readonly spec: CollectionSpec;
      readonly ifNotExists: boolean;
    }
  /** At once and for good. */
  | { readonly kind: 'dropCollection'; readonly name: string }
  /** Hides it; it may be purged when `retentionMs` of log time are over. */
  | { readonly kind: 'hideCollection'; readonly name: string; readonly retentionMs: number }
  /** Brings a dropped collection back; `name` null: under its old name. */
  | { readonly kind: 'undeleteCollection'; readonly uid: number; readonly name: string | null }
  /** Lets go of a hidden collection; with `cutoffMs` only if its time is over by then. */
  | { readonly kind: 'purgeCollection'; readonly uid: number; readonly cutoffMs: number | null }
  | { readonly kind: 'renameCollection'; readonly name: string; readonly newName: string }
  /** A collection for rows that are restored: hidden until it is published under its name. */
  | {
      readonly kind: 'createHiddenCollection';
      readonly spec: CollectionSpec;
      readonly retentionMs: number;
    }
  /** Its rows were found to be those of its source: it takes no more. */
  | { readonly kind: 'finishCollection'; readonly uid: number }
  | { readonly kind: 'publishCollections'; readonly uids: readonly number[] }
  /** Counts for files that are sealed or merged after it. */
  | {
      readonly kind: 'updateCollection';
      readonly name: string;
      readonly checksumAlgorithm: ChecksumAlgorithm;
    }
  /** Changes nothing: every replica tells the digests of its shards after this entry. */
  | { readonly kind: 'verify' }
  /** What grows in any collection, and is large enough, becomes a segment: before a backup. */
  | { readonly kind: 'seal' }
  | {
      readonly kind: 'createPayloadIndex';
      readonly uid: number;
      readonly payloadIndex: PayloadIndexDefinition;
    }
  | { readonly kind: 'dropPayloadIndex'; readonly uid: number; readonly key: string }
  /** `ops` are encoded point ops; the uid was resolved by the leader and is checked again. */
  | { readonly kind: 'write'; readonly uid: number; readonly ops: Uint8Array }
  /** How this cluster stands to others; see site.ts. */
  | { readonly kind: 'site'; readonly change: SiteChange }
  /** On a standby: does what the primary's entry did there, if it continues what was followed. */
  | { readonly kind: 'follow'; readonly entry: FollowedEntry };

export interface CommandEnvelope {
  /** Stamped by the leader; never goes back in log order. */
  readonly timestampMs: number;
  readonly session: SessionStamp | null;
  /**
   * Hash of what the client asked for: tells a repeat from another request of the same sequence.
   */
  readonly bodyHash: bigint;
  readonly command: Command;
}

const FORMAT_VERSION = 1;
export const COMMAND_HEADER_SIZE_BYTES = 48;
const FLAG_HAS_SESSION = 1;
const KIND_CODES = {
  openSession: 1,
  closeSession: 2,
  expireSessions: 3,
  createCollection: 4,
  dropCollection: 5,
  write: 6,
  updateCollection: 7,
  verify: 8,
  createPayloadIndex: 9,
  dropPayloadIndex: 10,
  site: 11,
  follow: 12,
  hideCollection: 13,
  undeleteCollection: 14,
  purgeCollection: 15,
  renameCollection: 16,
  createHiddenCollection: 17,
  finishCollection: 18,
  publishCollections: 19,
  seal: 20,
} as const satisfies Record<Command['kind'], number>;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder('utf-8', { fatal: true });

export function encodeCommand(envelope: CommandEnvelope): Uint8Array {
  const { command, session } = envelope;
  const bodySizeBytes = command.kind === 'write' ? 8 + command.ops.byteLength : 0;
  const body = command.kind === 'write' ? null : encodeBody(command);
  const size = COMMAND_HEADER_SIZE_BYTES + (body?.byteLength ?? bodySizeBytes);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, FORMAT_VERSION);
  view.setUint8(1, KIND_CODES[command.kind]);
  view.setUint16(2, session === null ? 0 : FLAG_HAS_SESSION, true);
  view.setFloat64(8, envelope.timestampMs, true);
  if (session !== null) {
    view.setFloat64(16, session.id, true);
    view.setFloat64(24, session.sequence, true);
    view.setFloat64(32, session.ackedThrough, true);
  }
  view.setBigUint64(40, envelope.bodyHash, true);
  if (command.kind === 'write') {
    view.setFloat64(COMMAND_HEADER_SIZE_BYTES, command.uid, true);
    bytes.set(command.ops, COMMAND_HEADER_SIZE_BYTES + 8);
  } else if (body !== null) {
    bytes.set(body, COMMAND_HEADER_SIZE_BYTES);
  }
  return bytes;
}

const encodeBody = (command: Exclude<Command, { kind: 'write' }>): Uint8Array =>
  command.kind === 'follow'
    ? encodeFollowed(command.entry)
    : textEncoder.encode(encodeJsonBody(command));

/**
 * Reads a command of our own log. The ops are a view of `bytes`.
 * @throws HoldfastError FORMAT_UNKNOWN when a newer version wrote it
 */
export function decodeCommand(bytes: Uint8Array): CommandEnvelope {
  assert(bytes.byteLength >= COMMAND_HEADER_SIZE_BYTES, 'command is shorter than its header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(0);
  if (version !== FORMAT_VERSION) {
    throw new HoldfastError(
      'FORMAT_UNKNOWN',
      `log command has format ${version}; upgrade this node`,
    );
  }
  const hasSession = (view.getUint16(2, true) & FLAG_HAS_SESSION) !== 0;
  return {
    timestampMs: view.getFloat64(8, true),
    session: hasSession
      ? {
          id: sessionId(view.getFloat64(16, true)),
          sequence: view.getFloat64(24, true),
          ackedThrough: view.getFloat64(32, true),
        }
      : null,
    bodyHash: view.getBigUint64(40, true),
    command: decodeBody(view.getUint8(1), bytes, view),
  };
}

/** Time stamp of an encoded command, without decoding the rest. */
export function commandTimestampMs(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(8, true);
}

function encodeJsonBody(command: Exclude<Command, { kind: 'write' | 'follow' }>): string {
  switch (command.kind) {
    case 'openSession':
    case 'verify':
    case 'seal':
      return '{}';
    case 'closeSession':
      return JSON.stringify({ sessionId: command.sessionId });
    case 'expireSessions':
      return JSON.stringify({ cutoffMs: command.cutoffMs, ids: command.ids });
    case 'createCollection':
      return JSON.stringify({ spec: command.spec, ifNotExists: command.ifNotExists });
    case 'dropCollection':
      return JSON.stringify({ name: command.name });
    case 'updateCollection':
      return JSON.stringify({ name: command.name, checksumAlgorithm: command.checksumAlgorithm });
    case 'createPayloadIndex':
      return JSON.stringify({ uid: command.uid, payloadIndex: command.payloadIndex });
    case 'dropPayloadIndex':
      return JSON.stringify({ uid: command.uid, key: command.key });
    case 'site':
      return JSON.stringify({ change: command.change });
    case 'hideCollection':
      return JSON.stringify({ name: command.name, retentionMs: command.retentionMs });
    case 'undeleteCollection':
      return JSON.stringify({ uid: command.uid, name: command.name });
    case 'purgeCollection':
      return JSON.stringify({ uid: command.uid, cutoffMs: command.cutoffMs });
    case 'renameCollection':
      return JSON.stringify({ name: command.name, newName: command.newName });
    case 'createHiddenCollection':
      return JSON.stringify({ spec: command.spec, retentionMs: command.retentionMs });
    case 'finishCollection':
      return JSON.stringify({ uid: command.uid });
    case 'publishCollections':
      return JSON.stringify({ uids: command.uids });
    default:
      return unreachable(command);
  }
}

function decodeBody(kindCode: number, bytes: Uint8Array, view: DataView): Command {
  if (kindCode === KIND_CODES.write) {
    return {
      kind: 'write',
      uid: view.getFloat64(COMMAND_HEADER_SIZE_BYTES, true),
      ops: bytes.subarray(COMMAND_HEADER_SIZE_BYTES + 8),
    };
  }
  if (kindCode === KIND_CODES.follow) {
    return { kind: 'follow', entry: decodeFollowed(bytes.subarray(COMMAND_HEADER_SIZE_BYTES)) };
  }
  const body = JSON.parse(textDecoder.decode(bytes.subarray(COMMAND_HEADER_SIZE_BYTES))) as never;
  switch (kindCode) {
    case KIND_CODES.openSession:
      return { kind: 'openSession' };
    case KIND_CODES.verify:
      return { kind: 'verify' };
    case KIND_CODES.seal:
      return { kind: 'seal' };
    case KIND_CODES.closeSession:
      return { kind: 'closeSession', ...(body as { sessionId: SessionId }) };
    case KIND_CODES.expireSessions:
      return { kind: 'expireSessions', ...(body as { cutoffMs: number; ids: SessionId[] }) };
    case KIND_CODES.createCollection:
      return {
        kind: 'createCollection',
        ...(body as { spec: CollectionSpec; ifNotExists: boolean }),
      };
    case KIND_CODES.dropCollection:
      return { kind: 'dropCollection', ...(body as { name: string }) };
    case KIND_CODES.updateCollection:
      return {
        kind: 'updateCollection',
        ...(body as { name: string; checksumAlgorithm: ChecksumAlgorithm }),
      };
    case KIND_CODES.createPayloadIndex:
      return {
        kind: 'createPayloadIndex',
        ...(body as { uid: number; payloadIndex: PayloadIndexDefinition }),
      };
    case KIND_CODES.dropPayloadIndex:
      return { kind: 'dropPayloadIndex', ...(body as { uid: number; key: string }) };
    case KIND_CODES.site:
      return { kind: 'site', ...(body as { change: SiteChange }) };
    default:
      return decodeHidden(kindCode, body);
  }
}

/** Commands about hidden collections and names. */
function decodeHidden(kindCode: number, body: never): Command {
  switch (kindCode) {
    case KIND_CODES.hideCollection:
      return { kind: 'hideCollection', ...(body as { name: string; retentionMs: number }) };
    case KIND_CODES.undeleteCollection:
      return { kind: 'undeleteCollection', ...(body as { uid: number; name: string | null }) };
    case KIND_CODES.purgeCollection:
      return { kind: 'purgeCollection', ...(body as { uid: number; cutoffMs: number | null }) };
    case KIND_CODES.renameCollection:
      return { kind: 'renameCollection', ...(body as { name: string; newName: string }) };
    case KIND_CODES.createHiddenCollection:
      return {
        kind: 'createHiddenCollection',
        ...(body as { spec: CollectionSpec; retentionMs: number }),
      };
    case KIND_CODES.finishCollection:
      return { kind: 'finishCollection', ...(body as { uid: number }) };
    case KIND_CODES.publishCollections:
      return { kind: 'publishCollections', ...(body as { uids: number[] }) };
    default:
      throw new HoldfastError('FORMAT_UNKNOWN', `log command kind ${kindCode}; upgrade this node`);
  }
}
