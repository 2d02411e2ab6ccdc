/**
 * The boot epoch of the log, raised durably at every recovery before anything else is written, so
 * that no batch number is ever used twice; whether the log ever held a batch, so that a log whose
 * files are all gone is not taken for a new one; and which damaged batches are known to have been
 * durable. What shows that may be the head of a torn batch behind them, which recovery zeroes: a
 * crash right after that must not leave damage that looks like a torn tail.
 */
import { HoldfastError } from '@holdfast/base';
import { readAtomicJson, writeAtomicJson } from '../atomic-json.ts';
import type { FileSystem } from '../fs.ts';
import { joinPath } from '../fs.ts';
import { JsonFields } from '../json-shape.ts';

export const EPOCH_FILE_NAME = 'EPOCH';
/** Version 2 has the durable batch. */
const EPOCH_FORMAT = { format: 'holdfast-wal-epoch', version: 2 } as const;

export interface EpochRecord {
  readonly epoch: number;
  /** True once a batch was durable: from then on a log without any batch is a lost log. */
  readonly hasBatches: boolean;
  /** Newest batch that was found damaged and durable; 0 when none was. */
  readonly durableBatch: number;
}

/**
 * Null when there is none, or when it is damaged: the epochs in the log are then the lower bound,
 * which is enough, because nothing but a torn batch could carry a newer one and that is zeroed.
 */
export function readEpoch(fileSystem: FileSystem, directory: string): EpochRecord | null {
  try {
    return verifyEpochFile(fileSystem, directory);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'FILE_CORRUPT') return null;
    throw error;
  }
}

/** @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN, FILE_IO */
export function verifyEpochFile(fileSystem: FileSystem, directory: string): EpochRecord | null {
  const path = joinPath(directory, EPOCH_FILE_NAME);
  if (!fileSystem.exists(path)) return null;
  const fields = new JsonFields(path, readAtomicJson(fileSystem, path, EPOCH_FORMAT));
  return {
    epoch: fields.integer('epoch', 1),
    hasBatches: fields.flag('hasBatches'),
    durableBatch: fields.integer('durableBatch'),
  };
}

export function writeEpoch(fileSystem: FileSystem, directory: string, record: EpochRecord): void {
  writeAtomicJson(fileSystem, joinPath(directory, EPOCH_FILE_NAME), EPOCH_FORMAT, record);
}
