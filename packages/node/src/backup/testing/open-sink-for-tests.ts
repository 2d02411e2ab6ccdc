/** A store by its URL, for programs that are no node: clock and credentials are the process's. */
import type { Random } from '@holdfast/base';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../../system-time.ts';
import { openSink } from '../sinks/open-sink.ts';
import type { BackupSink } from '../sinks/sink.ts';
import { RETRY_POLICY_DEFAULT } from '../sinks/sink-retry.ts';

/** Close it. @throws HoldfastError CONFIG_INVALID */
export const openSinkForTests = (url: string, random: Random): Promise<BackupSink> =>
  openSink(url, process.env, {
    ...{ clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, random, retryPolicy: RETRY_POLICY_DEFAULT },
  });
