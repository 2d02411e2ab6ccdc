/** Who reads for the scrubber: the bytes of one look, at a rate that can be changed meanwhile. */
import type { FileFlaw, FileSystem, ScrubLook } from '@holdfast/storage';
import { scrubLook } from '@holdfast/storage';
import type { ScrubPaceParts } from './scrub-pace.ts';
import { ScrubPace } from './scrub-pace.ts';

export interface Looked {
  readonly flaws: readonly FileFlaw[];
  /** Read for it. */
  readonly sizeBytes: number;
}

export interface ScrubReader {
  /** 0: no limit. Of everything that is read at the same time together. */
  bytesPerSecMax: number;
  /** Rejects FILE_IO: the disk refuses. Any number may be under way. */
  look(look: ScrubLook): Promise<Looked>;
  /** Looks under way may be rejected SHUTTING_DOWN, and so is every later one. */
  stop(): Promise<void>;
}

/** Makes a reader for a rate. */
export type MakeScrubReader = (bytesPerSecMax: number) => ScrubReader;

export const inlineReaders =
  (fileSystem: FileSystem, parts: ScrubPaceParts): MakeScrubReader =>
  (bytesPerSecMax) =>
    new InlineScrubReader(fileSystem, new ScrubPace(bytesPerSecMax, parts));

/** On the thread of the caller, a step at a time. */
export class InlineScrubReader implements ScrubReader {
  readonly #fileSystem: FileSystem;
  readonly #pace: ScrubPace;

  constructor(fileSystem: FileSystem, pace: ScrubPace) {
    this.#fileSystem = fileSystem;
    this.#pace = pace;
  }

  get bytesPerSecMax(): number {
    return this.#pace.bytesPerSecMax;
  }

  set bytesPerSecMax(bytesPerSec: number) {
    this.#pace.bytesPerSecMax = bytesPerSec;
  }

  async look(look: ScrubLook): Promise<Looked> {
    let sizeBytes = 0;
    const steps = scrubLook(this.#fileSystem, look);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return { flaws: step.value, sizeBytes };
      sizeBytes += step.value;
      await this.#pace.after(step.value);
    }
  }

  /** What is under way goes on to its end: it may be what a repair waits for. */
  async stop(): Promise<void> {}
}
