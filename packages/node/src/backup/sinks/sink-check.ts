/**
 * Whether a store can do here what a sink promises: store, refuse to store twice, give back, list,
 * remove. The refusal matters most: a store that takes a conditional put as a plain one would let
 * two archivers overwrite each other, and is refused before anything depends on it.
 */
import type { Random } from '@holdfast/base';
import type { BackupSink } from './sink.ts';
import { bytesSource } from './sink.ts';
import { randomMark } from './sink-digest.ts';
import { refusal } from './sink-failure.ts';

export const CHECK_KEY_PREFIX = 'check_';

/** @throws HoldfastError SINK_REFUSED naming what the store lacks, or as the calls do */
export async function checkSink(
  sink: BackupSink,
  random: Random,
  signal?: AbortSignal,
): Promise<void> {
  const key = `${CHECK_KEY_PREFIX}${randomMark(random)}`;
  const options = signal === undefined ? {} : { signal };
  const bytes = Buffer.from(`check of ${key}`);
  const what = `${sink.name} as a store of backups`;
  try {
    await exercise();
  } catch (error) {
    // what went wrong first counts; a store that is gone keeps a few bytes
    await sink.remove([key]).catch(() => undefined);
    throw error;
  }
  await sink.remove([key], options);

  async function exercise(): Promise<void> {
    await sink.put(key, bytesSource(bytes), { ...options, ifAbsent: true });
    const again = await sink.put(key, bytesSource(bytes), { ...options, ifAbsent: true });
    if (again !== 'exists')
      throw refusal(what, 'it ignores If-None-Match, so two writers could overwrite each other');
    const found = await sink.get(key, bytes.byteLength, options);
    if (found === null || !bytes.equals(found)) throw refusal(what, 'it gives other bytes back');
    let isListed = false;
    for await (const object of sink.list(key, '', options)) isListed ||= object.key === key;
    if (!isListed) throw refusal(what, 'it does not list what was just stored');
  }
}
