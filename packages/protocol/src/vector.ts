/**
 * A vector travels as bin of float32 little-endian (preferred) or as an array of numbers, and is
 * handed on as an aligned Float32Array of finite components. Bits of a bin are kept as received.
 */
import { HoldfastError } from '@holdfast/base';
import { z } from 'zod';
import { invalid } from './check.ts';
import { DIMENSION_MAX } from './limits.ts';

export const vectorSchema = z
  .custom<Float32Array>((value) => value instanceof Float32Array)
  .describe(
    `bin of float32 little-endian, or an array of numbers; 1 to ${DIMENSION_MAX} finite values.`,
  );

/** May be a view of the frame or of a shared slab: do not mutate it, copy it to keep it. */
export function vectorAt(value: unknown, path: string): Float32Array {
  const vector = toVector(value, path);
  const dimension = vector.length;
  if (dimension < 1 || dimension > DIMENSION_MAX) {
    throw invalid(path, `a vector of 1 to ${DIMENSION_MAX} components`, 'VECTOR_INVALID');
  }
  for (let i = 0; i < dimension; i++) {
    if (!Number.isFinite(vector[i])) throw notFinite(path, i);
  }
  return vector;
}

/** A bin as float32 without judging the components: for bytes from a server. Null: no vector. */
export function vectorFromBytes(bytes: Uint8Array): Float32Array | null {
  if (bytes.byteLength % 4 !== 0) return null;
  if (bytes.byteOffset % 4 === 0) {
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }
  const vector = allocate(bytes.byteLength / 4);
  new Uint8Array(vector.buffer, vector.byteOffset, bytes.byteLength).set(bytes);
  return vector;
}

/** Vectors live as long as their request: a shared slab saves an allocation for each of them. */
const SLAB_COMPONENT_COUNT = 16_384;
let slab = new Float32Array(SLAB_COMPONENT_COUNT);
let slabUsedCount = 0;

/** Never handed out twice: a used-up slab is dropped and lives as long as its vectors. */
function allocate(componentCount: number): Float32Array {
  if (componentCount > SLAB_COMPONENT_COUNT / 8) return new Float32Array(componentCount);
  if (slabUsedCount + componentCount > SLAB_COMPONENT_COUNT) {
    slab = new Float32Array(SLAB_COMPONENT_COUNT);
    slabUsedCount = 0;
  }
  const start = slabUsedCount;
  slabUsedCount += componentCount;
  return slab.subarray(start, slabUsedCount);
}

function toVector(value: unknown, path: string): Float32Array {
  if (value instanceof Float32Array) return value;
  if (value instanceof Uint8Array) {
    const vector = vectorFromBytes(value);
    if (vector !== null) return vector;
    throw invalid(path, 'a bin of float32: its size is no multiple of 4', 'VECTOR_INVALID');
  }
  if (!Array.isArray(value)) {
    throw invalid(path, 'a bin of float32 or an array of numbers', 'VECTOR_INVALID');
  }
  if (value.length > DIMENSION_MAX) {
    throw invalid(path, `a vector of 1 to ${DIMENSION_MAX} components`, 'VECTOR_INVALID');
  }
  const vector = new Float32Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const component: unknown = value[i];
    if (typeof component !== 'number') throw notFinite(path, i);
    vector[i] = component;
  }
  return vector;
}

function notFinite(path: string, position: number): HoldfastError {
  return new HoldfastError(
    'VECTOR_INVALID',
    `${path}[${position}]: must be a finite float32 number; remove NaN and infinite components`,
    { details: { path, position } },
  );
}
