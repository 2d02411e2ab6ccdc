/**
 * Multipart uploads that nobody will end. They are invisible, cost room, and stay for ever unless
 * somebody aborts them: every put aborts its own, and `removeAbandoned` what crashes have left.
 */
import type { ListMultipartUploadsCommandOutput, MultipartUpload } from '@aws-sdk/client-s3';
import type { CallOptions } from './remote-store.ts';
import { isNamed } from './s3-client.ts';
import type { S3Context } from './s3-context.ts';

/** Between our clock and the store's: an upload that seems older was not begun by this put. */
const CLOCK_DIFFERENCE_MS_MAX = 15 * 60_000;

/** Nothing happens when the store does not know it. */
export async function abortUpload(
  context: S3Context,
  key: string,
  uploadId: string,
  options: CallOptions,
): Promise<void> {
  const { handle, name, store } = context;
  const input = { ...context.place(key), UploadId: uploadId };
  await store.call(`abort of an upload of ${key} to ${name}`, options, async ({ signal }) => {
    try {
      const command = new handle.library.AbortMultipartUploadCommand(input);
      await handle.client.send(command, { abortSignal: signal });
    } catch (error) {
      if (!isNamed(error, 'NoSuchUpload')) throw error;
    }
  });
}

/**
 * Aborts the uploads of one key that began since `sinceMs` and that no put of this process uses.
 * One of another process for the same key at the same time may be hit: it begins again.
 */
export async function abortUploadsOf(
  context: S3Context,
  key: string,
  sinceMs: number,
): Promise<void> {
  const options = { isCleanUp: true };
  for await (const upload of uploads(context, key, options)) {
    const startedMs = upload.Initiated?.getTime() ?? 0;
    if (context.sinkKey(upload.Key) !== key || upload.UploadId === undefined) continue;
    if (context.uploadsUnderWay.has(upload.UploadId)) continue;
    if (startedMs >= sinceMs - CLOCK_DIFFERENCE_MS_MAX)
      await abortUpload(context, key, upload.UploadId, options);
  }
}

/** Of the whole sink. Returns how many were aborted. */
export async function abortUploadsOlderThan(
  context: S3Context,
  ageMs: number,
  options: CallOptions,
): Promise<number> {
  const latestMs = context.store.environment.clock.wallMs() - ageMs;
  let count = 0;
  for await (const upload of uploads(context, '', options)) {
    const key = context.sinkKey(upload.Key);
    const startedMs = upload.Initiated?.getTime() ?? Infinity;
    if (key === null || upload.UploadId === undefined || startedMs > latestMs) continue;
    if (context.uploadsUnderWay.has(upload.UploadId)) continue;
    await abortUpload(context, key, upload.UploadId, options);
    count += 1;
  }
  return count;
}

/** Uploads under way of the keys that start with `prefix`, as the store lists them. */
async function* uploads(
  context: S3Context,
  prefix: string,
  options: CallOptions,
): AsyncGenerator<MultipartUpload> {
  const { handle, store } = context;
  const what = `list of uploads of ${prefix}* in ${context.name}`;
  let markers: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } = {};
  for (;;) {
    const input = {
      ...{ Bucket: context.options.bucket, Prefix: context.storeKey(prefix) },
      ...markers,
    };
    const command = new handle.library.ListMultipartUploadsCommand(input);
    const page: ListMultipartUploadsCommandOutput = await store.call(what, options, ({ signal }) =>
      handle.client.send(command, { abortSignal: signal }),
    );
    yield* page.Uploads ?? [];
    if (page.IsTruncated !== true || page.NextKeyMarker === undefined) return;
    markers = {
      KeyMarker: page.NextKeyMarker,
      ...(page.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: page.NextUploadIdMarker }),
    };
  }
}
