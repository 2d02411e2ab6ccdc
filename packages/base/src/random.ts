/** Chance comes in through this seam. Seeded: the same seed gives the same run. */
import { assert } from './assert.ts';

export interface Random {
  /** Uniform in [0, 2^32). */
  nextU32(): number;
  /** Uniform integer in [0, bound); bound is at most 2^32. */
  nextBelow(bound: number): number;
  /** Uniform in [0, 1). */
  nextFloat(): number;
}

/** xoshiro128** 1.1 (Blackman, Vigna), seeded by splitmix32. Not for secrets. */
export class SeededRandom implements Random {
  readonly #state = new Uint32Array(4);

  constructor(seed: number) {
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#state[i] = (z ^ (z >>> 16)) >>> 0;
    }
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  nextU32(): number {
    const s = this.#state;
    const s1 = s[1]!;
    const product = Math.imul(s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s1 << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s1;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  nextBelow(bound: number): number {
    assert(Number.isInteger(bound) && bound >= 1 && bound <= 0x1_0000_0000, 'bound out of range', {
      bound,
    });
    return Math.floor(this.nextFloat() * bound);
  }

  nextFloat(): number {
    return this.nextU32() / 0x1_0000_0000;
  }
}

/** A seed for one owner, mixed from a run's seed and the owner's name (FNV-1a). */
export function deriveSeed(seed: number, name: string): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < name.length; i++)
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}
