/**
 * The stores that backups are measured against: a folder on the disk of the cluster, and Ceph's
 * gateway on loopback where it is installed. What is not there is a note in the report.
 */
import { withProofStore } from '@holdfast/jepsen-lite';
import { cephMissing } from '@holdfast/node/testing';

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
