/** What was thrown, as a problem of a run: its message, and the few places nearest to it. */
const PLACE_COUNT = 3;

export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const where = (error.stack ?? '').split('\n').slice(1, 1 + PLACE_COUNT);
  return [`${error.name}: ${error.message}`, ...where].join('\n');
}
