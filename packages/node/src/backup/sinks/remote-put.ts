/**
 * What putting one object has in common in every store behind a network: its beginning, the request
 * that makes it visible, and beginning again when the parts that were sent are gone.
 */
import { HoldfastError } from '@holdfast/base';
import { PARTS_FROM_SIZE_BYTES, planParts } from './part-size.ts';
import type { RemoteStore } from './remote-store.ts';
import type { SinkPutOptions, SinkPutOutcome, SinkSource } from './sink.ts';
import type { HashedBytes, SinkDigest, WayHash } from './sink-digest.ts';
import { digestSource, randomMark, SourceReader } from './sink-digest.ts';
import { refusal } from './sink-failure.ts';
import { checkSinkKey } from './sink-keys.ts';
import type { SinkAttempt } from './sink-retry.ts';
import { putOnce } from './sink-retry.ts';

/** How often an object is begun again after its parts were lost. */
const RESTART_COUNT_MAX = 3;

export interface WantedPut {
  readonly key: string;
  /** For messages: `put of KEY to NAME`. */
  readonly what: string;
  readonly source: SinkSource;
  readonly options: SinkPutOptions;
  /** In parts. */
  readonly isLarge: boolean;
}

export interface PutTask extends WantedPut {
  readonly writer: string;
  readonly digest: SinkDigest;
}

/** Null: it is there already. @throws HoldfastError SINK_REFUSED for a wrong key or size */
export async function beginPut(
  store: RemoteStore,
  key: string,
  source: SinkSource,
  options: SinkPutOptions,
): Promise<WantedPut | null> {
  checkSinkKey(key, store.name);
  const what = `put of ${key} to ${store.name}`;
  if (source.sizeBytes > 0 && planParts(source.sizeBytes) === null)
    throw refusal(what, `an object of ${source.sizeBytes} bytes is too large`);
  const isLarge = source.sizeBytes > PARTS_FROM_SIZE_BYTES;
  // spares reading and sending what is there already; the condition decides all the same
  if (isLarge && options.ifAbsent) {
    const { signal } = options;
    const looking = `head of ${key} in ${store.name}`;
    if (await store.call(looking, { signal }, (attempt) => store.isThere(key, attempt.signal)))
      return null;
  }
  return { key, what, source, options, isLarge };
}

/** Reads the source once, for its digest. */
export async function putTask(store: RemoteStore, wanted: WantedPut): Promise<PutTask> {
  const { options, source, what } = wanted;
  const digest = await digestSource(source, what, options.signal);
  return { ...wanted, digest, writer: randomMark(store.environment.random) };
}

/** The bytes are in memory, so every attempt sends exactly what the digest was taken of. */
export async function putWhole(
  { digest, options, source, what }: PutTask,
  wayHash: WayHash,
  put: (whole: HashedBytes) => Promise<SinkPutOutcome>,
): Promise<SinkPutOutcome> {
  const reader = new SourceReader(source, digest, what, options.signal);
  const outcome = await put(await reader.take(source.sizeBytes, wayHash));
  if (outcome === 'stored') options.onProgress?.(source.sizeBytes);
  return outcome;
}

/** The one request that makes the object visible; an answer that was lost is asked for. */
export function publish(
  store: RemoteStore,
  { key, options, source, what, writer }: PutTask,
  run: (attempt: SinkAttempt) => Promise<SinkPutOutcome>,
): Promise<SinkPutOutcome> {
  return putOnce(store.environment, {
    ...{ what, signal: options.signal, sizeBytes: source.sizeBytes, run },
    classify: store.classify,
    isOurs: (signal) => store.isMarked(key, writer, signal),
  });
}

/** What was sent of an object is not in the store any more. */
export class PartsGone extends HoldfastError {
  /** `reason` is for whoever sees the last of many. */
  constructor(what: string, reason: string) {
    super('SINK_UNAVAILABLE', `${what} failed: ${reason}`);
  }
}

/**
 * What became of an object whose parts were gone when it should become visible: an attempt whose
 * answer was lost has done it, or somebody else was first. @throws PartsGone when it is not there
 */
export async function outcomeOfGone(
  store: RemoteStore,
  { key, options, writer }: PutTask,
  { mayHaveHappened, signal }: SinkAttempt,
  gone: PartsGone,
): Promise<SinkPutOutcome> {
  if (mayHaveHappened && (await store.isMarked(key, writer, signal))) return 'stored';
  if (options.ifAbsent && (await store.isThere(key, signal))) return 'exists';
  throw gone;
}

/** Somebody cleaned up what looked abandoned, or two writers took each other for it. */
export async function againWhenGone(run: () => Promise<SinkPutOutcome>): Promise<SinkPutOutcome> {
  for (let restartCount = 0; ; restartCount++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof PartsGone) || restartCount >= RESTART_COUNT_MAX) throw error;
    }
  }
}
