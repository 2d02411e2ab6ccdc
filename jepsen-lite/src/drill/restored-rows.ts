/** Rows as a writer was told and as a cluster has them, and what both are compared by. */
import { createHash } from 'node:crypto';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import type { AcknowledgedWrite, WorkerStory } from './drill-writer.ts';
import { DRILL_COLLECTION } from './drill-writer.ts';
import type { RestoredRow } from './judge-restored.ts';
import { withClient } from './with-client.ts';

const PAGE_COUNT = 1_000;

/** The rows after `index` of the log, when all that was sent by then was acknowledged. */
export function rowsAt(stories: readonly WorkerStory[], index: number): readonly RestoredRow[] {
  const newest = new Map<number, AcknowledgedWrite>();
  for (const { acknowledged } of stories) {
    // Each id is of one worker, whose operations are in order.
    for (const write of acknowledged) if (write.index <= index) newest.set(write.id, write);
  }
  return [...newest.values()].flatMap(({ id, index: version, value }) =>
    value === null ? [] : [{ id, value, version }],
  );
}

/** Every row of the drill's collection. */
export async function readRestoredRows(cluster: ProcessCluster): Promise<readonly RestoredRow[]> {
  return withClient(cluster, async (client) => {
    const rows: RestoredRow[] = [];
    const pages = client
      .collection(DRILL_COLLECTION)
      .scrollAll({ limit: PAGE_COUNT, withVector: true });
    for await (const { id, vector, version } of pages) {
      rows.push({ id: Number(id), value: vector?.[0] ?? Number.NaN, version });
    }
    return rows;
  });
}

/** Of ids, values and the index of each row's last write; in whatever order they come. */
export function digestOfRows(rows: readonly RestoredRow[]): string {
  const hash = createHash('sha256');
  const sorted = [...rows].sort((left, right) => left.id - right.id);
  for (const { id, value, version } of sorted) hash.update(`${id} ${value} ${version}\n`);
  return hash.digest('hex').slice(0, 32);
}
