/**
 * Everything that happens in a run, as one running hash and the last events in words. Equal hashes
 * of two runs mean that every message, fault and answer was the same, in the same order.
 */

export interface TraceEvent {
  readonly timeMs: number;
  readonly words: () => string;
}

/** Enough to see what led to a failure, short enough to read. */
const LAST_EVENT_COUNT = 80;
const FNV_PRIME = 0x01000193;
const OTHER_PRIME = 0x85ebca6b;

export class Trace {
  readonly #nowMs: () => number;
  readonly #last: TraceEvent[] = [];
  #next = 0;
  #low = 0x811c9dc5;
  #high = 0x9747b28c;
  #count = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get eventCount(): number {
    return this.#count;
  }

  /** `words` are asked for only when somebody reads them. */
  note(facts: string, words: () => string = () => facts): void {
    this.#mixNumber(Math.round(this.#nowMs() * 1_000));
    for (let i = 0; i < facts.length; i++) this.#mix(facts.charCodeAt(i));
    this.#keep(words);
  }

  /** As `note`, over bytes. */
  noteBytes(facts: string, bytes: Uint8Array, words: () => string): void {
    for (let i = 0; i < bytes.byteLength; i++) this.#mix(bytes[i]!);
    this.note(facts, words);
  }

  /** 16 hex digits. */
  get hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }

  lastEvents(): readonly string[] {
    const ordered = [...this.#last.slice(this.#next), ...this.#last.slice(0, this.#next)];
    return ordered.map(({ timeMs, words }) => `${timeMs.toFixed(1).padStart(9)} ms  ${words()}`);
  }

  #keep(words: () => string): void {
    this.#count += 1;
    this.#last[this.#next] = { timeMs: this.#nowMs(), words };
    this.#next = (this.#next + 1) % LAST_EVENT_COUNT;
  }

  #mixNumber(value: number): void {
    this.#mix(value & 0xffff);
    this.#mix(Math.floor(value / 0x10000) & 0xffff);
    this.#mix(Math.floor(value / 0x1_0000_0000) & 0xffff);
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, FNV_PRIME);
    this.#high = Math.imul(this.#high ^ (value + (this.#low >>> 15)), OTHER_PRIME) ^ this.#low;
  }
}
