/**
 * The harness's side of the library between a node and its system calls: what native/interposer.c
 * reads is written here. It takes effect with the next call, outlives restarts of the node, and
 * needs no root.
 *
 * The clock it turns is the wall clock only. The monotonic clock stays what it is: no kernel moves
 * it, and Node.js hangs when it goes back.
 */
import { closeSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs';

const CONTROL_SIZE_BYTES = 4_096;
const WORD_SIZE_BYTES = 8;
const WORDS = { syncDelayMs: 0, syncErrno: 1, writeErrno: 2, isShort: 3, clockSlot: 4 } as const;
const CLOCK_SLOTS = 5;
const CLOCK_WORD_COUNT = 3;
const COUNTS_AT = 16;
const NS_PER_MS = 1_000_000;

export interface DiskFault {
  /** Every sync takes so much longer. */
  readonly syncDelayMs: number;
  /** Every sync fails with this number of errno; 0: none does. */
  readonly syncErrno: number;
  /** Every write into the data directory fails; 0: none does. */
  readonly writeErrno: number;
  /** Every second of these writes writes its first half instead of failing. */
  readonly hasShortWrites: boolean;
}

export const SOUND_DISK: DiskFault = {
  syncDelayMs: 0,
  syncErrno: 0,
  writeErrno: 0,
  hasShortWrites: false,
};

export interface WallClockFault {
  /** Added to the wall clock; negative: it goes back. */
  readonly offsetMs: number;
  /** How much faster it goes, in milliseconds per second. */
  readonly driftMsPerS: number;
}

export const RIGHT_CLOCK: WallClockFault = { offsetMs: 0, driftMsPerS: 0 };

export interface InterposerCounts {
  readonly syncsDelayed: number;
  readonly syncsFailed: number;
  readonly writesFailed: number;
  readonly writesShort: number;
}

export class Interposer {
  readonly #controlPath: string;
  readonly #libraryPath: string;
  readonly #dataDirectory: string;
  #clockSlot = 0;

  /** Makes the control file, which says that nothing is changed. */
  constructor(libraryPath: string, controlPath: string, dataDirectory: string) {
    this.#controlPath = controlPath;
    this.#libraryPath = libraryPath;
    this.#dataDirectory = dataDirectory;
    writeFileSync(controlPath, Buffer.alloc(CONTROL_SIZE_BYTES));
  }

  /** What the process must be started with. */
  get environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.#libraryPath,
      JEPSEN_INTERPOSER: this.#controlPath,
      JEPSEN_DATA_DIRECTORY: this.#dataDirectory,
      // Calls that go through the ring are not seen.
      UV_USE_IO_URING: '0',
    };
  }

  setDisk(fault: DiskFault): void {
    this.#write(WORDS.syncDelayMs, [
      BigInt(fault.syncDelayMs),
      BigInt(fault.syncErrno),
      BigInt(fault.writeErrno),
      fault.hasShortWrites ? 1n : 0n,
    ]);
  }

  /** Two slots in turn, so that no reader sees half of a change. */
  setClock(fault: WallClockFault): void {
    const nowNs = process.hrtime.bigint();
    this.#clockSlot = 1 - this.#clockSlot;
    this.#write(CLOCK_SLOTS + CLOCK_WORD_COUNT * this.#clockSlot, [
      BigInt(Math.round(fault.offsetMs * NS_PER_MS)),
      BigInt(Math.round(fault.driftMsPerS * NS_PER_MS)),
      nowNs,
    ]);
    this.#write(WORDS.clockSlot, [BigInt(this.#clockSlot)]);
  }

  /** What it did since the node was planned. */
  get counts(): InterposerCounts {
    const bytes = Buffer.alloc(4 * WORD_SIZE_BYTES);
    const file = openSync(this.#controlPath, 'r');
    try {
      readSync(file, bytes, 0, bytes.byteLength, COUNTS_AT * WORD_SIZE_BYTES);
    } finally {
      closeSync(file);
    }
    const at = (word: number): number => Number(bytes.readBigInt64LE(word * WORD_SIZE_BYTES));
    return { syncsDelayed: at(0), syncsFailed: at(1), writesFailed: at(2), writesShort: at(3) };
  }

  #write(word: number, values: readonly bigint[]): void {
    const bytes = Buffer.alloc(values.length * WORD_SIZE_BYTES);
    values.forEach((value, i) => void bytes.writeBigInt64LE(value, i * WORD_SIZE_BYTES));
    const file = openSync(this.#controlPath, 'r+');
    try {
      writeSync(file, bytes, 0, bytes.byteLength, word * WORD_SIZE_BYTES);
    } finally {
      closeSync(file);
    }
  }
}
