/** One read of several points, by whichever means a client has; all of them see one log index. */
import { unreachable } from '@holdfast/base';
import type { PointId, StoredPoint } from '@holdfast/client';
import type { OperationOf, SeenPoint } from '../operation.ts';
import { numberIn } from './register.ts';
import { chosenNode, type WorkerTools } from './workload.ts';

interface FoundPoint {
  readonly id: PointId;
  readonly version: number;
  readonly payload?: StoredPoint['payload'];
}

/** @throws HoldfastError; Error when a point holds no number, which nobody wrote */
export async function readTogether(
  tools: WorkerTools,
  collection: string,
  dimension: number,
  asked: OperationOf<'readTogether'>,
): Promise<OperationOf<'readTogether'>> {
  const { points, appliedIndex } = await findPoints(tools, collection, dimension, asked);
  const seen = points.map(
    (point): SeenPoint => ({
      ...{ point: Number(point.id), value: numberIn(point), version: point.version },
    }),
  );
  return { ...asked, seen, appliedIndex };
}

async function findPoints(
  tools: WorkerTools,
  collection: string,
  dimension: number,
  { means, points, nodePick }: OperationOf<'readTogether'>,
): Promise<{ readonly points: readonly FoundPoint[]; readonly appliedIndex: number }> {
  const node = chosenNode(tools, nodePick);
  const client = tools.client.collection(collection);
  const ids = [...points];
  const filter = { must: [{ has_id: ids }] };
  switch (means) {
    case 'get':
      return node === null ? client.getMany(ids) : node.ask('get', { collection, ids });
    case 'scroll': {
      const options = { filter, limit: ids.length };
      return node === null
        ? client.scroll(options)
        : node.ask('scroll', { collection, ...options });
    }
    case 'search': {
      const vector = new Float32Array(dimension);
      const options = { k: ids.length, filter, exact: true, withPayload: true };
      const { hits, appliedIndex } =
        node === null
          ? await client.search(vector, options)
          : await node.ask('search', { collection, vector, ...options });
      return { points: hits, appliedIndex };
    }
    default:
      return unreachable(means);
  }
}
