/** Rot at rest: bits of a log that flip while nobody reads it. */
import { SeededRandom } from '@holdfast/base';
import { DATA_DIRECTORY, type SimNode } from '@holdfast/node/testing';

export interface Flip {
  readonly path: string;
  readonly position: number;
}

const LOG_DIRECTORY = `${DATA_DIRECTORY}/wal`;
/** Near the end: some batches of small entries. */
const END_SIZE_BYTES = 1_024;
/** A file with less has hardly more than its header: it was made ahead. */
const USED_SIZE_BYTES_MIN = 256;

/**
 * Flips bits of the files of the log; `node` is down. At most one of the flips is near the end: the
 * last batch and its confirmation, both damaged, look like a write that was cut off, and no log
 * that keeps one copy can tell (docs/adr/0014).
 */
export function rotLog(
  node: SimNode,
  rot: { readonly salt: number; readonly flipCount: number; readonly isNearEnd: boolean },
): readonly Flip[] {
  const random = new SeededRandom(rot.salt);
  const { fileSystem } = node;
  const paths = fileSystem.list(LOG_DIRECTORY).map((name) => `${LOG_DIRECTORY}/${name}`);
  const newest = paths.findLast((path) => holdsEntries(node, path));
  const flips: Flip[] = [];
  for (let i = 0; i < rot.flipCount; i++) {
    const isNearEnd = rot.isNearEnd && i === 0;
    const path = isNearEnd ? newest : paths[random.nextBelow(paths.length)];
    if (path === undefined) return flips;
    const used = usedPositions(node, path);
    const among = isNearEnd ? used.slice(-END_SIZE_BYTES) : used.slice(0, -END_SIZE_BYTES);
    const position = among[random.nextBelow(Math.max(1, among.length))];
    if (position === undefined) continue;
    fileSystem.flipBit(path, position, random.nextBelow(8));
    flips.push({ path, position });
  }
  return flips;
}

/** Files of entries are numbered by age; other files of the log have other names. */
const holdsEntries = (node: SimNode, path: string): boolean =>
  path.endsWith('.wal') && usedPositions(node, path).length >= USED_SIZE_BYTES_MIN;

/** Files are allocated ahead, and writes are aligned: most zeros hold nothing that could rot. */
function usedPositions({ fileSystem }: SimNode, path: string): readonly number[] {
  const handle = fileSystem.open(path, 'read');
  try {
    const bytes = new Uint8Array(handle.sizeBytes());
    handle.read(bytes, 0);
    const positions: number[] = [];
    for (const [position, byte] of bytes.entries()) if (byte !== 0) positions.push(position);
    return positions;
  } finally {
    handle.close();
  }
}
