/**
 * An operation in a few words, for people. The kinds of operations grow with the workloads: those
 * that are known here have a short form, every other one is told by its fields. Pure.
 */
import type { Operation } from '../history.ts';

/** A page may hold a hundred thousand of these. */
const TEXT_LENGTH_MAX = 120;
const VALUE_LENGTH_MAX = 40;
const LIST_COUNT_SHOWN = 4;

/** With its result when it has one. At most 120 characters, of any kind: escape it for a page. */
export function describeOperation(operation: Operation): string {
  return clip(textOf(operation), TEXT_LENGTH_MAX);
}

function textOf(operation: Operation): string {
  switch (operation.kind) {
    case 'read':
      return `read ${operation.key} = ${shortValue(operation.value)}`;
    case 'write': {
      const { key, value } = operation;
      return value === null ? `delete ${key}` : `write ${key} := ${shortValue(value)}`;
    }
    case 'compareAndSet': {
      const { expected, key, value } = operation;
      return `swap ${key} ${shortValue(expected)} to ${shortValue(value)}`;
    }
    case 'add':
      return `add ${shortValue(operation.element)}`;
    case 'readAll':
      return `read all = ${shortValue(operation.elements ?? undefined)}`;
    default:
      return describeFields(operation);
  }
}

/** Any operation: its kind, its key if there is one, then its other fields. */
export function describeFields(operation: { readonly kind: string }): string {
  const parts: string[] = [operation.kind];
  const fields = Object.entries(operation);
  for (const [name, value] of fields) if (name === 'key') parts.push(shortValue(value));
  for (const [name, value] of fields) {
    if (name === 'kind' || name === 'key' || value === undefined || value === null) continue;
    parts.push(`${name}=${shortValue(value)}`);
  }
  return parts.join(' ');
}

/**
 * Any value as short text: what is not known is `?`, null is `nothing`, a string has no quotes, a
 * list is its first items and its length.
 */
export function shortValue(value: unknown): string {
  if (value === undefined) return '?';
  if (value === null) return 'nothing';
  if (typeof value === 'string') return clip(value, VALUE_LENGTH_MAX);
  if (Array.isArray(value)) {
    const shown = value.slice(0, LIST_COUNT_SHOWN).map(shortValue).join(', ');
    const isCut = value.length > LIST_COUNT_SHOWN;
    return clip(isCut ? `[${shown}, ... ${value.length} in all]` : `[${shown}]`, VALUE_LENGTH_MAX);
  }
  return clip(JSON.stringify(value) ?? String(value), VALUE_LENGTH_MAX);
}

/** At most `lengthMax` characters; a cut is shown by an ellipsis. */
export function clip(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`;
}
