/**
 * The byte form of a message between replicas: hand-written, little-endian, entries in their one
 * byte form (encoded once, the same on disk and wire; chain sums are not computed again here).
 *
 *   version u8, kind u8, group u32, term u64, conf index u64, to text, from incarnation 16,
 *   to incarnation 16, body
 *
 * The sender is not in the bytes: the transport knows it from the authenticated connection. Every
 * field is validated; whatever is not exactly one message is MESSAGE_MALFORMED.
 */
import type { Incarnation, LogIndex, NodeId, Term } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { readBody, writeBody } from './codec-body.ts';
import { ByteReader, malformed } from './codec-reader.ts';
import { ByteWriter } from './codec-writer.ts';
import type { Envelope, RaftMessage, RaftMessageKind } from './messages.ts';

const VERSION = 1;

/** Codes are on the wire: never reuse one. */
const KIND_TO_CODE = {
  preVote: 1,
  preVoteResponse: 2,
  vote: 3,
  voteResponse: 4,
  append: 5,
  appendResponse: 6,
  heartbeat: 7,
  heartbeatResponse: 8,
  snapshot: 9,
  timeoutNow: 10,
  readIndex: 11,
  readIndexResponse: 12,
  entryRequest: 13,
  entryResponse: 14,
} as const satisfies Record<RaftMessageKind, number>;

const CODE_TO_KIND: ReadonlyMap<number, RaftMessageKind> = new Map(
  Object.entries(KIND_TO_CODE).map(([kind, code]) => [code, kind as RaftMessageKind]),
);

/** The bytes belong to the caller. Asserts that the message is well formed: it is our own. */
export function encodeRaftMessage(message: RaftMessage): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(VERSION);
  writer.u8(KIND_TO_CODE[message.kind]);
  writer.u32(message.group);
  writer.u64(message.term);
  writer.u64(message.confIndex);
  writer.text(message.to);
  writer.hexId(message.fromIncarnation);
  writer.hexId(message.toIncarnation);
  writeBody(writer, message);
  return writer.finish();
}

/**
 * Entry data are views of `bytes`: the buffer must not be reused while the message lives.
 * @throws HoldfastError MESSAGE_MALFORMED for anything that is not exactly one message
 */
export function decodeRaftMessage(bytes: Uint8Array, from: NodeId): RaftMessage {
  const reader = new ByteReader(bytes);
  try {
    return readMessage(reader, from);
  } catch (thrown) {
    if (thrown instanceof HoldfastError && thrown.code === 'ENTRY_MALFORMED')
      throw new HoldfastError('MESSAGE_MALFORMED', `raft message: ${thrown.message}`, {
        cause: thrown,
        details: thrown.details,
      });
    throw thrown;
  }
}

function readMessage(reader: ByteReader, from: NodeId): RaftMessage {
  const version = reader.u8();
  if (version !== VERSION) throw malformed(`has unknown version ${version}`, 0);
  const kindCode = reader.u8();
  const kind = CODE_TO_KIND.get(kindCode);
  if (kind === undefined) throw malformed(`has unknown kind ${kindCode}`, 1);
  const envelope: Envelope = {
    group: reader.u32() as Envelope['group'],
    from,
    term: reader.u64() as Term,
    confIndex: reader.u64() as LogIndex,
    to: reader.nodeId(),
    fromIncarnation: reader.hexId() as Incarnation,
    toIncarnation: reader.hexId() as Incarnation,
  };
  const body = readBody(reader, kind);
  reader.finish();
  return { ...envelope, ...body };
}
