/**
 * The rule of the exactly-once scenario: the first successful answer to every upsert is swallowed
 * and the connection reset; answers to its repetitions pass. Because the relay reads both, it knows
 * the log index of the first answer and checks that every later one names the same.
 *
 * Only clients whose name starts with the prefix are treated so; others pass untouched.
 */
import { decodeDown, decodeUp, isNotice } from '@holdfast/protocol';
import type { RelayDecision, RelayFilter } from './message-relay.ts';

export const CUT_CLIENT_PREFIX = 'cut-';

interface WriteKey {
  readonly session: number;
  readonly sequence: number;
}

export class ReplyCutting {
  /** Log index of the first answer by session and sequence. */
  readonly #firstIndexes = new Map<string, number>();
  readonly #contradictions: string[] = [];
  readonly #onCut: (cutCount: number) => void;
  #isHeld = false;

  /** `onCut` is called after each cut with their number so far. */
  constructor(onCut: (cutCount: number) => void = () => undefined) {
    this.#onCut = onCut;
  }

  /** Writes whose first answer was swallowed. */
  get cutCount(): number {
    return this.#firstIndexes.size;
  }

  /** Repetitions that were answered with another log index than the first time. */
  get contradictions(): readonly string[] {
    return this.#contradictions;
  }

  /** While held, clients under test cannot connect and every answer to them is cut. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
  }

  /** The filter of one connection. */
  makeFilter(): RelayFilter {
    const open = new Map<number, WriteKey>();
    let isUnderTest = false;
    return {
      onRequest: (message) => {
        const up = decodeUp(message);
        if (up.kind === 'hello') isUnderTest = up.client?.startsWith(CUT_CLIENT_PREFIX) === true;
        else if (up.kind === 'upsert' && up.session !== undefined) {
          open.set(up.id, { session: up.session.id, sequence: up.session.sequence });
        }
        return isUnderTest && this.#isHeld ? 'cut' : 'pass';
      },
      onReply: (message) => (isUnderTest ? this.#decide(message, open) : 'pass'),
    };
  }

  #decide(message: Uint8Array, open: Map<number, WriteKey>): RelayDecision {
    const down = decodeDown(message);
    if (isNotice(down)) return this.#isHeld ? 'cut' : 'pass';
    const key = open.get(down.id);
    open.delete(down.id);
    if (key !== undefined && down.ok) {
      const { index } = down.result as { readonly index: number };
      if (this.#isFirst(key, index)) return 'cut';
    }
    return this.#isHeld ? 'cut' : 'pass';
  }

  #isFirst(key: WriteKey, index: number): boolean {
    const name = `session ${key.session} sequence ${key.sequence}`;
    const firstIndex = this.#firstIndexes.get(name);
    if (firstIndex === undefined) {
      this.#firstIndexes.set(name, index);
      this.#onCut(this.#firstIndexes.size);
      return true;
    }
    if (firstIndex !== index) this.#contradictions.push(`${name}: ${firstIndex}, then ${index}`);
    return false;
  }
}
