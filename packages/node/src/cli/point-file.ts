/**
 * Points from a file, one at a time: JSONL with {id, vector, payload}, as `holdfast get --vector`
 * prints it too (a `version` is read over: each write gets its own), or `.fvecs` (per vector a
 * little-endian int32 dimension and that many float32). Nothing is skipped: the first line that is
 * not a point ends the reading with an error that names it.
 */
import { createReadStream, type ReadStream, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { HoldfastError } from '@holdfast/base';
import type { JsonObject, PointInput } from '@holdfast/client';

export interface PointFile {
  readonly points: AsyncIterable<PointInput>;
  readonly sizeBytes: number;
  /** How far the file has been read; for progress. */
  readBytes(): number;
}

export interface PointFileOptions {
  /** Of the first vector of an `.fvecs` file; the next has the next id. */
  readonly firstId: number;
}

/** The largest vector of the protocol; more is not a vector file. */
const DIMENSION_MAX = 16_384;

/** @throws HoldfastError ARGUMENT_INVALID when the file cannot be read */
export function openPointFile(path: string, options: PointFileOptions): PointFile {
  const sizeBytes = sizeOf(path);
  const stream = createReadStream(path);
  const points = path.endsWith('.fvecs')
    ? readFvecs(path, stream, options)
    : readJsonl(path, stream);
  return { points, sizeBytes, readBytes: () => stream.bytesRead };
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('ARGUMENT_INVALID', `cannot read ${path}: ${reason}`, { cause: error });
  }
}

async function* readJsonl(path: string, stream: ReadStream): AsyncGenerator<PointInput> {
  let lineNumber = 0;
  for await (const line of createInterface({
    input: stream,
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    lineNumber += 1;
    if (line.trim() !== '') yield parseLine(line, `${path}:${lineNumber}`);
  }
}

const KNOWN_KEYS: ReadonlySet<string> = new Set(['id', 'vector', 'payload', 'version']);

function parseLine(line: string, place: string): PointInput {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw malformed(place, 'not JSON', error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(place, 'must be an object with id, vector and payload');
  }
  const unknownKey = Object.keys(value).find((key) => !KNOWN_KEYS.has(key));
  if (unknownKey !== undefined) {
    throw malformed(place, `unknown key '${unknownKey}'; known are id, vector, payload`);
  }
  const { id, vector, payload } = value as Record<string, unknown>;
  if (typeof id !== 'number' && typeof id !== 'string') {
    throw malformed(place, 'id must be an unsigned integer or a UUID');
  }
  const isVector = Array.isArray(vector) && vector.length > 0 && vector.every(Number.isFinite);
  if (!isVector) throw malformed(place, 'vector must be a list of finite numbers');
  const isPayload = typeof payload === 'object' && payload !== null && !Array.isArray(payload);
  if (payload !== undefined && !isPayload) throw malformed(place, 'payload must be an object');
  return {
    id,
    vector: Float32Array.from(vector as number[]),
    ...(payload === undefined ? {} : { payload: payload as JsonObject }),
  };
}

async function* readFvecs(
  path: string,
  stream: ReadStream,
  { firstId }: PointFileOptions,
): AsyncGenerator<PointInput> {
  let rest: Buffer = Buffer.alloc(0);
  let count = 0;
  for await (const chunk of stream) {
    rest = rest.byteLength === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    for (;;) {
      const sizeBytes = recordSize(rest, `${path}: vector ${count}`);
      if (sizeBytes === null || rest.byteLength < sizeBytes) break;
      const vector = new Float32Array((sizeBytes - 4) / 4);
      new Uint8Array(vector.buffer).set(rest.subarray(4, sizeBytes));
      yield { id: firstId + count, vector };
      rest = rest.subarray(sizeBytes);
      count += 1;
    }
  }
  if (rest.byteLength > 0) throw malformed(`${path}: vector ${count}`, 'the file is cut off');
}

function recordSize(bytes: Buffer, place: string): number | null {
  if (bytes.byteLength < 4) return null;
  const dimension = bytes.readInt32LE(0);
  if (dimension >= 1 && dimension <= DIMENSION_MAX) return 4 + 4 * dimension;
  throw malformed(place, `dimension ${dimension} is not 1 to ${DIMENSION_MAX}`);
}

function malformed(place: string, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('ARGUMENT_INVALID', `${place}: ${reason}; mend it and import again`, {
    cause,
    details: { place },
  });
}
