/**
 * Putting one object into Azure: one request up to 16 MiB, else blocks that are staged several at a
 * time and committed together. Blocks that are not committed are invisible, cannot be listed from
 * outside, and are dropped by the store: by the next commit of the blob, or after a week.
 *
 * Invariant: block names hold the mark of the writer, so two writers of one key never commit each
 * other's bytes; a commit whose blocks another one has dropped is refused and begins again.
 */
import { azureAnswerOf, isConditionUnmet } from './azure-client.ts';
import type { AzureContext } from './azure-context.ts';
import type { Part } from './parts-pump.ts';
import { sendParts } from './parts-pump.ts';
import type { PutTask } from './remote-put.ts';
import {
  againWhenGone,
  beginPut,
  outcomeOfGone,
  PartsGone,
  publish,
  putTask,
  putWhole,
} from './remote-put.ts';
import type { SinkPutOptions, SinkPutOutcome, SinkSource } from './sink.ts';
import { metadataOf, randomMark } from './sink-digest.ts';

const BLOCK_NUMBER_DIGIT_COUNT = 6;
/** What the store can take of a request. */
const WAY_HASH = 'md5';

export async function putIntoAzure(
  context: AzureContext,
  key: string,
  source: SinkSource,
  options: SinkPutOptions,
): Promise<SinkPutOutcome> {
  const { store } = context;
  const wanted = await beginPut(store, key, source, options);
  if (wanted === null) return 'exists';
  const task = await putTask(store, wanted);
  if (wanted.isLarge)
    return againWhenGone(() =>
      putBlocks(context, { ...task, writer: randomMark(store.environment.random) }),
    );
  return putWhole(task, WAY_HASH, ({ bytes, hash }) =>
    finish(context, task, async (signal) => {
      await context.blob(key).upload(bytes, bytes.byteLength, {
        ...requestOptions(task, signal),
        blobHTTPHeaders: { blobContentMD5: hash },
      });
    }),
  );
}

async function putBlocks(context: AzureContext, task: PutTask): Promise<SinkPutOutcome> {
  const ids = await sendParts(task, WAY_HASH, (part, stop) =>
    stageBlock(context, task, part, stop),
  );
  return finish(context, task, async (signal) => {
    await context.blob(task.key).commitBlockList([...ids], requestOptions(task, signal));
  });
}

const requestOptions = (task: PutTask, signal: AbortSignal) => ({
  abortSignal: signal,
  metadata: { ...metadataOf(task.digest, task.writer) },
  conditions: task.options.ifAbsent ? { ifNoneMatch: '*' } : {},
});

/** The one request that makes the object visible. */
function finish(
  { store }: AzureContext,
  task: PutTask,
  send: (signal: AbortSignal) => Promise<void>,
): Promise<SinkPutOutcome> {
  return publish(store, task, async (attempt) => {
    try {
      await send(attempt.signal);
      return 'stored';
    } catch (error) {
      if (task.options.ifAbsent && isConditionUnmet(error)) return 'exists';
      if (azureAnswerOf(error)?.name !== 'InvalidBlockList') throw error;
      // another writer committed and dropped our blocks, or our own commit went through
      const gone = new PartsGone(task.what, 'its blocks were dropped');
      return outcomeOfGone(store, task, attempt, gone);
    }
  });
}

/** Base64, and of one length for all blocks of a blob: the store asks for both. */
function blockId(writer: string, number: number): string {
  const digits = String(number).padStart(BLOCK_NUMBER_DIGIT_COUNT, '0');
  return Buffer.from(`${writer}-${digits}`).toString('base64');
}

/** Returns the name of the block. */
async function stageBlock(
  context: AzureContext,
  { key, what, writer }: PutTask,
  { bytes, hash, number }: Part,
  stop: AbortSignal,
): Promise<string> {
  const id = blockId(writer, number);
  const limits = { signal: stop, sizeBytes: bytes.byteLength };
  await context.store.call(`${what}, one block`, limits, async ({ signal }) => {
    await context.blob(key).stageBlock(id, bytes, bytes.byteLength, {
      abortSignal: signal,
      transactionalContentMD5: hash,
    });
  });
  return id;
}
