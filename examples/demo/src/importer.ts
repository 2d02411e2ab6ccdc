/**
 * Imports passages in batches, several at a time. Each worker waits for its acknowledgement before
 * it sends the next batch (a closed loop), so the rate is what the cluster really acknowledged. The
 * client finds a new leader by itself; the importer only writes down what was promised.
 */
import type { Collection } from '@holdfast/client';
import type { HashedEmbedder } from './embedder.ts';
import type { Ledger } from './ledger.ts';
import type { Passage } from './passages.ts';

export interface ImportOptions {
  readonly collection: Collection;
  readonly embedder: HashedEmbedder;
  readonly ledger: Ledger;
  readonly onAcknowledged: (acknowledgedCount: number) => void;
}

export interface ImportResult {
  readonly acknowledgedCount: number;
  readonly durationMs: number;
}

const BATCH_POINT_COUNT = 32;
const CONCURRENT_BATCH_COUNT = 4;
/** Generous: an election takes about a second, and a busy machine takes longer. */
const WRITE_TIMEOUT_MS = 60_000;

/** What is embedded: the package and the heading say what a passage is about. */
export const embeddedText = (passage: Passage): string => {
  const [home = ''] = passage.source.split('/');
  return `${home} ${passage.heading} ${passage.heading}. ${passage.text}`;
};

/** @throws HoldfastError when a batch was not acknowledged in time */
export async function importPassages(
  passages: readonly Passage[],
  options: ImportOptions,
): Promise<ImportResult> {
  const startMs = performance.now();
  let nextIndex = 0;
  let acknowledgedCount = 0;
  const work = async (): Promise<void> => {
    while (nextIndex < passages.length) {
      const batch = passages.slice(nextIndex, nextIndex + BATCH_POINT_COUNT);
      nextIndex += batch.length;
      const answer = await options.collection.upsert(
        batch.map((passage) => ({
          id: passage.id,
          vector: options.embedder.embed(embeddedText(passage)),
          payload: { text: passage.text, source: passage.source, heading: passage.heading },
        })),
        { timeoutMs: WRITE_TIMEOUT_MS },
      );
      options.ledger.acknowledge(batch, answer, performance.now());
      acknowledgedCount += batch.length;
      options.onAcknowledged(acknowledgedCount);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_BATCH_COUNT }, work));
  return { acknowledgedCount, durationMs: performance.now() - startMs };
}
