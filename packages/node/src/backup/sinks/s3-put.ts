/**
 * Putting one object into S3. Three ways, by size and by what the server can do:
 * - up to 16 MiB: one PutObject, with If-None-Match when it must not replace anything;
 * - larger: a multipart upload; when it must not replace anything, the condition is on its end;
 * - larger, conditional, and the server ignores the condition there (Ceph 16 does): one
 *   PutObject that streams, up to the 5 GiB that a request may have, because the condition of a
 *   PutObject holds. Beyond that a HEAD before and after the end of a multipart upload: between
 *   the first of them and the end a racing writer can be overwritten. Objects of this size are
 *   named by their content, so whoever wins, the bytes are the same.
 * What a server can do is found out once, on a small object of our own.
 */
import { Readable } from 'node:stream';
import type { PutObjectCommandInput } from '@aws-sdk/client-s3';
import {
  beginPut,
  type PutTask,
  publish,
  putTask,
  putWhole,
  type WantedPut,
} from './remote-put.ts';
import { isStatus, signPayload } from './s3-client.ts';
import type { S3Context } from './s3-context.ts';
import { type MultipartTask, PART_CHECK_KEY_PREFIX, PartedUpload } from './s3-multipart.ts';
import type { SinkPutOptions, SinkPutOutcome, SinkSource } from './sink.ts';
import { bytesSource } from './sink.ts';
import { metadataOf, randomMark, SourceReader } from './sink-digest.ts';

/** Of S3 and of Ceph (`rgw max put size`). */
const SINGLE_PUT_SIZE_BYTES_MAX = 5 * 1024 ** 3;

export class S3Putter {
  readonly #context: S3Context;
  /** Whether the end of a multipart upload can be conditional; asked once. */
  #isEndConditional: Promise<boolean> | null = null;

  constructor(context: S3Context) {
    this.#context = context;
  }

  async put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    const { store } = this.#context;
    const wanted = await beginPut(store, key, source, options);
    if (wanted === null) return 'exists';
    const way = await this.#wayOf(wanted);
    const task = await putTask(store, wanted);
    switch (way) {
      case 'whole':
        return this.#putWhole(task);
      case 'stream':
        return this.#putStream(task);
      default:
        return this.#putParts(task, way);
    }
  }

  async #wayOf({
    isLarge,
    options: { ifAbsent, signal },
    source: { sizeBytes },
  }: WantedPut): Promise<MultipartTask['guard'] | 'stream' | 'whole'> {
    if (!isLarge) return 'whole';
    if (!ifAbsent) return 'none';
    if (await this.#canEndConditionally(signal)) return 'condition';
    return sizeBytes <= SINGLE_PUT_SIZE_BYTES_MAX ? 'stream' : 'head';
  }

  #putWhole(task: PutTask): Promise<SinkPutOutcome> {
    return putWhole(task, 'sha256', ({ bytes }) =>
      this.#putObject(task, (signal) => this.#send(task, bytes, signal)),
    );
  }

  #putStream(task: PutTask): Promise<SinkPutOutcome> {
    const { source, digest, options } = task;
    return this.#putObject(task, async (signal) => {
      let sentSizeBytes = 0;
      let sourceError: unknown = null;
      const ended = new AbortController();
      const reader = new SourceReader(source, digest, task.what, signal);
      async function* pieces(): AsyncGenerator<Uint8Array> {
        try {
          for await (const piece of reader.pieces()) {
            yield piece;
            sentSizeBytes += piece.byteLength;
            options.onProgress?.(sentSizeBytes);
          }
        } catch (error) {
          // the library would wait for bytes that never come
          sourceError = error;
          ended.abort();
        }
      }
      const body = Readable.from(pieces(), { objectMode: false, highWaterMark: 1 });
      try {
        const until = AbortSignal.any([signal, ended.signal]);
        await this.#send(task, body, until);
      } catch (error) {
        throw sourceError ?? error;
      } finally {
        body.destroy();
      }
    });
  }

  #putObject(task: PutTask, send: (signal: AbortSignal) => Promise<void>): Promise<SinkPutOutcome> {
    return publish(this.#context.store, task, async ({ signal }) => {
      try {
        await send(signal);
        return 'stored';
      } catch (error) {
        if (task.options.ifAbsent && isStatus(error, 412)) return 'exists';
        throw error;
      }
    });
  }

  async #send(task: PutTask, body: Uint8Array | Readable, signal: AbortSignal): Promise<void> {
    const { client, library } = this.#context.handle;
    const input: PutObjectCommandInput = {
      ...this.#context.place(task.key),
      Body: body,
      ContentLength: task.source.sizeBytes,
      Metadata: { ...metadataOf(task.digest, task.writer) },
      ...(task.options.ifAbsent ? { IfNoneMatch: '*' } : {}),
    };
    const command = new library.PutObjectCommand(input);
    signPayload(command, task.digest.sha256);
    await client.send(command, { abortSignal: signal });
  }

  #putParts(task: PutTask, guard: MultipartTask['guard']): Promise<SinkPutOutcome> {
    return new PartedUpload(this.#context, { ...task, guard }).run();
  }

  #canEndConditionally(signal: AbortSignal | undefined): Promise<boolean> {
    this.#isEndConditional ??= this.#probeEnd(signal).catch((error: unknown) => {
      this.#isEndConditional = null;
      throw error;
    });
    return this.#isEndConditional;
  }

  /** Ends a multipart upload onto an object that is there, and looks whether it is replaced. */
  async #probeEnd(signal: AbortSignal | undefined): Promise<boolean> {
    const { handle, name, store } = this.#context;
    const { random } = store.environment;
    const key = `${PART_CHECK_KEY_PREFIX}${randomMark(random)}`;
    const source = bytesSource(new Uint8Array(1));
    const what = `check of conditional uploads at ${name}`;
    const options: SinkPutOptions = { ifAbsent: true, ...(signal === undefined ? {} : { signal }) };
    const task = await putTask(store, { key, what, source, options, isLarge: false });
    try {
      await this.#putWhole(task);
      const second = { ...task, writer: randomMark(random) };
      return (await this.#putParts(second, 'condition')) === 'exists';
    } finally {
      await store.call(what, {}, (attempt) => {
        const command = new handle.library.DeleteObjectCommand(this.#context.place(key));
        return handle.client.send(command, { abortSignal: attempt.signal });
      });
    }
  }
}
