/**
 * Where in the run the witnesses of invalid verdicts are. A witness may name its operations
 * (`operations` with `processId` and `invokedMs`), or processes and times (`processIds`, `timeMs`,
 * `fromMs`, `toMs`), a key, an element of a set; what can be found of that in the history is
 * marked, and a witness without a place is still listed. Pure.
 */
import type { Verdict } from '../checker/verdict.ts';
import { isRecord } from '../store/run-facts.ts';
import { clip, shortValue } from './describe-operation.ts';
import type { DrawnOperation } from './pair-operations.ts';

export interface Anomaly {
  readonly checker: string;
  /** Why the verdict is invalid. */
  readonly reason: string;
  /** The witness in words; empty when the verdict has none. */
  readonly text: string;
  /** Null: it has no place in time. */
  readonly fromMs: number | null;
  readonly toMs: number | null;
  /** The moment at which it shows. */
  readonly atMs: number | null;
  /** Those that it is about, in the order of their begin. */
  readonly operations: readonly DrawnOperation[];
}

/** More would be a wall of marks, and says that the witness is not a small one. */
const OPERATION_COUNT_MAX = 100;
const TEXT_LENGTH_MAX = 300;
/** Times of witnesses may have been rounded. */
const TIME_TOLERANCE_MS = 0.002;

/** One per witness of every invalid verdict; one without operations for a verdict without any. */
export function anomaliesOf(
  verdicts: Readonly<Record<string, Verdict>>,
  operations: readonly DrawnOperation[],
): readonly Anomaly[] {
  return Object.entries(verdicts).flatMap(([checker, verdict]): readonly Anomaly[] => {
    if (verdict.kind !== 'invalid') return [];
    const { examples, reason } = verdict;
    const witnesses = examples.length === 0 ? [null] : examples;
    return witnesses.map((witness) => ({ checker, reason, ...placeOf(witness, operations) }));
  });
}

type Found = Pick<Anomaly, 'text' | 'fromMs' | 'toMs' | 'atMs' | 'operations'>;

function placeOf(witness: unknown, operations: readonly DrawnOperation[]): Found {
  const named = isRecord(witness) ? findNamed(witness.operations, operations) : [];
  const place = readPlace(witness);
  const isAny = (one: DrawnOperation): boolean => place !== null && isAbout(one, place);
  const shown = (named.length > 0 ? named : operations.filter(isAny)).slice(0, OPERATION_COUNT_MAX);
  const times = shown.flatMap(({ beginMs, endMs }) => [
    beginMs,
    ...(endMs === null ? [] : [endMs]),
  ]);
  const fromMs = place?.fromMs ?? leastOf(times);
  const toMs = place?.toMs ?? greatestOf(times);
  return {
    text: describeWitness(witness, named.length > 0),
    fromMs,
    toMs,
    atMs: place?.timeMs ?? toMs,
    operations: shown,
  };
}

/** A process runs one operation at a time, so its id and a begin name one. */
function findNamed(
  named: unknown,
  operations: readonly DrawnOperation[],
): readonly DrawnOperation[] {
  if (!Array.isArray(named)) return [];
  const wanted = named.slice(0, OPERATION_COUNT_MAX).flatMap((one: unknown) => {
    if (!isRecord(one) || !Number.isInteger(one.processId)) return [];
    const invokedMs = timeOf(one.invokedMs);
    return invokedMs === null ? [] : [{ processId: one.processId, invokedMs }];
  });
  const processIds = new Set(wanted.map(({ processId }) => processId));
  return operations.filter(
    ({ beginMs, processId }) =>
      processIds.has(processId) &&
      wanted.some(
        (one) =>
          one.processId === processId && Math.abs(one.invokedMs - beginMs) <= TIME_TOLERANCE_MS,
      ),
  );
}

interface Place {
  readonly processIds: ReadonlySet<number> | null;
  readonly fromMs: number | null;
  readonly toMs: number | null;
  readonly timeMs: number | null;
  readonly key: unknown;
  readonly element: unknown;
}

/** Null: it names nothing that could be looked for. */
function readPlace(witness: unknown): Place | null {
  if (typeof witness === 'number') return readPlace({ element: witness });
  if (!isRecord(witness)) return null;
  const timeMs = timeOf(witness.timeMs);
  const fromMs = timeOf(witness.fromMs) ?? timeMs;
  const toMs = timeOf(witness.toMs) ?? timeMs;
  const ids = Array.isArray(witness.processIds) ? witness.processIds : null;
  const processIds =
    ids === null ? null : new Set(ids.filter((id): id is number => Number.isInteger(id)));
  const { element = null, key = null } = witness;
  const isNowhere = processIds === null && fromMs === null && toMs === null;
  if (isNowhere && key === null && element === null) return null;
  return { processIds, fromMs, toMs, timeMs, key, element };
}

/** A time alone marks a place, not everything that ran then. */
function isAbout(one: DrawnOperation, place: Place): boolean {
  const { element, fromMs, key, processIds, toMs } = place;
  if (processIds === null && key === null && element === null) return false;
  if (processIds !== null && !processIds.has(one.processId)) return false;
  const fields: Readonly<Record<string, unknown>> = one.operation;
  const isNamed = processIds !== null;
  if (!fits(fields.key, key, isNamed) || !fits(fields.element, element, isNamed)) return false;
  const isBegun = toMs === null || one.beginMs <= toMs + TIME_TOLERANCE_MS;
  const isLater = fromMs === null || (one.endMs ?? Infinity) >= fromMs - TIME_TOLERANCE_MS;
  return isBegun && isLater;
}

/** One that has no such field can only be meant by its process: a read of the whole set. */
function fits(value: unknown, wanted: unknown, isNamed: boolean): boolean {
  if (wanted === null || value === wanted) return true;
  return value === undefined && isNamed;
}

const timeOf = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value) ? value : null;

const leastOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((a, b) => Math.min(a, b));
const greatestOf = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((a, b) => Math.max(a, b));

const PLACE_FIELDS: ReadonlySet<string> = new Set(['processIds', 'timeMs', 'fromMs', 'toMs']);

/** Without what is shown as a mark; `areShown`: its operations are. */
function describeWitness(witness: unknown, areShown: boolean): string {
  if (witness === null || witness === undefined) return '';
  if (!isRecord(witness)) return clip(shortValue(witness), TEXT_LENGTH_MAX);
  const parts = Object.entries(witness)
    .filter(([name, value]) => !PLACE_FIELDS.has(name) && value !== undefined)
    .filter(([name]) => name !== 'operations' || !areShown)
    .map(([name, value]) => `${wordsOfName(name)} ${clip(plainText(value), TEXT_LENGTH_MAX)}`);
  return clip(parts.join(', '), TEXT_LENGTH_MAX);
}

/** `registerValue` is read as "register value". */
export const wordsOfName = (name: string): string =>
  name.replaceAll(/([A-Z])/g, ' $1').toLowerCase();

const plainText = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
