/** From the URL of a store to a sink. Nothing is sent or written yet: `check()` finds out. */
import { unreachable } from '@holdfast/base';
import { openAzureSink } from './azure-sink.ts';
import { LocalSink } from './local-sink.ts';
import { openS3Sink } from './s3-sink.ts';
import type { BackupSink } from './sink.ts';
import type { SinkEnvironment } from './sink-retry.ts';
import type { SinkTarget, SinkVariables } from './sink-url.ts';
import { parseSinkUrl } from './sink-url.ts';

/** @throws HoldfastError CONFIG_INVALID */
export async function openSink(
  url: string,
  variables: SinkVariables,
  environment: SinkEnvironment,
): Promise<BackupSink> {
  return openSinkTarget(parseSinkUrl(url, variables), environment);
}

export async function openSinkTarget(
  target: SinkTarget,
  environment: SinkEnvironment,
): Promise<BackupSink> {
  switch (target.kind) {
    case 'folder':
      return new LocalSink(target.options, environment);
    case 's3':
      return openS3Sink(target.options, environment);
    case 'azure':
      return openAzureSink(target.options, environment);
    default:
      return unreachable(target);
  }
}
