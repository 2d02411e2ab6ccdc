/**
 * The receiving side of one snapshot connection: frames are handled strictly one after the other,
 * chunks must come in order and without gaps behind what the sink holds already, and the sink
 * hears exactly one of finish and abort. What goes wrong ends this transfer with a reason for the
 * sender; the next begin goes on from what the sink kept.
 */
import { assert, groupId, HoldfastError, type NodeId, toHoldfastError } from '@holdfast/base';
import {
  encodePeerFrame,
  type PeerFrame,
  type SnapshotBegin,
  type SnapshotChunk,
  type SnapshotReply,
} from '@holdfast/protocol';
import type { IncomingSnapshotFile, SnapshotReceiver, SnapshotSink } from '../service-api.ts';
import type { PeerContext } from './peer-context.ts';

/** The sender's window is four times each of these. */
const PROGRESS_EVERY_SIZE_BYTES = 1024 * 1024;
const PROGRESS_EVERY_CHUNK_COUNT = 32;
/** Frames waiting for the disk; the sender's window keeps an honest peer far below. */
const QUEUED_FRAME_COUNT_MAX = 256;
const REASON_LENGTH_MAX = 1_000;

interface Transfer {
  readonly id: number;
  readonly files: readonly IncomingSnapshotFile[];
  readonly sink: SnapshotSink;
  readonly heldSizesBytes: readonly number[];
  fileIndex: number;
  offset: number;
  receivedSizeBytes: number;
  reportedSizeBytes: number;
  unreportedChunkCount: number;
}

const UTF8 = new TextDecoder();

export interface SnapshotTransferOptions {
  readonly context: PeerContext;
  readonly from: NodeId;
  readonly receiver: SnapshotReceiver | null;
  /** Sends an encoded frame back to the sender. */
  readonly send: (frame: Uint8Array) => void;
}

export class SnapshotTransfer {
  readonly #options: SnapshotTransferOptions;
  #transfer: Transfer | null = null;
  #tail: Promise<void> = Promise.resolve();
  #queuedFrameCount = 0;
  #isClosed = false;

  constructor(options: SnapshotTransferOptions) {
    this.#options = options;
  }

  /** Handles the frame after all frames before it. */
  push(frame: PeerFrame): void {
    assert(this.#queuedFrameCount <= QUEUED_FRAME_COUNT_MAX, 'snapshot frame queue is bounded');
    // The sender was told why; what it had under way is of no use any more.
    if (this.#isClosed) return;
    if (this.#queuedFrameCount === QUEUED_FRAME_COUNT_MAX) {
      this.#refuse('PEER_PROTOCOL: more frames were under way than the window has');
      return;
    }
    this.#queuedFrameCount += 1;
    this.#tail = this.#tail.then(async () => {
      this.#queuedFrameCount -= 1;
      await this.#handle(frame);
    });
  }

  /** The connection is gone: what was not finished is aborted. Resolves when that is done. */
  close(reason: string): Promise<void> {
    this.#isClosed = true;
    this.#tail = this.#tail.then(() => this.#abort(reason));
    return this.#tail;
  }

