/**
 * Point-in-time recovery next to the damage: a shop writes its products, a bad deployment
 * overwrites and deletes some of them, and the state of the moment before comes back as a second
 * cluster, while the first one goes on with what it has.
 */
import type { JsonObject } from '@holdfast/client';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeDigest } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause } from '../wait.ts';
import { clusterIdOf, untilArchived } from './archived.ts';
import { holdfast } from './holdfast-command.ts';
import { keepSecret, rebuild, removeDataDirectories } from './rebuild.ts';
import { withClient } from './with-client.ts';

export interface TimeTravelOptions {
  /** Archives into `store`. */
  readonly present: ProcessCluster;
  /** Formed and never started; its directories are made anew from the store. */
  readonly past: ProcessCluster;
  readonly store: string;
  readonly onProgress: (line: string) => void;
}

export interface Product {
  readonly id: number;
  readonly vector: readonly number[];
  readonly payload: JsonObject;
}

export interface TimeTravelReport {
  /** RFC 3339; what the second cluster was restored to. */
  readonly moment: string;
  /** By id, as it was at the moment. */
  readonly before: ReadonlyMap<number, Product>;
  readonly present: ReadonlyMap<number, Product>;
  readonly past: ReadonlyMap<number, Product>;
  /** Of the second cluster. */
  readonly digests: readonly NodeDigest[];
  /** In words; empty when both clusters are as they should be. */
  readonly wrong: readonly string[];
}

export const PRODUCT_COUNT = 12;
const COLLECTION = 'products';
const NAMES = ['kettle', 'lamp', 'chair', 'desk', 'clock', 'mug'] as const;
/** The clocks of nodes and of whoever notes the moment differ less. */
const QUIET_MS = 100;

export async function runTimeTravel(options: TimeTravelOptions): Promise<TimeTravelReport> {
  const { onProgress, past, present, store } = options;
  const before = await writeGoodData(options);
  await pause(QUIET_MS);
  const moment = new Date().toISOString();
  await pause(QUIET_MS);
  onProgress(`all is well at ${moment}`);
  const { damaged, lastIndex } = await deployBadly(present, before);
  onProgress('a bad deployment overwrote and deleted rows');
  await untilArchived(present, lastIndex);

  const secretPath = keepSecret(past);
  removeDataDirectories(past);
  onProgress(`restoring ${moment} into a second cluster`);
  const target = ['--cluster', clusterIdOf(present), '--point-in-time', moment];
  const { said } = await rebuild({ cluster: past, store, secretPath, target });
  for (const line of said.trim().split('\n').slice(0, 3)) onProgress(line);
  const digests = await expectEqualDigests(past);
  const states = { present: await products(present), past: await products(past) };
  const wrong = [
    ...differences('the second cluster', before, states.past),
    ...differences('the first cluster', damaged, states.present),
    ...((await takesWrites(past)) ? [] : ['the second cluster takes no writes']),
  ];
  return { moment, before, digests, wrong, ...states };
}

/** Half of it is in a backup, the rest only in the archive of the log. */
async function writeGoodData({
  onProgress,
  present,
}: TimeTravelOptions): Promise<ReadonlyMap<number, Product>> {
  const all = Array.from({ length: PRODUCT_COUNT }, (_row, i): Product => {
    const name = `${NAMES[i % NAMES.length]} ${i + 1}`;
    return { id: i + 1, vector: [i + 1, 0.5], payload: { name, priceCents: 100 * (i + 10) } };
  });
  await withClient(present, async (client) => {
    await client.createCollection({ name: COLLECTION, dimension: 2, metric: 'l2' });
    await client.collection(COLLECTION).upsert(all.slice(0, PRODUCT_COUNT / 2).map(pointOf));
  });
  const made = await holdfast('backup', 'create', '--full', '--nodes', present.addressOf('n1'));
  onProgress(made.trim().replaceAll(/\s+/g, ' '));
  await withClient(present, (client) =>
    client.collection(COLLECTION).upsert(all.slice(PRODUCT_COUNT / 2).map(pointOf)),
  );
  onProgress(`${PRODUCT_COUNT} products written, half of them after the backup`);
  return new Map(all.map((product) => [product.id, product]));
}

/** Every other price becomes 0 and its vector too, every third product is deleted. */
async function deployBadly(
  present: ProcessCluster,
  before: ReadonlyMap<number, Product>,
): Promise<{ readonly damaged: ReadonlyMap<number, Product>; readonly lastIndex: number }> {
  const damaged = new Map(before);
  const overwritten = [...before.values()]
    .filter(({ id }) => id % 2 === 0)
    .map(({ id }): Product => ({ id, vector: [0, 0], payload: { name: 'TODO', priceCents: 0 } }));
  for (const product of overwritten) damaged.set(product.id, product);
  const deleted = [...before.keys()].filter((id) => id % 3 === 0);
  for (const id of deleted) damaged.delete(id);
  const lastIndex = await withClient(present, async (client) => {
    await client.collection(COLLECTION).upsert(overwritten.map(pointOf));
    const { index } = await client.collection(COLLECTION).delete(deleted);
    return index;
  });
  return { damaged, lastIndex };
}

async function products(cluster: ProcessCluster): Promise<ReadonlyMap<number, Product>> {
  return withClient(cluster, async (client) => {
    const found = new Map<number, Product>();
    for await (const point of client.collection(COLLECTION).scrollAll({ withVector: true })) {
      const { payload = {}, vector = [] } = point;
      found.set(Number(point.id), { id: Number(point.id), vector: [...vector], payload });
    }
    return found;
  });
}

/** It is a cluster like any other; what was written is gone again. */
async function takesWrites(cluster: ProcessCluster): Promise<boolean> {
  const id = PRODUCT_COUNT + 1;
  return withClient(cluster, async (client) => {
    const rows = client.collection(COLLECTION);
    await rows.upsert({ id, vector: [1, 1] });
    const isThere = (await rows.get(id)) !== null;
    await rows.delete(id);
    return isThere;
  });
}

function differences(
  where: string,
  expected: ReadonlyMap<number, Product>,
  found: ReadonlyMap<number, Product>,
): readonly string[] {
  const ids = new Set([...expected.keys(), ...found.keys()]);
  return [...ids]
    .filter((id) => textOf(expected.get(id)) !== textOf(found.get(id)))
    .map((id) => `${where}, ${id}: ${textOf(found.get(id))}, not ${textOf(expected.get(id))}`);
}

const textOf = (product: Product | undefined): string =>
  product === undefined
    ? 'nothing'
    : JSON.stringify([product.vector, product.payload.name, product.payload.priceCents]);

const pointOf = ({ id, payload, vector }: Product) => ({ id, payload, vector: [...vector] });
