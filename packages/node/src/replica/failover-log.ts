/** The newest steps of failovers as this replica saw them, for pages; each is logged as well. */
import type { Clock, Logger } from '@holdfast/base';
import type { FailoverEvent } from './failover-timeline.ts';

export interface TimedFailoverEvent extends FailoverEvent {
  /** Wall clock of this node. */
  readonly atMs: number;
}

/** Five steps each: the last twenty failovers. */
const EVENT_COUNT_MAX = 100;

export class FailoverLog {
  readonly #events: TimedFailoverEvent[] = [];
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #logger: Logger;

  constructor(clock: Pick<Clock, 'wallMs'>, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  readonly tell = (failover: FailoverEvent): void => {
    this.#logger.info({ failover }, 'failover');
    this.#events.push({ ...failover, atMs: this.#clock.wallMs() });
    if (this.#events.length > EVENT_COUNT_MAX) this.#events.shift();
  };

  /** Oldest first. */
  get events(): readonly TimedFailoverEvent[] {
    return [...this.#events];
  }
}
