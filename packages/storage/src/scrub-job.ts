/**
 * A look at one target as data: whatever reads many bytes is a job that another thread can do,
 * because it needs nothing but the disk and what stands in it. What is small and judged by what the
 * process has in memory is looked at where that memory is.
 */
import { unreachable } from '@holdfast/base';
import type { FileSystem } from './fs.ts';
import type { FileFlaw, ScrubSteps } from './scrub-steps.ts';
import { scrubBlockFile } from './scrub-steps.ts';
import type { WalFileFacts } from './wal/file-facts.ts';
import { scrubWalFile } from './wal/scrub.ts';

/** Can be sent to a thread as it is, and so can the flaws that come of it. */
export type ScrubJob =
  | { readonly kind: 'blockFile'; readonly path: string; readonly checksum: string }
  | {
      readonly kind: 'logFile';
      /** Of the log. */
      readonly directory: string;
      readonly fileId: number;
      /** Known before the look: the file may have more meanwhile. */
      readonly expected: WalFileFacts | null;
    };

export type ScrubLook =
  | { readonly kind: 'small'; readonly steps: ScrubSteps }
  | {
      readonly kind: 'file';
      readonly job: ScrubJob;
      /** What of the flaws of the file counts, by what can be seen after the look. */
      readonly judge: (flaws: readonly FileFlaw[]) => readonly FileFlaw[];
    };

/** A look at a file whose flaws all count. */
export const lookAtFile = (job: ScrubJob): ScrubLook => ({
  kind: 'file',
  job,
  judge: (flaws) => flaws,
});

/** @throws HoldfastError FILE_IO */
export function scrubJob(fileSystem: FileSystem, job: ScrubJob): ScrubSteps {
  switch (job.kind) {
    case 'blockFile':
      return scrubBlockFile(fileSystem, job.path, job.checksum);
    case 'logFile':
      return scrubWalFile(fileSystem, job.directory, job.fileId, job.expected);
    default:
      return unreachable(job);
  }
}

/** The whole look, on this thread. @throws HoldfastError FILE_IO */
export function* scrubLook(fileSystem: FileSystem, look: ScrubLook): ScrubSteps {
  if (look.kind === 'small') return yield* look.steps;
  return look.judge(yield* scrubJob(fileSystem, look.job));
}
