/**
 * Reading one object over a connection that may break: reading goes on where it stopped, and only
 * from the same object (by its entity tag). Breaks without progress between them are counted, so a
 * slow link can carry a large object and a dead one ends soon.
 */
import { HoldfastError } from '@holdfast/base';
import type { SinkDigest } from './sink-digest.ts';
import { collectVerified, verifiedPieces } from './sink-digest.ts';
import { aborted, type SinkFailure, sinkError } from './sink-failure.ts';
import type { SinkEnvironment } from './sink-retry.ts';
import { retryDelayMs, waitFor, withRetry } from './sink-retry.ts';

/** The answer to a request for the content from some offset on. */
export interface OpenedObject {
  readonly digest: SinkDigest;
  /** Names this very content of the key. */
  readonly entityTag: string;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Lets the connection go; a read under way then fails. Any number of times. */
  readonly close: () => void;
}

export interface ResumedRead {
  /** For messages: `read of KEY from NAME`. */
  readonly what: string;
  /** For messages: `KEY in NAME`. */
  readonly object: string;
  readonly signal?: AbortSignal | undefined;
  readonly classify: (error: unknown) => SinkFailure | null;
  /** Null when there is no such object. With a tag: only if the object still has it. */
  readonly open: (
    offset: number,
    entityTag: string | null,
    signal: AbortSignal,
  ) => Promise<OpenedObject | null>;
}

/** Null when there is no such object. */
export async function readVerified(
  environment: SinkEnvironment,
  read: ResumedRead,
): Promise<AsyncGenerator<Uint8Array> | null> {
  const first = await openAt(environment, read, 0, null);
  if (first === null) return null;
  return verifiedPieces(resumedChunks(environment, read, first), first.digest, read.object);
}

/** The whole object; null when there is none. @throws HoldfastError SINK_REFUSED when larger */
export async function getVerified(
  environment: SinkEnvironment,
  read: ResumedRead,
  sizeBytesMax: number,
): Promise<Uint8Array | null> {
  const first = await openAt(environment, read, 0, null);
  if (first === null) return null;
  try {
    const chunks = resumedChunks(environment, read, first);
    return await collectVerified(chunks, first.digest, sizeBytesMax, read);
  } finally {
    first.close();
  }
}

const openAt = (
  environment: SinkEnvironment,
  read: ResumedRead,
  offset: number,
  entityTag: string | null,
): Promise<OpenedObject | null> =>
  withRetry(environment, {
    what: read.what,
    signal: read.signal,
    classify: read.classify,
    run: ({ signal }) => read.open(offset, entityTag, signal),
  });

async function* resumedChunks(
  environment: SinkEnvironment,
  read: ResumedRead,
  first: OpenedObject,
): AsyncGenerator<Uint8Array> {
  const { sizeBytes } = first.digest;
  let opened = first;
  let offset = 0;
  for (let breakCount = 1; ; breakCount++) {
    let thrown: unknown;
    try {
      for await (const chunk of watchedChunks(environment, read, opened)) {
        offset += chunk.byteLength;
        breakCount = 0;
        yield chunk;
      }
      if (offset >= sizeBytes) return;
      thrown = new HoldfastError('CONNECTION_LOST', 'the content ended too early');
    } catch (error) {
      thrown = error;
    } finally {
      opened.close();
    }
    await afterBreak(environment, read, thrown, breakCount);
    const next = await openAt(environment, read, offset, first.entityTag);
    if (next === null)
      throw new HoldfastError('BACKUP_NOT_FOUND', `${read.object} was removed while it was read`);
    opened = next;
  }
}

/** Waits before the next connection, or throws when there should be none. */
async function afterBreak(
  environment: SinkEnvironment,
  read: ResumedRead,
  thrown: unknown,
  breakCount: number,
): Promise<void> {
  if (read.signal?.aborted) throw aborted(read.what);
  const failure = read.classify(thrown);
  if (failure === null) throw thrown;
  if (!failure.isTransient || breakCount >= environment.retryPolicy.attemptCountMax)
    throw sinkError(read.what, failure, thrown);
  await waitFor(environment.timers, retryDelayMs(environment, Math.max(1, breakCount)), read);
}

/** Lets go of a connection that stands still, and of any when the caller aborts. */
async function* watchedChunks(
  environment: SinkEnvironment,
  read: ResumedRead,
  opened: OpenedObject,
): AsyncGenerator<Uint8Array> {
  const { timers, retryPolicy } = environment;
  const iterator = opened.chunks[Symbol.asyncIterator]();
  read.signal?.addEventListener('abort', opened.close, { once: true });
  try {
    for (;;) {
      if (read.signal?.aborted) throw aborted(read.what);
      const timer = timers.after(retryPolicy.attemptMsMax, opened.close);
      let next: IteratorResult<Uint8Array>;
      try {
        next = await iterator.next();
      } finally {
        timer.cancel();
      }
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    read.signal?.removeEventListener('abort', opened.close);
  }
}
