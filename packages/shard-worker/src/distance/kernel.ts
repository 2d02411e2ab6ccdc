/**
 * The WASM SIMD kernel bound to one memory. Node 20 always has SIMD, so there is no second path;
 * instantiation is synchronous because the module is under a kilobyte.
 */
import { KERNEL_BASE64 } from './kernel-bytes.ts';

/** Addresses are bytes in the memory; `stride` is the padded row size in bytes. */
export interface Kernel {
  l2Range(query: number, stride: number, first: number, count: number, out: number): void;
  dotRange(query: number, stride: number, first: number, count: number, out: number): void;
  l2Gather(
    query: number,
    stride: number,
    base: number,
    rows: number,
    count: number,
    out: number,
  ): void;
  dotGather(
    query: number,
    stride: number,
    base: number,
    rows: number,
    count: number,
    out: number,
  ): void;
}

/** Components per kernel step: rows are zero-padded to a multiple of it. */
export const KERNEL_STEP_COMPONENTS = 16;

// TypeScript's es2023 library has no WebAssembly; these are the few calls used.
interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pageCount: number): number;
}
interface WasmApi {
  readonly Memory: new (limits: { initial: number; maximum: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
}
const wasm = (globalThis as unknown as { readonly WebAssembly: WasmApi }).WebAssembly;

export type KernelMemory = WasmMemory;
export const WASM_PAGE_SIZE_BYTES = 65_536;
/** 4 GiB: all that 32-bit addresses reach. */
export const WASM_PAGE_COUNT_MAX = 65_536;

const kernelModule = new wasm.Module(Buffer.from(KERNEL_BASE64, 'base64'));

export function createKernelMemory(initialPageCount: number): KernelMemory {
  return new wasm.Memory({ initial: initialPageCount, maximum: WASM_PAGE_COUNT_MAX });
}

export function bindKernel(memory: KernelMemory): Kernel {
  const instance = new wasm.Instance(kernelModule, { env: { memory } });
  return instance.exports as unknown as Kernel;
}
