/** What recoveries did, newest last: for pages, for tests, and one log line each. Bounded. */
import type { Clock, Logger } from '@holdfast/base';
import type { RecoveryPriority } from './recovery-manager.ts';

/**
 * `found`: something is wrong; `leftAlone`: and nothing will be done; `started`, `failed` and
 * `undone`: of one attempt; `recovered`: the cause is gone; `overdue`: the target of its priority
 * has passed; `escalated`: no action has helped, a person must look.
 */
export type RecoveryEventKind =
  | 'found'
  | 'leftAlone'
  | 'started'
  | 'failed'
  | 'undone'
  | 'recovered'
  | 'overdue'
  | 'escalated';

export interface RecoveryEvent {
  /** Counts from 1: who reads the list again sees what is new. */
  readonly number: number;
  readonly wallMs: number;
  readonly kind: RecoveryEventKind;
  readonly key: string;
  readonly type: string;
  readonly priority: RecoveryPriority;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A torture of a thousand findings is told to its end. */
const EVENT_COUNT_MAX = 8_192;

const LEVELS = {
  found: 'error',
  leftAlone: 'error',
  started: 'info',
  failed: 'warn',
  undone: 'warn',
  recovered: 'warn',
  overdue: 'error',
  escalated: 'error',
} as const satisfies Record<RecoveryEventKind, keyof Logger>;

export class RecoveryEvents {
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #logger: Logger;
  readonly #listeners: ((event: RecoveryEvent) => void)[] = [];
  #events: RecoveryEvent[] = [];
  #number = 0;

  constructor(clock: Pick<Clock, 'wallMs'>, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  all(): readonly RecoveryEvent[] {
    return this.#events.slice(-EVENT_COUNT_MAX);
  }

  listen(listener: (event: RecoveryEvent) => void): void {
    this.#listeners.push(listener);
  }

  tell(
    kind: RecoveryEventKind,
    of: Pick<RecoveryEvent, 'key' | 'type' | 'priority'>,
    facts: object,
  ): void {
    this.#number += 1;
    const event = { number: this.#number, wallMs: this.#clock.wallMs(), kind, ...of, facts };
    this.#events.push(event as RecoveryEvent);
    // Cut in big steps: a shift for every event would copy the list each time.
    if (this.#events.length >= 2 * EVENT_COUNT_MAX) this.#events = [...this.all()];
    this.#logger[LEVELS[kind]]({ ...of, ...facts }, `recovery ${kind}`);
    for (const listener of this.#listeners) listener(event as RecoveryEvent);
  }
}
