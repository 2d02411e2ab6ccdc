/** Rot at rest: bits of a log that flip while nobody reads it. */
import { SeededRandom } from '@holdfast/base';
import { DATA_DIRECTORY, type SimNode } from '@holdfast/node/testing';

export interface Flip {
  readonly path: string;
  readonly position: number;
}

const LOG_DIRECTORY = `${DATA_DIRECTORY}/wal`;
/** Near the end: some batches of small entries. */
const END_SIZE_BYTES = 2_048;

/** Flips bits of the files of the log; `node` is down. */
export function rotLog(
  node: SimNode,
  rot: { readonly salt: number; readonly flipCount: number; readonly isNearEnd: boolean },
): readonly Flip[] {
  const random = new SeededRandom(rot.salt);
  const { fileSystem } = node;
  const paths = fileSystem.list(LOG_DIRECTORY).map((name) => `${LOG_DIRECTORY}/${name}`);
  const flips: Flip[] = [];
  for (let i = 0; i < rot.flipCount; i++) {
    const path = rot.isNearEnd ? newestLogFile(paths) : paths[random.nextBelow(paths.length)];
    if (path === undefined) return flips;
    const endBytes = usedSizeBytes(node, path);
    if (endBytes === 0) continue;
    const startBytes = rot.isNearEnd ? Math.max(0, endBytes - END_SIZE_BYTES) : 0;
    const position = startBytes + random.nextBelow(endBytes - startBytes);
    fileSystem.flipBit(path, position, random.nextBelow(8));
    flips.push({ path, position });
  }
  return flips;
}

/** Files of entries are numbered by age; other files of the log have other names. */
const newestLogFile = (paths: readonly string[]): string | undefined =>
  paths.filter((path) => path.endsWith('.wal')).at(-1);

/** Files are allocated ahead: zeros at the end hold nothing that could rot. */
function usedSizeBytes({ fileSystem }: SimNode, path: string): number {
  const handle = fileSystem.open(path, 'read');
  try {
    const bytes = new Uint8Array(handle.sizeBytes());
    handle.read(bytes, 0);
    let end = bytes.byteLength;
    while (end > 0 && bytes[end - 1] === 0) end -= 1;
    return end;
  } finally {
    handle.close();
  }
}
