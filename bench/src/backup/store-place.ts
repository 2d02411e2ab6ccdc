/**
 * The stores that backups are measured against: a folder on the disk of the cluster, and Ceph's
 * gateway on loopback where it is installed. What is not there is a note in the report.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { makeScratchDirectory, removeScratchDirectory } from '@holdfast/jepsen-lite';
import {
  CEPH_ACCESS_KEY_ID,
  CEPH_SECRET_ACCESS_KEY,
  CephServer,
  cephMissing,
} from '@holdfast/node/testing';

export type StoreKind = 'folder' | 'S3';

export interface StorePlace {
  readonly kind: StoreKind;
  /** As the setting has it; nodes find the credentials in the environment of this process. */
  readonly url: string;
}

export const S3_BUCKET = 'bench';
export const STORE_KINDS: readonly StoreKind[] = ['folder', 'S3'];

/** Why a kind of store cannot be measured here; null: it can. */
export function storeMissing(kind: StoreKind): string | null {
  const missing = kind === 'S3' ? cephMissing() : false;
  return missing === false ? null : `${kind} was not measured: ${missing}`;
}

/** A store that is empty, removed after `body` whatever happens. */
export async function withStore<Answer>(
  kind: StoreKind,
  body: (place: StorePlace) => Promise<Answer>,
): Promise<Answer> {
  if (kind === 'S3')
    return withCeph(async ({ endpoint }) => {
      const url = `s3://${S3_BUCKET}/backups?endpoint=${endpoint}&pathStyle=true`;
      return body({ kind, url });
    });
  const directory = makeScratchDirectory('bench-store');
  try {
    const folder = join(directory, 'store');
    mkdirSync(folder);
    return await body({ kind, url: pathToFileURL(folder).href });
  } finally {
    removeScratchDirectory(directory);
  }
}

/** An S3 server with an empty bucket; its credentials are in the environment from then on. */
export async function withCeph<Answer>(
  body: (server: CephServer) => Promise<Answer>,
): Promise<Answer> {
  const server = await CephServer.start();
  try {
    await server.makeBucket(S3_BUCKET);
    process.env.AWS_ACCESS_KEY_ID = CEPH_ACCESS_KEY_ID;
    process.env.AWS_SECRET_ACCESS_KEY = CEPH_SECRET_ACCESS_KEY;
    return await body(server);
  } finally {
    await server.stop();
  }
}
