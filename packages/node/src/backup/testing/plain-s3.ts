/**
 * What the S3 library does when nobody checks, retries or fences anything: one request that
 * streams, in each direction. The peer of our sink in benchmarks.
 */
import { Readable } from 'node:stream';
import type { SinkSource } from '../sinks/sink.ts';
import { CEPH_ACCESS_KEY_ID, CEPH_SECRET_ACCESS_KEY } from './ceph-server.ts';

export interface PlainS3 {
  put(key: string, source: SinkSource): Promise<void>;
  /** How many bytes came. */
  get(key: string): Promise<number>;
  close(): void;
}

const PIECE_SIZE_BYTES = 1024 * 1024;

export async function openPlainS3(endpoint: string, bucket: string): Promise<PlainS3> {
  const { GetObjectCommand, PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3');
  const client = new S3Client({
    ...{ endpoint, region: 'us-east-1', forcePathStyle: true },
    ...{ requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' },
    credentials: { accessKeyId: CEPH_ACCESS_KEY_ID, secretAccessKey: CEPH_SECRET_ACCESS_KEY },
  });
  async function* pieces(source: SinkSource): AsyncGenerator<Uint8Array> {
    for (let offset = 0; offset < source.sizeBytes; offset += PIECE_SIZE_BYTES) {
      yield await source.read(offset, Math.min(PIECE_SIZE_BYTES, source.sizeBytes - offset));
    }
  }
  return {
    async put(key, source) {
      const body = Readable.from(pieces(source), { objectMode: false });
      const about = { Bucket: bucket, Key: key, ContentLength: source.sizeBytes };
      await client.send(new PutObjectCommand({ ...about, Body: body }));
    },
    async get(key) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      let sizeBytes = 0;
      for await (const piece of Body as AsyncIterable<Uint8Array>) sizeBytes += piece.byteLength;
      return sizeBytes;
    },
    close: () => client.destroy(),
  };
}