  /** Without an answer the sender would wait for one until its patience ends. */
  #refuse(reason: string): void {
    const transferId = this.#transfer?.id ?? 0;
    void this.close(reason);
    this.#reply({ transferId, status: 'failed', receivedSizeBytes: 0, reason });
  }

  async #handle(frame: PeerFrame): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.#dispatch(frame);
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      const isBug = error.code === 'INTERNAL';
      const { logger } = this.#options.context.options;
      const fields = { peer: this.#options.from, err: isBug ? thrown : error };
      logger.warn(fields, 'an incoming snapshot failed');
      await this.#abort(error.message);
      const reason = `${error.code}: ${error.message}`.slice(0, REASON_LENGTH_MAX);
      const transferId = 'transferId' in frame ? frame.transferId : 0;
      this.#reply({ transferId, status: 'failed', receivedSizeBytes: 0, reason });
    }
  }

  async #dispatch(frame: PeerFrame): Promise<void> {
    switch (frame.kind) {
      case 'snapshotBegin':
        return this.#begin(frame);
      case 'snapshotChunk':
        return this.#chunk(frame);
      case 'snapshotEnd':
        return this.#end(frame.transferId);
      case 'snapshotAbort':
        if (this.#transfer?.id === frame.transferId) await this.#abort(frame.reason);
        return;
      case 'snapshotReply':
      case 'raft':
        throw protocolError(`sent ${frame.kind} to a snapshot receiver`);
    }
  }

  async #begin(frame: SnapshotBegin): Promise<void> {
    await this.#abort('the sender began anew');
    const { receiver, from } = this.#options;
    if (receiver === null) throw protocolError('sent a snapshot, but this node takes none');
    const files = frame.files.map(({ path, sizeBytes, checksum }) => ({
      path,
      sizeBytes,
      checksum: UTF8.decode(checksum),
    }));
    const group = groupId(frame.group);
    // The bytes are views of the frame, which lives as long as anyone holds them.
    const sink = await receiver.begin({ group, from, meta: frame.meta, files });
    const heldSizesBytes = sink.heldSizesBytes ?? files.map(() => 0);
    assert(heldSizesBytes.length === files.length, 'what is held is told for every file');
    const receivedSizeBytes = heldSizesBytes.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
    this.#transfer = {
      ...{ id: frame.transferId, files, sink, heldSizesBytes, fileIndex: 0 },
      ...{
        offset: heldSizesBytes[0] ?? 0,
        receivedSizeBytes,
        reportedSizeBytes: receivedSizeBytes,
        unreportedChunkCount: 0,
      },
    };
    skipFullFiles(this.#transfer);
    const { transferId } = frame;
    this.#reply({ transferId, status: 'accepted', receivedSizeBytes, heldSizesBytes });
  }

  async #chunk(frame: SnapshotChunk): Promise<void> {
    const transfer = this.#transfer;
    // Chunks under way when the transfer failed: the sender already knows.
    if (transfer === null) return;
    const file = transfer.files[transfer.fileIndex];
    const isNext =
      frame.transferId === transfer.id &&
      file !== undefined &&
      frame.fileIndex === transfer.fileIndex &&
      frame.offset === transfer.offset &&
      frame.bytes.byteLength > 0 &&
      frame.offset + frame.bytes.byteLength <= file.sizeBytes;
    if (!isNext)
      throw protocolError(
        `sent a chunk out of order (file ${frame.fileIndex}, offset ${frame.offset})`,
      );
    await transfer.sink.write(frame.fileIndex, frame.offset, frame.bytes);
    transfer.offset += frame.bytes.byteLength;
    transfer.receivedSizeBytes += frame.bytes.byteLength;
    skipFullFiles(transfer);
    transfer.unreportedChunkCount += 1;
    this.#reportProgress(transfer);
  }

  #reportProgress(transfer: Transfer): void {
    const { receivedSizeBytes, reportedSizeBytes, unreportedChunkCount } = transfer;
    const isDue =
      receivedSizeBytes - reportedSizeBytes >= PROGRESS_EVERY_SIZE_BYTES ||
      unreportedChunkCount >= PROGRESS_EVERY_CHUNK_COUNT;
    if (!isDue) return;
    transfer.reportedSizeBytes = receivedSizeBytes;
    transfer.unreportedChunkCount = 0;
    this.#reply({ transferId: transfer.id, status: 'progress', receivedSizeBytes });
  }

  async #end(transferId: number): Promise<void> {
    const transfer = this.#transfer;
    if (transfer === null) return;
    const isComplete = transfer.id === transferId && transfer.fileIndex === transfer.files.length;
    if (!isComplete) throw protocolError('ended a snapshot before its last byte');
    await transfer.sink.finish();
    this.#transfer = null;
    this.#options.context.counters.snapshotsReceived += 1;
    const { receivedSizeBytes } = transfer;
    this.#reply({ transferId, status: 'installed', receivedSizeBytes });
  }

  async #abort(reason: string): Promise<void> {
    const transfer = this.#transfer;
    if (transfer === null) return;
    this.#transfer = null;
    this.#options.context.counters.snapshotsFailed += 1;
    try {
      await transfer.sink.abort(reason);
    } catch (thrown) {
      const { logger } = this.#options.context.options;
      logger.error({ err: thrown }, 'an aborted snapshot could not be cleaned up');
    }
  }

  #reply(reply: Omit<SnapshotReply, 'kind'>): void {
    this.#options.send(encodePeerFrame({ kind: 'snapshotReply', ...reply }));
  }
}

/** Empty files, and those that were here before, have no chunks. */
function skipFullFiles(transfer: Transfer): void {
  for (;;) {
    const file = transfer.files[transfer.fileIndex];
    if (file === undefined || transfer.offset < file.sizeBytes) return;
    transfer.fileIndex += 1;
    transfer.offset = transfer.heldSizesBytes[transfer.fileIndex] ?? 0;
  }
}

const protocolError = (what: string): HoldfastError =>
  new HoldfastError('PEER_PROTOCOL', `the peer ${what}`);
