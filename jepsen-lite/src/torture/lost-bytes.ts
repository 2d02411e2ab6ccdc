/**
 * Bytes of a log file that belong to nothing any more: a batch whose header was damaged before has
 * lost all of them, up to the next batch, and its entries were written again elsewhere. What
 * befalls such bytes afterwards is nobody's loss, and nobody tells of it.
 */
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/base';
import { describeWalFile, NodeFileSystem, type WalFileLine } from '@holdfast/storage';
import type { Span } from './damages.ts';

/** Of the file as it is now; null: it was let go of. */
export function lostBytesOf(dataDirectory: string, path: string): readonly Span[] | null {
  try {
    return lostIn(describeWalFile(new NodeFileSystem(), join(dataDirectory, path)));
  } catch (error) {
    const isGone = error instanceof HoldfastError && error.details.code === 'ENOENT';
    if (isGone) return null;
    throw error;
  }
}

/** Pure. */
export function lostIn(lines: Iterable<WalFileLine>): readonly Span[] {
  const lost: Span[] = [];
  for (const { fields, kind, offset } of lines) {
    const { sizeBytes } = fields;
    // Damage with a size lies between batches; any other is of a batch that can still be read.
    if (kind !== 'damage' || typeof sizeBytes !== 'number') continue;
    lost.push({ from: offset, to: offset + sizeBytes });
  }
  return lost;
}
