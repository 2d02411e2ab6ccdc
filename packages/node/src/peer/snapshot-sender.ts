/**
 * Streams one checkpoint to one peer over a connection of its own, going on behind what the peer
 * holds of it already. At most a window of bytes and of chunks is un-acknowledged, so neither side
 * buffers more than that, and the control connection is not delayed.
 */
import { assert, HoldfastError, type TimerHandle, toHoldfastError } from '@holdfast/base';
import {
  decodePeerFrame,
  encodePeerFrame,
  makeSnapshotChunk,
  type PeerFrame,
  type SnapshotReply,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';
import type { OutgoingSnapshot, OutgoingSnapshotFile } from '../service-api.ts';
import { dial } from './dial.ts';
import type { PeerContext, PeerMember } from './peer-context.ts';

/** Small enough that the event loop of either side is free again within a millisecond. */
export const SNAPSHOT_CHUNK_SIZE_BYTES = 256 * 1024;
/** Sent but not yet written by the receiver. */
const WINDOW_SIZE_BYTES = 4 * 1024 * 1024;
/** Of small files many fit into that; the receiver tells of every 32, and queues at most 256. */
const WINDOW_CHUNK_COUNT = 128;
/** One transfer per connection. */
const TRANSFER_ID = 1;

const UTF8 = new TextEncoder();

export class SnapshotSender {
  readonly #context: PeerContext;
  readonly #member: PeerMember;
  readonly #snapshot: OutgoingSnapshot;
  #socket: WebSocket | null = null;
  #cancelDial: (() => void) | null = null;
  #reply: SnapshotReply | null = null;
  #failure: HoldfastError | null = null;
  #wake: (() => void) | null = null;
  #sentSizeBytes = 0;
  /** For each chunk under way what will have been received with it; oldest first. */
  readonly #underWay: number[] = [];
  #missedPingCount = 0;

  constructor(context: PeerContext, member: PeerMember, snapshot: OutgoingSnapshot) {
    this.#context = context;
    this.#member = member;
    this.#snapshot = snapshot;
  }

  /** Resolves when the receiver installed the bytes. @throws HoldfastError */
  async run(): Promise<void> {
    try {
      await this.#connect();
      await this.#transfer();
    } finally {
      this.#socket?.terminate();
    }
  }

  /** Makes `run` reject soon. */
  abort(reason: string): void {
    this.#fail(new HoldfastError('ABORTED', `snapshot to ${this.#member.nodeId}: ${reason}`));
    this.#cancelDial?.();
  }

  checkLiveness(): void {
    if (this.#socket === null) return;
    if (this.#missedPingCount >= this.#context.timing.missedPingCountMax * 2) {
      this.#fail(this.#lost('the peer is silent'));
      return;
    }
    this.#missedPingCount += 1;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  async #connect(): Promise<void> {
    const attempt = dial(this.#context, this.#member, 'bulk');
    this.#cancelDial = attempt.cancel;
    const socket = await attempt.connected;
    this.#cancelDial = null;
    this.#socket = socket;
    socket.on('message', (data) => this.#onFrame(data as Buffer));
    socket.on('pong', () => {
      this.#missedPingCount = 0;
    });
    socket.on('error', (error) => this.#fail(this.#lost(error.message)));
    socket.on('close', () => this.#fail(this.#lost('the connection was closed')));
  }

  async #transfer(): Promise<void> {
    const { group, meta, files } = this.#snapshot;
    const infos = files.map(({ path, sizeBytes, checksum }) => ({
      path,
      sizeBytes,
      checksum: UTF8.encode(checksum),
    }));
    this.#send({ kind: 'snapshotBegin', transferId: TRANSFER_ID, group, meta, files: infos });
    await this.#until(() => this.#reply !== null);
    const held = this.#heldSizesBytes();
    this.#sentSizeBytes = held.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
    for (const [fileIndex, file] of files.entries()) {
      await this.#sendFile(fileIndex, file, held[fileIndex] ?? 0);
    }
    this.#send({ kind: 'snapshotEnd', transferId: TRANSFER_ID });
    await this.#until(() => this.#reply?.status === 'installed');
  }

  /** What the receiver kept of an earlier attempt, or has anyway; per file. */
  #heldSizesBytes(): readonly number[] {
    const { files } = this.#snapshot;
    const held = this.#reply?.heldSizesBytes ?? files.map(() => 0);
    const isSound =
      held.length === files.length &&
      held.every((sizeBytes, i) => sizeBytes <= (files[i]?.sizeBytes ?? 0));
    if (isSound) return held;
    throw new HoldfastError('PEER_PROTOCOL', `${this.#member.nodeId} holds more than it was sent`);
  }

  async #sendFile(fileIndex: number, file: OutgoingSnapshotFile, from: number): Promise<void> {
    for (let offset = from; offset < file.sizeBytes; ) {
      const length = Math.min(SNAPSHOT_CHUNK_SIZE_BYTES, file.sizeBytes - offset);
      const bytes = await this.#read(file, offset, length);
      const place = { transferId: TRANSFER_ID, fileIndex, offset };
      this.#send(makeSnapshotChunk({ ...place, bytes }));
      this.#sentSizeBytes += length;
      offset += length;
      this.#underWay.push(this.#sentSizeBytes);
      await this.#until(() => this.#isWindowOpen());
    }
  }

  async #read(file: OutgoingSnapshotFile, offset: number, length: number): Promise<Uint8Array> {
    try {
      const bytes = await file.read(offset, length);
      assert(bytes.byteLength === length, 'a snapshot file gave another length than asked for', {
        offset,
        length,
        sizeBytes: bytes.byteLength,
      });
      return bytes;
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      const reason = `the sender cannot read ${file.path}`;
      this.#send({ kind: 'snapshotAbort', transferId: TRANSFER_ID, reason });
      throw error;
    }
  }

  #isWindowOpen(): boolean {
    const receivedSizeBytes = this.#reply?.receivedSizeBytes ?? 0;
    while ((this.#underWay[0] ?? Infinity) <= receivedSizeBytes) this.#underWay.shift();
    const isBelow = this.#sentSizeBytes - receivedSizeBytes < WINDOW_SIZE_BYTES;
    return isBelow && this.#underWay.length < WINDOW_CHUNK_COUNT;
  }

  #send(frame: PeerFrame): void {
    if (this.#failure !== null) throw this.#failure;
    assert(this.#socket !== null, 'a snapshot is sent after connecting');
    const bytes = encodePeerFrame(frame);
    this.#context.counters.bytesSent += bytes.byteLength;
    this.#socket.send(bytes);
  }

  #onFrame(bytes: Buffer): void {
    this.#context.counters.bytesReceived += bytes.byteLength;
    this.#missedPingCount = 0;
    let frame: PeerFrame;
    try {
      frame = decodePeerFrame(bytes);
    } catch (thrown) {
      // A lost reply cannot be asked for again: the transfer is repeated by its owner.
      this.#fail(toHoldfastError(thrown));
      return;
    }
    if (frame.kind !== 'snapshotReply' || frame.transferId !== TRANSFER_ID) {
      this.#fail(new HoldfastError('PEER_PROTOCOL', `unexpected ${frame.kind} in a transfer`));
      return;
    }
    if (frame.status === 'failed') {
      const message =
        `${this.#member.nodeId} did not take the snapshot: ` + `${frame.reason ?? 'no reason'}`;
      this.#fail(new HoldfastError('PEER_PROTOCOL', message));
      return;
    }
    this.#reply = frame;
    this.#snapshot.onProgress?.(frame.receivedSizeBytes);
    this.#wake?.();
  }

  /** Waits for a reply that makes `isMet` true. */
  async #until(isMet: () => boolean): Promise<void> {
    while (!isMet()) {
      if (this.#failure !== null) throw this.#failure;
      await this.#nextReply();
    }
    if (this.#failure !== null && this.#reply?.status !== 'installed') throw this.#failure;
  }

  async #nextReply(): Promise<void> {
    const { snapshotReplyTimeoutMs } = this.#context.timing;
    let timer: TimerHandle | null = null;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = this.#context.options.timers.after(snapshotReplyTimeoutMs, () => {
        this.#fail(this.#lost(`no reply within ${snapshotReplyTimeoutMs} ms`));
      });
    });
    this.#wake = null;
    (timer as TimerHandle | null)?.cancel();
  }

  #fail(error: HoldfastError): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  #lost(reason: string): HoldfastError {
    const message = `snapshot to ${this.#member.nodeId} broke off: ${reason}`;
    return new HoldfastError('CONNECTION_LOST', message);
  }
}
