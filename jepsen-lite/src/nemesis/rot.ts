/**
 * Rot at rest: flips one bit inside the log files of a node that is down, where a pattern of bytes
 * lies. The pattern is data that a test has written, so the test knows which entry it has damaged.
 */
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

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

function flipBit(path: string, position: number, byte: number): void {
  const descriptor = openSync(path, 'r+');
  try {
    writeSync(descriptor, Uint8Array.of(byte ^ 1), 0, 1, position);
  } finally {
    closeSync(descriptor);
  }
}
