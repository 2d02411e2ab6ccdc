/**
 * Sends a source as parts: read once and in order, several under way at a time, each held in memory
 * until the store has confirmed it. The same for every store that knows parts; how one is sent is
 * the store's.
 *
 * Invariant: when it settles no part is under way, because one that arrives later would stay in the
 * store and be paid for.
 */
import { must } from '@holdfast/base';
import { planParts } from './part-size.ts';
import type { SinkPutOptions, SinkSource } from './sink.ts';
import type { HashedBytes, SinkDigest, WayHash } from './sink-digest.ts';
import { SourceReader } from './sink-digest.ts';
import { aborted } from './sink-failure.ts';

export interface PartsTask {
  readonly what: string;
  /** Its size was checked: there is a plan for it. */
  readonly source: SinkSource;
  readonly digest: SinkDigest;
  readonly options: Pick<SinkPutOptions, 'onProgress' | 'signal'>;
}

export interface Part extends HashedBytes {
  /** From 0 on. */
  readonly number: number;
}

/**
 * What `send` said of each part, in order. `stop` is aborted when another part has failed. The
 * bytes of a part are `send`'s until it has settled.
 * @throws HoldfastError ABORTED, of the source, and whatever `send` throws first
 */
export async function sendParts<Sent>(
  { digest, options, source, what }: PartsTask,
  wayHash: WayHash,
  send: (part: Part, stop: AbortSignal) => Promise<Sent>,
): Promise<readonly Sent[]> {
  const plan = must(planParts(source.sizeBytes), 'the size was checked');
  const stop = new AbortController();
  const onAbort = (): void => stop.abort();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const reader = new SourceReader(source, digest, what, stop.signal);
  const answers: Sent[] = [];
  const underWay = new Set<Promise<void>>();
  /** Of parts that were sent: one of several MiB for each part makes work for the collector. */
  const rooms: Uint8Array[] = [];
  const failures: unknown[] = [];
  let confirmedSizeBytes = 0;
  const fail = (error: unknown): void => {
    failures.push(error);
    stop.abort();
  };
  const sendOne = async (part: Part, room: Uint8Array): Promise<void> => {
    answers[part.number] = await send(part, stop.signal);
    rooms.push(room);
    confirmedSizeBytes += part.bytes.byteLength;
    options.onProgress?.(confirmedSizeBytes);
  };
  try {
    if (options.signal?.aborted) throw aborted(what);
    for (let number = 0; number < plan.partCount && failures.length === 0; number++) {
      const room = rooms.pop() ?? new Uint8Array(plan.partSizeBytes);
      const part = { number, ...(await reader.take(plan.partSizeBytes, wayHash, room)) };
      const sent = sendOne(part, room)
        .catch(fail)
        .finally(() => underWay.delete(sent));
      underWay.add(sent);
      if (underWay.size >= plan.parallelCount) await Promise.race(underWay);
    }
  } catch (error) {
    fail(error);
  } finally {
    await Promise.all(underWay);
    options.signal?.removeEventListener('abort', onAbort);
  }
  if (options.signal?.aborted) throw aborted(what);
  if (failures.length > 0) throw failures[0];
  return answers;
}
