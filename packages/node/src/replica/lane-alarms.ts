/**
 * Says what happens to the threads of lanes: in the log, and to whoever listens. Also carries back
 * whether lost ones may be replaced: lanes exist before whoever decides that.
 */
import type { Logger } from '@holdfast/base';
import type { LaneEvent } from '@holdfast/shard-worker';

type LaneListener = (event: LaneEvent) => void;

export class LaneAlarms {
  readonly #logger: Logger;
  readonly #listeners: LaneListener[] = [];
  #areRestartsAllowed: () => boolean = () => true;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Heard from now on; never removed. */
  listen(listener: LaneListener): void {
    this.#listeners.push(listener);
  }

  get mayRestart(): boolean {
    return this.#areRestartsAllowed();
  }

  /** Who is asked from now on. */
  restartsAre(allowed: () => boolean): void {
    this.#areRestartsAllowed = allowed;
  }

  readonly tell = (event: LaneEvent): void => {
    this.#log(event);
    for (const listener of this.#listeners) listener(event);
  };

  #log(event: LaneEvent): void {
    if (event.kind === 'laneLost' || event.kind === 'laneRestartFailed') {
      const { error, ...rest } = event;
      this.#logger.error({ ...rest, code: error.code }, error.message);
    } else if (event.kind === 'laneGivenUp') {
      this.#logger.error(
        { ...event },
        'a lane is given up: its shards stay away; restart the node',
      );
    } else {
      this.#logger.warn({ ...event }, 'lane');
    }
  }
}
