/**
 * Gives blocks of sealed segments to peers whose copies are damaged, in every state of this node:
 * running, repairing, not yet opened. Sealed segments are equal on every replica, so a block helps
 * when it passes its own checksum and belongs to the file that is asked for. The second is proven
 * by the checksum of the whole file; when ours is damaged too, by our manifest that names the same
 * checksum: then the block is given as part of a file that is not whole, and whoever asks must
 * prove the result (it does so in any case).
 *
 * Bounded: requests under way, bytes per second, and what is remembered.
 */
import type { Clock, GroupId, Logger } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { BlockRequest, BlockResponse, CareBlock, CareFile } from '@holdfast/protocol';
import { CARE_FILE_HEADER_SIZE_BYTES } from '@holdfast/protocol';
import { segmentPath } from '@holdfast/shard-worker';
import type { FileHandle, FileSystem } from '@holdfast/storage';
import { BlockFileShape, digestSteps, joinPath, readHeaderBytes } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import { inSlices } from '../replica/slices.ts';
import type { TransferBudget } from '../replica/transfer-budget.ts';
import type { CareAddress, PeerTransport } from '../service-api.ts';

/** Each may read one whole file; a node that repairs asks each peer for one at a time. */
const REQUEST_COUNT_MAX = 8;
/** A file that was read whole is not read again for every block of it. */
const WHOLE_MEMORY_MS = 60_000;
const WHOLE_MEMORY_COUNT_MAX = 64;

export interface BlockResponderOptions {
  readonly group: GroupId;
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly transport: Pick<PeerTransport, 'sendCare'>;
  /** Checksum of the file under `path` as a manifest of this node names it; null: none does. */
  readonly checksumOf: (path: string) => string | null;
  /** Log index applied here; 0 before there is a replica. */
  readonly appliedIndex: () => number;
  /** A peer has a segment that this node has not written down yet. */
  readonly onUnknown: () => void;
  readonly budget: TransferBudget;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly pause: Pause;
  readonly logger: Logger;
}

/** Asks for nothing but how far the node is: segments count from 1. */
export const NO_FILE: CareFile = { uid: 0, shard: 0, ordinal: 0, checksum: '0'.repeat(64) };

const NO_BYTES = new Uint8Array(0);
const NOTHING = { isWhole: false, sizeBytes: 0, header: NO_BYTES, blocks: [] } as const;

export class BlockResponder {
  readonly #options: BlockResponderOptions;
  readonly #wholeSince = new Map<string, number>();
  #requestCount = 0;

  constructor(options: BlockResponderOptions) {
    this.#options = options;
  }

  /** Answers later, or never: whoever asked asks again. */
  receive(from: CareAddress, request: BlockRequest): void {
    const { group, logger } = this.#options;
    if (from.group !== group) return;
    if (this.#requestCount >= REQUEST_COUNT_MAX) {
      this.#answer(from, request, { outcome: 'busy', ...NOTHING });
      return;
    }
    this.#requestCount += 1;
    this.#serve(from, request)
      .catch((error: unknown) => {
        if (!(error instanceof HoldfastError)) throw error;
        // A disk that cannot read it is as good as one without the file.
        logger.warn({ file: request.file, code: error.code }, error.message);
        this.#answer(from, request, { outcome: 'unknown', ...NOTHING });
      })
      .finally(() => {
        this.#requestCount -= 1;
      });
  }

  async #serve(from: CareAddress, request: BlockRequest): Promise<void> {
    const { dataDirectory, fileSystem, checksumOf, onUnknown } = this.#options;
    const { file } = request;
    if (file.ordinal === NO_FILE.ordinal) {
      this.#answer(from, request, { outcome: 'unknown', ...NOTHING });
      return;
    }
    const relative = segmentPath(file.uid, file.shard, file.ordinal);
    const path = joinPath(dataDirectory, relative);
    const isNamed = checksumOf(relative) === file.checksum;
    const isWhole = fileSystem.exists(path) && (await this.#isWhole(path, file));
    if (!isNamed && !isWhole) {
      onUnknown();
      this.#answer(from, request, { outcome: 'unknown', ...NOTHING });
      return;
    }
    if (!fileSystem.exists(path)) {
      this.#answer(from, request, { outcome: 'unknown', ...NOTHING });
      return;
    }
    const found = this.#read(path, request.blocks);
    await this.#options.budget.take(
      found.blocks.reduce((sum, block) => sum + block.bytes.byteLength, 1),
    );
    this.#answer(from, request, { outcome: 'blocks', isWhole, ...found });
  }

  async #isWhole(path: string, { checksum }: CareFile): Promise<boolean> {
    const { clock, fileSystem, pause } = this.#options;
    const key = `${checksum} ${path}`;
    const sinceMs = this.#wholeSince.get(key);
    if (sinceMs !== undefined && clock.monotonicMs() - sinceMs < WHOLE_MEMORY_MS) return true;
    this.#wholeSince.delete(key);
    const found = await inSlices(digestSteps(fileSystem, path), pause);
    if (found !== checksum) return false;
    const [oldest] = this.#wholeSince.keys();
    if (this.#wholeSince.size >= WHOLE_MEMORY_COUNT_MAX && oldest !== undefined) {
      this.#wholeSince.delete(oldest);
    }
    this.#wholeSince.set(key, clock.monotonicMs());
    return true;
  }

  /** What of it is sound right now. @throws HoldfastError FILE_IO */
  #read(path: string, numbers: readonly number[]) {
    const handle = this.#options.fileSystem.open(path, 'read');
    try {
      const shape = shapeOrNull(handle, path);
      if (shape === null) return { sizeBytes: 0, header: NO_BYTES, blocks: [] };
      const blocks: CareBlock[] = [];
      for (const number of numbers) {
        if (number >= shape.blockCount) continue;
        const bytes = shape.readSound(handle, number);
        if (bytes !== null) blocks.push({ number, bytes });
      }
      return { sizeBytes: shape.sizeBytes, header: shape.header, blocks };
    } finally {
      handle.close();
    }
  }

  #answer(
    to: CareAddress,
    { requestId }: BlockRequest,
    answer: Omit<BlockResponse, 'kind' | 'requestId' | 'appliedIndex'>,
  ): void {
    const { appliedIndex, group, transport } = this.#options;
    transport.sendCare(
      { ...to, group },
      { kind: 'blockResponse', requestId, appliedIndex: appliedIndex(), ...answer },
    );
  }
}

/** Null when the header is damaged. @throws HoldfastError FILE_IO */
export function shapeOrNull(handle: Pick<FileHandle, 'read'>, path: string): BlockFileShape | null {
  const header = readHeaderBytes(handle);
  if (header.byteLength !== CARE_FILE_HEADER_SIZE_BYTES) return null;
  try {
    return new BlockFileShape(header, path);
  } catch (error) {
    const isBad =
      error instanceof HoldfastError &&
      (error.code === 'SEGMENT_CORRUPT' || error.code === 'FORMAT_UNKNOWN');
    if (!isBad) throw error;
    return null;
  }
}
