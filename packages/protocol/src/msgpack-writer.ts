/**
 * Writes one message as msgpack, with msgpackr: plain maps, no records, no extension types.
 *
 * Vectors are handed to it as bytes: msgpackr 2.1.3 writes a Float32Array as a bin of the right
 * length of which only the first quarter is set, the rest being uninitialised memory.
 */
import { HoldfastError } from '@holdfast/base';
import { Packr } from 'msgpackr';

/** `skipValues` is an option of Packr that its types do not name. */
const packrOptions = { useRecords: false, skipValues: [undefined] };
const packr = new Packr(packrOptions);

type Holder = { readonly vector?: unknown };
/** Where messages keep vectors: a search, the points of a batch, the points of an answer. */
type Message = Holder & {
  readonly points?: unknown;
  readonly hits?: unknown;
  readonly result?: unknown;
};

/**
 * The bytes of `message`, owned by the caller. `undefined` properties are left out.
 * @throws HoldfastError FRAME_TOO_LARGE above `sizeBytesMax`
 */
export function writeMsgpack(
  message: unknown,
  sizeBytesMax = Number.POSITIVE_INFINITY,
): Uint8Array {
  const packed = packr.pack(isObject(message) ? withVectorBytes(message) : message);
  const bytes = new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
  if (bytes.byteLength <= sizeBytesMax) return bytes;
  throw new HoldfastError(
    'FRAME_TOO_LARGE',
    `message has ${bytes.byteLength} bytes, at most ${sizeBytesMax} fit into a frame; ` +
      'use smaller batches or ask for fewer points',
    { details: { sizeBytes: bytes.byteLength, sizeBytesMax } },
  );
}

const isObject = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function withVectorBytes(message: Message): Message {
  const { points, hits, result, vector } = message;
  if (vector instanceof Float32Array) return { ...message, vector: bytesOf(vector) };
  if (Array.isArray(points)) return { ...message, points: points.map(pointWithBytes) };
  // Either every hit of an answer has its vector or none has.
  if (Array.isArray(hits) && (hits[0] as Holder | undefined)?.vector !== undefined) {
    return { ...message, hits: hits.map(pointWithBytes) };
  }
  if (isObject(result)) return { ...message, result: withVectorBytes(result) };
  return message;
}

function pointWithBytes(point: Holder): Holder {
  return point.vector instanceof Float32Array ? { ...point, vector: bytesOf(point.vector) } : point;
}

/** Float32 in memory order, which is little-endian on every platform Node runs on. */
const bytesOf = (vector: Float32Array): Uint8Array =>
  new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
