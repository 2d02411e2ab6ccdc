/** When the leader proposed an entry, by its own clock, as far as the entry says. */
import type { Entry } from '@holdfast/base';
import type { EntryTimestamp } from '@holdfast/storage';
import { COMMAND_HEADER_SIZE_BYTES, commandTimestampMs } from '../../state/command.ts';

/** Commands have a stamp; no-ops and configurations take the log time before them. */
export const entryTimestampMs: EntryTimestamp = (entry: Entry): number | null =>
  entry.type === 'normal' && entry.data.byteLength >= COMMAND_HEADER_SIZE_BYTES
    ? commandTimestampMs(entry.data)
    : null;
