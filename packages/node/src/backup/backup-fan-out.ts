/**
 * One backup to several sinks at once: copies in several regions. Each sink has its own manifest,
 * its own base and its own fate; what one does never touches another.
 */

import type { HoldfastError } from '@holdfast/base';
import { InvariantViolation, toHoldfastError } from '@holdfast/base';
import type { BackupOutcome } from './backup-writer.ts';
import type { BackupSink } from './sinks/sink.ts';

export type SinkOutcome =
  | {
      readonly kind: 'success';
      readonly sink: string;
      readonly outcome: BackupOutcome;
      /** Of file content that had to be sent. */
      readonly sentSizeBytes: number;
    }
  | { readonly kind: 'failure'; readonly sink: string; readonly error: HoldfastError };

/**
 * Runs `backUp` for every sink, all at the same time; there are a handful. One outcome per sink, in
 * the order of `sinks`, when the last has ended. Rejects only with a violated invariant, and then
 * also after the last has ended.
 */
export async function backUpToAll<Sink extends Pick<BackupSink, 'name'>>(
  sinks: readonly Sink[],
  backUp: (sink: Sink) => Promise<BackupOutcome>,
): Promise<readonly SinkOutcome[]> {
  const settled = await Promise.allSettled(sinks.map(async (sink) => backUp(sink)));
  return settled.map((result, i): SinkOutcome => {
    const sink = (sinks[i] as Sink).name;
    if (result.status === 'rejected') {
      // A bug of ours is not the fault of a sink.
      if (result.reason instanceof InvariantViolation) throw result.reason;
      return { kind: 'failure', sink, error: toHoldfastError(result.reason) };
    }
    const outcome = result.value;
    const sentSizeBytes = outcome.kind === 'written' ? outcome.sentSizeBytes : 0;
    return { kind: 'success', sink, outcome, sentSizeBytes };
  });
}

/** True when at least `countMin` sinks have it: what counts as a backup is the caller's policy. */
export const hasSucceeded = (outcomes: readonly SinkOutcome[], countMin: number): boolean =>
  outcomes.filter(({ kind }) => kind === 'success').length >= countMin;
