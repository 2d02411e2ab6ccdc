/** Arguments of several commands, from text to values. */
import { UsageError } from './io.ts';

/** RFC 3339 with a time zone. @throws UsageError */
export function parseTime(text: string, name: string): number {
  const isWhole = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(text);
  const timeMs = isWhole ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(timeMs)) return timeMs;
  throw new UsageError(`${name}: must be a time such as 2026-01-31T08:00:00Z, got '${text}'`);
}
