/**
 * Rot at rest: flips one bit inside the log files of a node that is down, where a pattern of bytes
 * lies. The pattern is data that a test has written, so the test knows which entry it has damaged.
 */
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '@holdfast/base';

/** So near to its end no checkpoint has what was written. */
const TAIL_SIZE_BYTES = 16 * 1024;
/** The very end may be an unfinished write, which a start cuts off by right. */
const SPARED_SIZE_BYTES = 1_024;

/** Flips a bit of every occurrence of `pattern`, and returns where. The node must not run. */
export function rotLog(dataDirectory: string, pattern: Uint8Array): readonly string[] {
  const directory = join(dataDirectory, 'wal');
  const places: string[] = [];
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name);
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 1)) {
      flipBit(path, at, bytes[at]!);
      places.push(`${path}@${at}`);
    }
  }
  return places;
}

/** Flips a bit near the end of the log of a node that is down. Null: the log is too short. */
export function rotLogTail(dataDirectory: string, random: Random): string | null {
  const directory = join(dataDirectory, 'wal');
  for (const name of readdirSync(directory).sort().reverse()) {
    const path = join(directory, name);
    const bytes = readFileSync(path);
    // Behind what was written a file of the log is zeros.
    const end = bytes.findLastIndex((byte) => byte !== 0) - SPARED_SIZE_BYTES;
    const begin = Math.max(SPARED_SIZE_BYTES, end - TAIL_SIZE_BYTES);
    if (end <= begin) continue;
    const position = begin + random.nextBelow(end - begin);
    flipBit(path, position, bytes[position]!);
    return `${path}@${position}`;
  }
  return null;
}

function flipBit(path: string, position: number, byte: number): void {
  const descriptor = openSync(path, 'r+');
  try {
    writeSync(descriptor, Uint8Array.of(byte ^ 1), 0, 1, position);
  } finally {
    closeSync(descriptor);
  }
}
