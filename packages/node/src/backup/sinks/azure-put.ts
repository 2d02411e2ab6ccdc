/**
 * Putting one object into Azure: one request up to 16 MiB, else blocks that are staged several at a
 * time and committed together. Blocks that are not committed are invisible, cannot be listed from
 * outside, and are dropped by the store: by the next commit of the blob, or after a week.
 *
 * Invariant: block names hold the mark of the writer, so two writers of one key never commit each
 * other's bytes; a commit whose blocks another one has dropped is refused and begins again.
 */
import { HoldfastError } from '@holdfast/base';
import { azureAnswerOf, classifyAzure, isConditionUnmet } from './azure-client.ts';
import type { AzureContext } from './azure-context.ts';
import { PARTS_FROM_SIZE_BYTES, planParts } from './part-size.ts';
import type { Part } from './parts-pump.ts';
import { sendParts } from './parts-pump.ts';
import type { SinkPutOptions, SinkPutOutcome, SinkSource } from './sink.ts';
import type { SourceDigest } from './sink-digest.ts';
import { digestSource, metadataOf, randomMark, SourceReader } from './sink-digest.ts';
import { refusal } from './sink-failure.ts';
import { putOnce } from './sink-retry.ts';

const RESTART_COUNT_MAX = 3;
const BLOCK_NUMBER_DIGIT_COUNT = 6;

interface PutTask {
  readonly key: string;
  readonly what: string;
  readonly writer: string;
  readonly source: SinkSource;
  readonly digest: SourceDigest;
  readonly options: SinkPutOptions;
}

export async function putIntoAzure(
  context: AzureContext,
  key: string,
  source: SinkSource,
  options: SinkPutOptions,
): Promise<SinkPutOutcome> {
  const what = `put of ${key} to ${context.name}`;
  if (source.sizeBytes > 0 && planParts(source.sizeBytes) === null)
    throw refusal(what, `an object of ${source.sizeBytes} bytes is too large`);
  const isLarge = source.sizeBytes > PARTS_FROM_SIZE_BYTES;
  if (isLarge && options.ifAbsent && (await isThere(context, key, options))) return 'exists';
  const limits = { signal: options.signal, isMd5Needed: false };
  const digest = await digestSource(source, what, limits);
  for (let restartCount = 0; ; restartCount++) {
    const writer = randomMark(context.environment.random);
    const task: PutTask = { key, what, writer, source, digest, options };
    try {
      return isLarge ? await putBlocks(context, task) : await putWhole(context, task);
    } catch (error) {
      const isAgain = error instanceof BlocksGone && restartCount < RESTART_COUNT_MAX;
      if (!isAgain) throw error;
    }
  }
}

const isThere = (context: AzureContext, key: string, options: SinkPutOptions): Promise<boolean> =>
  context.call(`head of ${key} in ${context.name}`, options, async ({ signal }) => {
    return (await context.propertiesOnce(key, signal)) !== null;
  });

async function putWhole(context: AzureContext, task: PutTask): Promise<SinkPutOutcome> {
  const { source, digest, options, what } = task;
  const reader = new SourceReader(source, digest, what, options.signal);
  const { bytes, md5 } = await reader.take(source.sizeBytes);
  const outcome = await finish(context, task, async (signal) => {
    await context.blob(task.key).upload(bytes, bytes.byteLength, {
      ...requestOptions(task, signal),
      blobHTTPHeaders: { blobContentMD5: md5 },
    });
  });
  if (outcome === 'stored') options.onProgress?.(source.sizeBytes);
  return outcome;
}

async function putBlocks(context: AzureContext, task: PutTask): Promise<SinkPutOutcome> {
  const ids = await sendParts(task, (part, stop) => stageBlock(context, task, part, stop));
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
  context: AzureContext,
  task: PutTask,
  send: (signal: AbortSignal) => Promise<void>,
): Promise<SinkPutOutcome> {
  const { key, options, source, what, writer } = task;
  const isOurs = (signal: AbortSignal) => context.isMarked(key, writer, signal);
  return putOnce(context.environment, {
    ...{ what, signal: options.signal, sizeBytes: source.sizeBytes, classify: classifyAzure },
    run: async ({ signal, mayHaveHappened }) => {
      try {
        await send(signal);
        return 'stored';
      } catch (error) {
        if (options.ifAbsent && isConditionUnmet(error)) return 'exists';
        if (azureAnswerOf(error)?.name !== 'InvalidBlockList') throw error;
        // another writer committed and dropped our blocks, or our own commit went through
        if (mayHaveHappened && (await isOurs(signal))) return 'stored';
        if (options.ifAbsent && (await context.propertiesOnce(key, signal)) !== null)
          return 'exists';
        throw new BlocksGone('SINK_UNAVAILABLE', `${what} failed: its blocks were dropped`);
      }
    },
    isOurs,
  });
}

class BlocksGone extends HoldfastError {}

/** Base64, and of one length for all blocks of a blob: the store asks for both. */
function blockId(writer: string, number: number): string {
  const digits = String(number).padStart(BLOCK_NUMBER_DIGIT_COUNT, '0');
  return Buffer.from(`${writer}-${digits}`).toString('base64');
}

/** Returns the name of the block. */
async function stageBlock(
  context: AzureContext,
  { key, what, writer }: PutTask,
  { bytes, md5, number }: Part,
  stop: AbortSignal,
): Promise<string> {
  const id = blockId(writer, number);
  const limits = { signal: stop, sizeBytes: bytes.byteLength };
  await context.call(`${what}, one block`, limits, async ({ signal }) => {
    await context.blob(key).stageBlock(id, bytes, bytes.byteLength, {
      abortSignal: signal,
      transactionalContentMD5: md5,
    });
  });
  return id;
}
