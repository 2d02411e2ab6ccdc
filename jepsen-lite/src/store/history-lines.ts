/**
 * `history.jsonl`: one event per line, in the order of the history. A harness that dies in the
 * middle of a write leaves a torn last line; everything before it is whole. Pure.
 */
import type { HistoryEvent } from '../history.ts';
import { isRecord } from './run-facts.ts';

/** Microseconds: what a reader could tell apart, in half the bytes. */
const TIME_DIGIT_COUNT = 3;
const TIME_FIELDS: ReadonlySet<string> = new Set(['timeMs', 'doneMs', 'intendedMs']);

/** One line, ended. A result that is not there yet is a field that is left out. */
export function lineOf(event: HistoryEvent): string {
  const text = JSON.stringify(event, (name, value: unknown) =>
    typeof value === 'number' && TIME_FIELDS.has(name)
      ? Number(value.toFixed(TIME_DIGIT_COUNT))
      : value,
  );
  return `${text}\n`;
}

/** Null: no event. */
export function parseLine(line: string): HistoryEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  return isOperationEvent(value) || isFaultEvent(value) ? (value as HistoryEvent) : null;
}

const PHASES: ReadonlySet<unknown> = new Set(['invoke', 'ok', 'fail', 'info']);
const FAULT_OUTCOMES: ReadonlySet<unknown> = new Set(['installed', 'skipped', 'indeterminate']);

/** The kinds of operations grow; a kind this version does not know is still an event. */
function isOperationEvent(value: unknown): boolean {
  if (!isRecord(value) || value.kind !== 'operation' || !PHASES.has(value.phase)) return false;
  if (!Number.isInteger(value.processId) || !isTime(value.timeMs)) return false;
  if (value.intendedMs !== undefined && !isTime(value.intendedMs)) return false;
  const hasCode = value.errorCode === undefined || typeof value.errorCode === 'string';
  return hasCode && isRecord(value.operation) && typeof value.operation.kind === 'string';
}

function isFaultEvent(value: unknown): boolean {
  if (!isRecord(value) || value.kind !== 'fault' || !FAULT_OUTCOMES.has(value.outcome))
    return false;
  const texts = [value.nemesis, value.action, value.detail];
  if (!texts.every((text) => typeof text === 'string')) return false;
  if (typeof value.isHealing !== 'boolean' || !Array.isArray(value.targets)) return false;
  if (!value.targets.every((target) => typeof target === 'string')) return false;
  return isTime(value.timeMs) && isTime(value.doneMs);
}

const isTime = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
