/** Streams one snapshot from one simulated process to another, piece by piece, until it breaks. */
import type { NodeId } from '@holdfast/base';
import type { OutgoingSnapshot, SnapshotReceiver } from '../service-api.ts';
import { pooled } from './pooled.ts';

export interface SnapshotStream {
  readonly from: NodeId;
  readonly snapshot: OutgoingSnapshot;
  readonly receiver: SnapshotReceiver;
  readonly chunkSizeBytes: number;
  /** Rejects when either process is gone: a dead one answers nothing, so every wait races it. */
  readonly broken: Promise<never>;
  /** Resolves after the time that a piece takes. @throws HoldfastError when the link is down */
  readonly pass: (sizeBytes: number) => Promise<void>;
  readonly isReceiverAlive: () => boolean;
}

export async function streamSnapshot(stream: SnapshotStream): Promise<void> {
  const { broken, chunkSizeBytes, from, pass, receiver, snapshot } = stream;
  const { group, meta, files } = snapshot;
  const listed = files.map(({ path, sizeBytes, checksum }) => ({ path, sizeBytes, checksum }));
  const sink = await receiver.begin({ group, meta, files: listed, from });
  try {
    const held = sink.heldSizesBytes ?? [];
    let heldSizeBytes = held.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
    snapshot.onProgress?.(heldSizeBytes);
    for (const [fileIndex, file] of files.entries()) {
      for (let offset = held[fileIndex] ?? 0; offset < file.sizeBytes; ) {
        const length = Math.min(chunkSizeBytes, file.sizeBytes - offset);
        const bytes = await Promise.race([broken, file.read(offset, length)]);
        await Promise.race([broken, pass(length)]);
        await sink.write(fileIndex, offset, pooled(bytes));
        offset += length;
        heldSizeBytes += length;
        snapshot.onProgress?.(heldSizeBytes);
      }
    }
    await sink.finish();
  } catch (error) {
    // A process that is gone ends nothing in order.
    if (stream.isReceiverAlive()) await sink.abort(String(error));
    throw error;
  }
}
