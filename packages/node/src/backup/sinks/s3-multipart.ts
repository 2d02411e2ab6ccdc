/**
 * One multipart upload from its beginning to its end; its parts go through parts-pump.ts.
 *
 * Invariants: whatever happens, the upload is ended or aborted before `run` settles (as far as the
 * store can be reached), and parts under way have settled before it is aborted, because a part that
 * arrives later would stay and be paid for. An unknown outcome of the beginning leaves an upload
 * whose name we never heard: the uploads of the key are listed and it is aborted too.
 */
import type { CompletedPart } from '@aws-sdk/client-s3';
import { must } from '@holdfast/base';
import type { Part } from './parts-pump.ts';
import { sendParts } from './parts-pump.ts';
import { againWhenGone, outcomeOfGone, PartsGone, type PutTask, publish } from './remote-put.ts';
import { classifyS3, isNamed, isStatus, signPayload } from './s3-client.ts';
import type { S3Context } from './s3-context.ts';
import { abortUpload, abortUploadsOf } from './s3-uploads.ts';
import type { SinkPutOutcome } from './sink.ts';
import { metadataOf } from './sink-digest.ts';
import { ignoreFailure } from './sink-failure.ts';

export const PART_CHECK_KEY_PREFIX = 'check_parts_';

export interface MultipartTask extends PutTask {
  /** What keeps the upload from replacing an object: nothing, the server, or looking. */
  readonly guard: 'none' | 'condition' | 'head';
}

/** Not called MultipartUpload: the compiler would rename the property of that name below. */
export class PartedUpload {
  readonly #context: S3Context;
  readonly #task: MultipartTask;

  constructor(context: S3Context, task: MultipartTask) {
    this.#context = context;
    this.#task = task;
  }

  run(): Promise<SinkPutOutcome> {
    return againWhenGone(() => this.#runOnce());
  }

  async #runOnce(): Promise<SinkPutOutcome> {
    const uploadId = await this.#begin();
    let isEnded = false;
    try {
      const parts = await sendParts(this.#task, 'sha256', (part, stop) =>
        this.#sendPart(uploadId, part, stop),
      );
      const outcome = await this.#end(uploadId, parts);
      isEnded = outcome === 'stored';
      return outcome;
    } finally {
      if (!isEnded) await this.#abortQuietly(uploadId);
      this.#context.uploadsUnderWay.delete(uploadId);
    }
  }

  async #begin(): Promise<string> {
    const { key, digest, writer, options, what } = this.#task;
    const { client, library } = this.#context.handle;
    const beganMs = this.#context.store.environment.clock.wallMs();
    let isUnsure = false;
    try {
      const uploadId = await this.#context.store.call(
        what,
        { signal: options.signal },
        async (attempt) => {
          const command = new library.CreateMultipartUploadCommand({
            ...this.#context.place(key),
            Metadata: { ...metadataOf(digest, writer) },
          });
          try {
            const begun = await client.send(command, { abortSignal: attempt.signal });
            return must(begun.UploadId, 'a store names the upload it has begun');
          } catch (error) {
            isUnsure ||= classifyS3(error)?.isDefinite !== true;
            throw error;
          }
        },
      );
      this.#context.uploadsUnderWay.add(uploadId);
      return uploadId;
    } finally {
      // an attempt may have begun an upload whose name was never heard
      if (isUnsure) await abortUploadsOf(this.#context, key, beganMs).catch(ignoreFailure);
    }
  }

  async #sendPart(
    uploadId: string,
    { bytes, hash, number }: Part,
    stop: AbortSignal,
  ): Promise<CompletedPart> {
    const { key, what } = this.#task;
    const { client, library } = this.#context.handle;
    const sizeBytes = bytes.byteLength;
    // Stores count from 1.
    const PartNumber = number + 1;
    const limits = { signal: stop, sizeBytes };
    const sent = await this.#context.store.call(
      `${what}, part ${PartNumber}`,
      limits,
      async (attempt) => {
        const command = new library.UploadPartCommand({
          ...this.#context.place(key),
          ...{ UploadId: uploadId, PartNumber, Body: bytes },
          ContentLength: sizeBytes,
        });
        signPayload(command, Buffer.from(hash).toString('hex'));
        return unlessGone(what, client.send(command, { abortSignal: attempt.signal }));
      },
    );
    // without quotes: every store takes them so, and not every one as it gave them itself
    return { PartNumber, ETag: must(sent.ETag, 'a store tags parts').replaceAll('"', '') };
  }

  #end(uploadId: string, parts: readonly CompletedPart[]): Promise<SinkPutOutcome> {
    const { key, guard, what, writer } = this.#task;
    const { handle, store } = this.#context;
    return publish(store, this.#task, async (attempt) => {
      const { mayHaveHappened, signal } = attempt;
      if (guard === 'head' && !mayHaveHappened && (await store.isThere(key, signal)))
        return 'exists';
      const command = new handle.library.CompleteMultipartUploadCommand({
        ...this.#context.place(key),
        ...{ UploadId: uploadId, MultipartUpload: { Parts: [...parts] } },
        ...(guard === 'condition' ? { IfNoneMatch: '*' } : {}),
      });
      try {
        await handle.client.send(command, { abortSignal: signal });
      } catch (error) {
        if (guard === 'condition' && isStatus(error, 412)) return 'exists';
        if (!isGone(error)) throw error;
        // ended by an attempt whose answer was lost, or aborted by somebody
        return outcomeOfGone(store, this.#task, attempt, uploadGone(what));
      }
      if (guard === 'head' && !(await store.isMarked(key, writer, signal))) return 'exists';
      return 'stored';
    });
  }

  /** What made us abort counts more than what the store says: `removeAbandoned` finds it later. */
  #abortQuietly(uploadId: string): Promise<void> {
    return abortUpload(this.#context, this.#task.key, uploadId, { isCleanUp: true }).catch(
      ignoreFailure,
    );
  }
}

/** The store does not know the upload any more. */
const isGone = (error: unknown): boolean => isNamed(error, 'NoSuchUpload');

const uploadGone = (what: string): PartsGone =>
  new PartsGone(
    what,
    'its upload was aborted again and again; is there a clean-up that is too eager?',
  );

async function unlessGone<T>(what: string, sent: Promise<T>): Promise<T> {
  try {
    return await sent;
  } catch (error) {
    throw isGone(error) ? uploadGone(what) : error;
  }
}
