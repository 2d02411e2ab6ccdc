/**
 * A fault that goes on until it is healed: a loop beside the run. What goes wrong in it is thrown
 * where it is stopped, so that nothing is lost.
 */
import { pause } from '../wait.ts';

/** How soon a stop is noticed. */
const STEP_MS = 20;

export class Background {
  #running: Promise<void> | null = null;
  #isOver = false;

  get isRunning(): boolean {
    return this.#running !== null;
  }

  /** `turn` is called again and again until `stop`. */
  start(turn: (wait: (delayMs: number) => Promise<void>) => Promise<void>): void {
    if (this.#running !== null) throw new Error('a fault is under way already: heal it first');
    this.#isOver = false;
    const loop = async (): Promise<void> => {
      while (!this.#isOver) await turn((delayMs) => this.#wait(delayMs));
    };
    this.#running = loop();
    // Thrown again by `stop`.
    this.#running.catch(() => undefined);
  }

  /** Resolves when the last turn is over. @throws what a turn threw */
  async stop(): Promise<void> {
    this.#isOver = true;
    const running = this.#running;
    this.#running = null;
    await running;
  }

  async #wait(delayMs: number): Promise<void> {
    const untilMs = performance.now() + delayMs;
    while (!this.#isOver && performance.now() < untilMs) {
      await pause(Math.min(STEP_MS, untilMs - performance.now()));
    }
  }
}
