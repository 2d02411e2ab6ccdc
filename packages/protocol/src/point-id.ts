/** A point is named by an unsigned integer up to 2^53 - 1 or by a UUID, kept in lower case. */
import { z } from 'zod';
import { invalid } from './check.ts';

export type PointId = number | string;

const UUID_PATTERN =
  /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;
const UPPER_CASE = /[A-F]/;

export const pointIdSchema = z
  .union([z.int().min(0).max(Number.MAX_SAFE_INTEGER), z.string().regex(UUID_PATTERN)])
  .describe('Unsigned integer up to 2^53 - 1, or a UUID string (answered in lower case).');

/** True for what `pointIdAt` takes. */
export const isPointIdLike = (value: unknown): boolean =>
  typeof value === 'number'
    ? Number.isSafeInteger(value) && value >= 0
    : typeof value === 'string' && UUID_PATTERN.test(value);

/** @throws HoldfastError POINT_ID_INVALID */
export function pointIdAt(value: unknown, path: string): PointId {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  if (typeof value === 'string' && UUID_PATTERN.test(value)) {
    return UPPER_CASE.test(value) ? value.toLowerCase() : value;
  }
  throw invalid(path, 'an unsigned integer up to 2^53 - 1 or a UUID string', 'POINT_ID_INVALID');
}
