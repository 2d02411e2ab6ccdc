/** The bodies of messages, field by field; write and read are mirror images. */
import type { Entry, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { entrySizeBytes, unreachable } from '@holdfast/base';
import type { ByteReader } from './codec-reader.ts';
import type { ByteWriter } from './codec-writer.ts';
import type { AppendRejection, RaftMessageBody, RaftMessageKind, VoteRefusal } from './messages.ts';

/** Codes are on the wire: never reuse one. 0 is "granted". */
const REFUSAL_TO_CODE = {
  'lower-term': 1,
  'already-voted': 2,
  'log-behind': 3,
  'leader-alive': 4,
  'not-ready': 5,
} as const satisfies Record<VoteRefusal, number>;

const CODE_TO_REFUSAL: ReadonlyMap<number, VoteRefusal> = new Map(
  Object.entries(REFUSAL_TO_CODE).map(([refusal, code]) => [code, refusal as VoteRefusal]),
);

export function writeBody(writer: ByteWriter, body: RaftMessageBody): void {
  switch (body.kind) {
    case 'preVote':
    case 'vote':
      writer.u64(body.lastIndex);
      writer.u64(body.lastTerm);
      writer.u32(body.nonce);
      writer.bool(body.isTransfer);
      break;
    case 'preVoteResponse':
    case 'voteResponse':
      writer.bool(body.isGranted);
      writer.u32(body.nonce);
      writer.u8(body.refusal === null ? 0 : REFUSAL_TO_CODE[body.refusal]);
      break;
    case 'append':
      writeAppend(writer, body);
      break;
    case 'appendResponse':
      writer.u64(body.matchIndex);
      writeRejection(writer, body.rejection);
      break;
    case 'heartbeat':
      writer.u64(body.commit);
      writer.u64(body.round);
      writer.u64(body.beat);
      writer.bool(body.isLeaseWanted);
      break;
    case 'heartbeatResponse':
      writer.u64(body.round);
      writer.u64(body.beat);
      writer.bool(body.isLeaseGranted);
      break;
    case 'snapshot':
      writeMeta(writer, body.meta);
      break;
    case 'timeoutNow':
      writer.u64(body.lastIndex);
      writer.u64(body.lastTerm);
      break;
    case 'readIndex':
      writer.u64(body.requestId);
      break;
    case 'readIndexResponse':
      writer.u64(body.requestId);
      writer.bool(body.index !== null);
      writer.u64(body.index ?? 0);
      break;
    case 'entryRequest':
      writer.u64(body.requestId);
      writer.u64(body.low);
      writer.u64(body.high);
      break;
    case 'entryResponse':
      writeEntryResponse(writer, body);
      break;
    default:
      unreachable(body);
  }
}

export function readBody(reader: ByteReader, kind: RaftMessageKind): RaftMessageBody {
  switch (kind) {
    case 'preVote':
    case 'vote':
      return {
        kind,
        lastIndex: readIndex(reader),
        lastTerm: readTerm(reader),
        nonce: reader.u32(),
        isTransfer: reader.bool(),
      };
    case 'preVoteResponse':
    case 'voteResponse':
      return readVoteResponse(reader, kind);
    case 'append':
      return {
        kind,
        prevIndex: readIndex(reader),
        prevTerm: readTerm(reader),
        prevSum: reader.sum(),
        commit: readIndex(reader),
        entries: reader.entries(),
      };
    case 'appendResponse':
      return { kind, matchIndex: readIndex(reader), rejection: readRejection(reader) };
    case 'heartbeat':
      return {
        kind,
        commit: readIndex(reader),
        round: reader.u64(),
        beat: reader.u64(),
        isLeaseWanted: reader.bool(),
      };
    case 'heartbeatResponse':
      return { kind, round: reader.u64(), beat: reader.u64(), isLeaseGranted: reader.bool() };
    case 'snapshot':
      return { kind, meta: readMeta(reader) };
    case 'timeoutNow':
      return { kind, lastIndex: readIndex(reader), lastTerm: readTerm(reader) };
    case 'readIndex':
      return { kind, requestId: reader.u64() };
    case 'readIndexResponse':
      return readReadIndexResponse(reader);
    case 'entryRequest':
      return { kind, requestId: reader.u64(), low: readIndex(reader), high: readIndex(reader) };
    case 'entryResponse':
      return {
        kind,
        requestId: reader.u64(),
        low: readIndex(reader),
        firstIndex: readIndex(reader),
        lastIndex: readIndex(reader),
        isDamaged: reader.bool(),
        isLeader: reader.bool(),
        entries: reader.entries(),
      };
    default:
      return unreachable(kind);
  }
}

const readIndex = (reader: ByteReader): LogIndex => reader.u64() as LogIndex;
const readTerm = (reader: ByteReader): Term => reader.u64() as Term;

function writeAppend(
  writer: ByteWriter,
  body: RaftMessageBody & { readonly kind: 'append' },
): void {
  writer.u64(body.prevIndex);
  writer.u64(body.prevTerm);
  writer.sum(body.prevSum);
  writer.u64(body.commit);
  writeEntries(writer, body.entries);
}

function writeEntryResponse(
  writer: ByteWriter,
  body: RaftMessageBody & { readonly kind: 'entryResponse' },
): void {
  writer.u64(body.requestId);
  writer.u64(body.low);
  writer.u64(body.firstIndex);
  writer.u64(body.lastIndex);
  writer.bool(body.isDamaged);
  writer.bool(body.isLeader);
  writeEntries(writer, body.entries);
}

function writeEntries(writer: ByteWriter, entries: readonly Entry[]): void {
  let sizeBytes = 0;
  for (const entry of entries) sizeBytes += entrySizeBytes(entry);
  writer.reserve(4 + sizeBytes);
  writer.u32(entries.length);
  for (const entry of entries) writer.entry(entry);
}

function readVoteResponse(
  reader: ByteReader,
  kind: 'preVoteResponse' | 'voteResponse',
): RaftMessageBody {
  const isGranted = reader.bool();
  const nonce = reader.u32();
  const code = reader.u8();
  const refusal = code === 0 ? null : CODE_TO_REFUSAL.get(code);
  if (refusal === undefined) return reader.fail(`has unknown refusal ${code}`);
  if (isGranted !== (refusal === null)) return reader.fail('grants and refuses at once');
  return { kind, isGranted, nonce, refusal };
}

function readReadIndexResponse(reader: ByteReader): RaftMessageBody {
  const requestId = reader.u64();
  const hasIndex = reader.bool();
  const index = readIndex(reader);
  if (!hasIndex && index !== 0) return reader.fail('has an index that it says is absent');
  return { kind: 'readIndexResponse', requestId, index: hasIndex ? index : null };
}

function writeRejection(writer: ByteWriter, rejection: AppendRejection | null): void {
  writer.bool(rejection !== null);
  if (rejection === null) return;
  writer.u64(rejection.rejectedIndex);
  writer.u64(rejection.hintIndex);
  writer.u64(rejection.hintTerm);
}

function readRejection(reader: ByteReader): AppendRejection | null {
  if (!reader.bool()) return null;
  return {
    rejectedIndex: readIndex(reader),
    hintIndex: readIndex(reader),
    hintTerm: readTerm(reader),
  };
}

function writeMeta(writer: ByteWriter, meta: SnapshotMeta): void {
  writer.u64(meta.index);
  writer.u64(meta.term);
  writer.sum(meta.sum);
  writer.conf(meta.conf);
  writer.u64(meta.confIndex);
  writer.text(meta.id);
}

function readMeta(reader: ByteReader): SnapshotMeta {
  return {
    index: readIndex(reader),
    term: readTerm(reader),
    sum: reader.sum(),
    conf: reader.conf(),
    confIndex: readIndex(reader),
    id: reader.text(),
  };
}
