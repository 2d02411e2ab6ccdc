/**
 * What a lane's thread shows of itself without being asked: a few words of shared memory. A counter
 * that moves whenever it gets anywhere, what kind of place it is in, and how full its heap is.
 *
 * Ending a thread inside a call of the native graph library aborts the process. So the thread marks
 * such calls, and whoever wants to end it first asks it to stay out of them: each side writes its
 * own word and then reads the other's, so one of the two always sees the other.
 */
import { HoldfastError } from '@holdfast/base';

const BEAT = 0;
const PLACE = 1;
const STOP = 2;
const HEAP_USED_KIB = 3;
const HEAP_LIMIT_KIB = 4;
const WORD_COUNT = 5;

/**
 * `idle`: waits for a task. `working`: JavaScript. `native`: in the graph library. `disk`: in a
 * call of the system.
 */
export const LANE_PLACES = ['idle', 'working', 'native', 'disk'] as const;
export type LanePlace = (typeof LANE_PLACES)[number];

export const createPulseMemory = (): SharedArrayBuffer => new SharedArrayBuffer(WORD_COUNT * 4);

/** The thread's side. */
export class LanePulse {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  /** It got somewhere. */
  beat(): void {
    Atomics.add(this.#words, BEAT, 1);
  }

  enter(place: LanePlace): void {
    Atomics.store(this.#words, PLACE, LANE_PLACES.indexOf(place));
    this.beat();
  }

  /**
   * Runs a call that must not be interrupted.
   * @throws HoldfastError SHARD_UNAVAILABLE when this thread is about to be ended
   */
  native<Value>(call: () => Value): Value {
    const before = Atomics.exchange(this.#words, PLACE, LANE_PLACES.indexOf('native'));
    try {
      if (Atomics.load(this.#words, STOP) === 1)
        throw new HoldfastError('SHARD_UNAVAILABLE', 'this lane is being replaced; try again soon');
      return call();
    } finally {
      Atomics.store(this.#words, PLACE, before);
      this.beat();
    }
  }

  /** Runs a call of the system, which may take as long as a disk takes. */
  disk<Value>(call: () => Value): Value {
    const before = Atomics.exchange(this.#words, PLACE, LANE_PLACES.indexOf('disk'));
    this.beat();
    try {
      return call();
    } finally {
      Atomics.store(this.#words, PLACE, before);
      this.beat();
    }
  }

  noteHeap(usedSizeBytes: number, limitSizeBytes: number): void {
    Atomics.store(this.#words, HEAP_USED_KIB, Math.round(usedSizeBytes / 1024));
    Atomics.store(this.#words, HEAP_LIMIT_KIB, Math.round(limitSizeBytes / 1024));
  }
}

export interface PulseSample {
  readonly beat: number;
  readonly place: LanePlace;
  /** 0 while not known. */
  readonly heapUsedSizeBytes: number;
  readonly heapLimitSizeBytes: number;
}

/** The other side. */
export class PulseReader {
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  sample(): PulseSample {
    const word = (i: number): number => Atomics.load(this.#words, i);
    return {
      beat: word(BEAT),
      place: LANE_PLACES[word(PLACE)] ?? 'idle',
      heapUsedSizeBytes: word(HEAP_USED_KIB) * 1024,
      heapLimitSizeBytes: word(HEAP_LIMIT_KIB) * 1024,
    };
  }

  /** From now on the thread enters no native call; false when it is in one. */
  forbidNative(): boolean {
    Atomics.store(this.#words, STOP, 1);
    return LANE_PLACES[Atomics.load(this.#words, PLACE)] !== 'native';
  }
}
