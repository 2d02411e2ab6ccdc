/**
 * When something is due, from a text as cron has it. Pure: croner computes times and nothing else;
 * it has no timer and never looks at a clock here. All times are UTC, so that every node of a
 * cluster, wherever it stands and whatever the season, means the same moment.
 */
import { Cron } from 'croner';

/** Turns a schedule off; so does the empty text. */
export const NO_SCHEDULE = 'off';

export interface Schedule {
  readonly text: string;
  /** The first time after `timeMs`; null: never again. */
  next(timeMs: number): number | null;
}

/**
 * Five fields (minute, hour, day of the month, month, day of the week), or a name such as @daily.
 * Null: off.
 * @throws Error, in words for whoever wrote the text, when it is no schedule or never comes
 */
export function parseSchedule(text: string): Schedule | null {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed === NO_SCHEDULE) return null;
  // Without a function to call, a Cron is a calculator.
  const cron = new Cron(trimmed, { timezone: 'UTC', mode: '5-part', paused: true });
  const next = (timeMs: number): number | null => cron.nextRun(new Date(timeMs))?.getTime() ?? null;
  if (next(0) === null) throw new Error(`"${trimmed}" names a day that never comes`);
  return { text: trimmed, next };
}

/** The reason why `text` is no schedule; null when it is one, or off. */
export function scheduleFlaw(text: string): string | null {
  try {
    parseSchedule(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
