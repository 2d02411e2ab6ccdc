/**
 * The stores that backups are measured against: a folder on the disk of the cluster, and Ceph's
 * gateway on loopback where it is installed. What is not there is a note in the report.
 */
import { SeededRandom } from '@holdfast/base';
import { withProofStore } from '@holdfast/jepsen-lite';
import { cephMissing, openSinkForTests } from '@holdfast/node/testing';

export type StoreKind = 'folder' | 'S3';

export const STORE_KINDS: readonly StoreKind[] = ['folder', 'S3'];

/** Why a kind of store cannot be measured here; null: it can. */
export function storeMissing(kind: StoreKind): string | null {
  const missing = kind === 'S3' ? cephMissing() : false;
  return missing === false ? null : `${kind} was not measured: ${missing}`;
}

/** A store that is empty, by the URL that the setting takes; removed whatever happens. */
export const withStore = <Answer>(
  kind: StoreKind,
  body: (url: string) => Promise<Answer>,
): Promise<Answer> => withProofStore(kind === 'S3' ? 's3' : 'file', body);

/** Nobody may be at work on it. */
export async function emptyStore(url: string): Promise<void> {
  const sink = await openSinkForTests(url, new SeededRandom(1));
  try {
    const keys: string[] = [];
    for await (const { key } of sink.list('')) keys.push(key);
    await sink.remove(keys);
  } finally {
    await sink.close();
  }
}
