/** Which clusters have something in a sink: what a person is asked to choose from. */
import type { BackupSink } from './sinks/sink.ts';

/** More than that share no store. */
const CLUSTER_COUNT_MAX = 1_000;

/**
 * Ids, ascending. One request per cluster, however much each has stored.
 * @throws HoldfastError SINK_*
 */
export async function findClusters(sink: Pick<BackupSink, 'list'>): Promise<readonly string[]> {
  const ids: string[] = [];
  let after: string | undefined;
  while (ids.length < CLUSTER_COUNT_MAX) {
    const first = await firstKey(sink, after);
    if (first === null) return ids;
    const slash = first.indexOf('/');
    // Not ours: nothing of a backup lies at the top.
    if (slash > 0) ids.push(first.slice(0, slash));
    // The character behind the slash: after every key of this cluster, before those of the next.
    after = slash > 0 ? `${first.slice(0, slash)}0` : first;
  }
  return ids;
}

async function firstKey(
  sink: Pick<BackupSink, 'list'>,
  after: string | undefined,
): Promise<string | null> {
  for await (const { key } of sink.list('', after)) return key;
  return null;
}
