/**
 * Memory of the process over its limit: what is only kept to be fast is let go; when that is not
 * enough, the leadership, which costs memory per follower and client. Further than that a person
 * must look: the rows themselves are never let go.
 */
import type { RecoveryCause } from './recovery-manager.ts';

/** Something that is kept only to be fast. */
export interface NodeCache {
  readonly name: string;
  /** Lets go of everything; what it held, as far as that is known. */
  clear(): { readonly entryCount: number };
}

export interface MemoryWatchParts {
  /** 0: nothing is watched. */
  readonly limitSizeBytes: number;
  readonly residentSizeBytes: () => number;
  readonly caches: readonly NodeCache[];
  readonly handOver: () => Promise<void>;
  readonly submit: (cause: RecoveryCause) => void;
}

const BYTES_PER_MB = 1_000_000;

export class MemoryWatch {
  readonly #parts: MemoryWatchParts;

  constructor(parts: MemoryWatchParts) {
    this.#parts = parts;
  }

  /** Called now and then. */
  look(): void {
    const { limitSizeBytes, submit } = this.#parts;
    if (limitSizeBytes === 0 || this.#isBelow()) return;
    submit(this.#cause());
  }

  #cause(): RecoveryCause {
    const { handOver, limitSizeBytes, residentSizeBytes } = this.#parts;
    const isMb = Math.round(residentSizeBytes() / BYTES_PER_MB);
    const verify = async (): Promise<boolean> => this.#isBelow();
    return {
      ...{ key: 'memory', type: 'memoryPressure', priority: 2 },
      what: `${isMb} MB are resident, ${limitSizeBytes / BYTES_PER_MB} are allowed`,
      ladder: [
        { name: 'clearCaches', run: async () => this.#clearCaches(), verify },
        {
          ...{ name: 'handOver', attemptCountMax: 1, verify },
          run: async () => {
            await handOver();
            return {};
          },
        },
      ],
    };
  }

  #clearCaches(): Readonly<Record<string, number>> {
    const counts = this.#parts.caches.map((cache) => [cache.name, cache.clear().entryCount]);
    return Object.fromEntries(counts) as Readonly<Record<string, number>>;
  }

  #isBelow(): boolean {
    const { limitSizeBytes, residentSizeBytes } = this.#parts;
    return residentSizeBytes() <= limitSizeBytes;
  }
}
