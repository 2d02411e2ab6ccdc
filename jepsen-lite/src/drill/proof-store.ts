/** Where a proof keeps its backups: a folder or an S3 server of its own, gone when it is closed. */
import { rmSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import {
  CEPH_ACCESS_KEY_ID,
  CEPH_SECRET_ACCESS_KEY,
  CephServer,
  cephMissing,
} from '@holdfast/node/testing';
import { makeScratchDirectory } from '../cluster/scratch-directory.ts';

export interface ProofStore {
  /** As the setting and the command line take it. */
  readonly url: string;
  close(): Promise<void>;
}

const BUCKET = 'proof';

/**
 * `file`, `s3` (Ceph's gateway, started here; sets the keys in this process's environment, which
 * its children inherit), or the URL of a store that is there and stays.
 * @throws Error when the server is not installed
 */
export async function openProofStore(kind: string): Promise<ProofStore> {
  if (kind === 'file') {
    const folder = makeScratchDirectory('proof-store');
    const close = async () => rmSync(folder, { recursive: true, force: true });
    return { url: pathToFileURL(folder).href, close };
  }
  if (kind !== 's3') return { url: kind, close: async () => undefined };
  const missing = cephMissing();
  if (missing !== false) throw new Error(`--store s3 needs a server: ${missing}`);
  const server = await CephServer.start();
  await server.makeBucket(BUCKET);
  process.env.AWS_ACCESS_KEY_ID = CEPH_ACCESS_KEY_ID;
  process.env.AWS_SECRET_ACCESS_KEY = CEPH_SECRET_ACCESS_KEY;
  const url = `s3://${BUCKET}/backups?endpoint=${server.endpoint}&pathStyle=true`;
  return { url, close: () => server.stop() };
}

/** As openProofStore; the store is let go of whatever happens. */
export async function withProofStore<Answer>(
  kind: string,
  body: (url: string) => Promise<Answer>,
): Promise<Answer> {
  const store = await openProofStore(kind);
  try {
    return await body(store.url);
  } finally {
    await store.close();
  }
}
