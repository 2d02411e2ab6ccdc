/** What answers of stores have in common, whatever the client libraries call it. */
import type { SinkObject } from './sink.ts';

/** Libraries leave fields out when the store did; no time is the beginning of all time. */
export const describedObject = (
  key: string,
  sizeBytes: number | undefined,
  modified: Date | undefined,
): SinkObject => ({ key, sizeBytes: sizeBytes ?? 0, modifiedMs: modified?.getTime() ?? 0 });

/** The content of an answer without one. */
export const NO_CHUNKS: AsyncIterable<Uint8Array> = {
  async *[Symbol.asyncIterator]() {},
};
