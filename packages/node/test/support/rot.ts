/** Rot at rest on the disk of a simulated node that is down. */
import type { SimNode } from '../../src/testing/sim-cluster.ts';

const WAL = '/data/wal';

/** Flips a bit in every place of the log where `pattern` lies. @throws Error when there is none */
export function rotLog(node: SimNode, pattern: Uint8Array): void {
  let count = 0;
  for (const name of node.fileSystem.list(WAL)) {
    const path = `${WAL}/${name}`;
    const bytes = readFile(node, path);
    for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 1)) {
      node.fileSystem.flipBit(path, at + 2, 3);
      count += 1;
    }
  }
  if (count === 0) throw new Error(`the log of ${node.id} does not hold these bytes`);
}

/** Makes a file unreadable, from end to end or between two offsets. */
export function ruin(node: SimNode, path: string, from = 0, to?: number): void {
  const end = to ?? node.fileSystem.sizeBytes(path);
  for (let at = from; at < end; at += 8) node.fileSystem.flipBit(path, at);
}

function readFile(node: SimNode, path: string): Buffer {
  const bytes = Buffer.alloc(node.fileSystem.sizeBytes(path));
  const handle = node.fileSystem.open(path, 'read');
  handle.read(bytes, 0);
  handle.close();
  return bytes;
}
