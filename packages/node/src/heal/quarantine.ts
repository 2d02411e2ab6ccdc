/**
 * Where damaged bytes go when good ones take their place: kept for people, with the reason beside
 * them, and never removed by the node. Of a file that was repaired block by block only the bad
 * blocks are kept; a file that is given up as a whole is kept under another name.
 *
 * When the folder is full, repairs go on and keep only the reason: a disk that rots for months must
 * not fill itself with its own rot.
 */
import type { Clock, Logger } from '@holdfast/base';
import { failpoint, HoldfastError } from '@holdfast/base';
import type { BlockFileShape, FileSystem } from '@holdfast/storage';
import {
  baseName,
  joinPath,
  QUARANTINE_DIRECTORY_NAME,
  writeAtomicFile,
  writeAtomicJson,
} from '@holdfast/storage';

const REASON_FORMAT = { format: 'holdfast-quarantine', version: 1 } as const;
const REASON_FILE_NAME = 'reason.json';
/** Each is one finding; a disk with so many is to be replaced. */
const ENTRY_COUNT_MAX = 4_096;

export interface QuarantineReason {
  /** Relative to the data directory. */
  readonly path: string;
  readonly what: string;
  /** What takes its place. */
  readonly action: string;
}

export interface QuarantineOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly logger: Logger;
}

export class Quarantine {
  readonly #options: QuarantineOptions;
  #count = 0;

  constructor(options: QuarantineOptions) {
    this.#options = options;
  }

  /**
   * Keeps the named blocks as they stand in the file, readable or not.
   * Never fails: what it cannot keep it says in the log, and the repair goes on.
   */
  keepBlocks(reason: QuarantineReason, shape: BlockFileShape, blocks: readonly number[]): void {
    const { dataDirectory, fileSystem } = this.#options;
    const source = joinPath(dataDirectory, reason.path);
    this.#keep(reason, { blocks }, (directory) => {
      if (!fileSystem.exists(source)) return;
      const handle = fileSystem.open(source, 'read');
      try {
        for (const block of blocks) {
          const bytes = new Uint8Array(shape.sizeOf(block));
          const count = handle.read(bytes, shape.positionOf(block));
          const target = joinPath(directory, `block-${block}`);
          writeAtomicFile(fileSystem, target, [bytes.subarray(0, count)]);
        }
      } finally {
        handle.close();
      }
    });
  }

  /** Keeps the whole file: another name of the same bytes. Never fails, as above. */
  keepFile(reason: QuarantineReason): void {
    const { dataDirectory, fileSystem } = this.#options;
    const source = joinPath(dataDirectory, reason.path);
    this.#keep(reason, {}, (directory) => {
      if (!fileSystem.exists(source)) return;
      fileSystem.link(source, joinPath(directory, baseName(source)));
      fileSystem.syncDirectory(directory);
    });
  }

  #keep(reason: QuarantineReason, facts: object, keepBytes: (directory: string) => void): void {
    const { clock, dataDirectory, fileSystem, logger } = this.#options;
    const parent = joinPath(dataDirectory, QUARANTINE_DIRECTORY_NAME);
    try {
      fileSystem.makeDirectory(parent);
      this.#count += 1;
      const wallMs = clock.wallMs();
      const name = `${baseName(reason.path)}-${wallMs}-${this.#count}`;
      if (fileSystem.list(parent).length >= ENTRY_COUNT_MAX) {
        logger.warn({ ...reason, parent }, 'the quarantine is full; damaged bytes are not kept');
        return;
      }
      const directory = joinPath(parent, name);
      fileSystem.makeDirectory(directory);
      keepBytes(directory);
      failpoint('repair.quarantined');
      const at = new Date(wallMs).toISOString();
      const path = joinPath(directory, REASON_FILE_NAME);
      writeAtomicJson(fileSystem, path, REASON_FORMAT, { ...reason, ...facts, at });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      logger.warn({ ...reason, code: error.code }, 'damaged bytes could not be kept');
    }
  }
}
