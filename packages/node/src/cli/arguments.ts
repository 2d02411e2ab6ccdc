/** Arguments of several commands, from text to values. */
import { timeMsOf } from '../backup/time-text.ts';
import { UsageError } from './io.ts';

/** RFC 3339 with a time zone. @throws UsageError */
export function parseTime(text: string, name: string): number {
  const timeMs = timeMsOf(text);
  if (timeMs !== null) return timeMs;
  throw new UsageError(`${name}: must be a time such as 2026-01-31T08:00:00Z, got '${text}'`);
}
