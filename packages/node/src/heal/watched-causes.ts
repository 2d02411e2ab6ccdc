/**
 * Causes that mend themselves where they are: a lane starts another thread, a log tries its disk
 * again, an unfit leader hands over. The RecoveryManager has their case all the same, with an
 * action that waits for the outcome and a look whether the cause is gone: so everything that is
 * recovered on a node is in one list, with its time, its attempts and its alarm.
 *
 * Each watched cause is a prerequisite of others: it takes none of their places.
 */
import { HoldfastError } from '@holdfast/base';
import type { RecoveryCause, RecoveryPriority } from './recovery-manager.ts';

type Facts = Readonly<Record<string, unknown>>;

export interface WatchedCause {
  readonly key: string;
  readonly type: string;
  readonly what: string;
  readonly priority: RecoveryPriority;
  /** What is being done about it, as events and statistics name it. */
  readonly action: string;
  /** True when the cause is gone. */
  readonly isGone: () => boolean;
  readonly isUnconditional?: boolean;
}

type Outcome = { readonly facts: Facts } | { readonly error: HoldfastError };

interface Watch {
  outcome: Outcome | null;
  wake: (() => void) | null;
}

export class WatchedCauses {
  readonly #submit: (cause: RecoveryCause) => void;
  readonly #watches = new Map<string, Watch>();
  #isStopped = false;

  constructor(submit: (cause: RecoveryCause) => void) {
    this.#submit = submit;
  }

  /** Nothing new while the same one is open. Ended by `end` or `fail`, in any case by `stop`. */
  begin(cause: WatchedCause): void {
    if (this.#isStopped) return;
    const open = this.#watches.get(cause.key);
    // It came back before anybody looked: what was said of it does not count any more.
    if (open === undefined) this.#watches.set(cause.key, { outcome: null, wake: null });
    else open.outcome = null;
    this.#submit(this.#causeOf(cause));
  }

  /** The cause is gone; `facts` are for the event. */
  end(key: string, facts: Facts = {}): void {
    this.#settle(key, { facts });
  }

  /** It will not mend itself any more. */
  fail(key: string, error: HoldfastError): void {
    this.#settle(key, { error });
  }

  /** Whoever waits for an outcome is told that there is none. */
  stop(): void {
    this.#isStopped = true;
    const error = new HoldfastError('SHUTTING_DOWN', 'this node stops; the recovery ends with it');
    for (const key of this.#watches.keys()) this.fail(key, error);
  }

  #settle(key: string, outcome: Outcome): void {
    const watch = this.#watches.get(key);
    if (watch === undefined) return;
    watch.outcome = outcome;
    watch.wake?.();
  }

  #causeOf(watched: WatchedCause): RecoveryCause {
    const { action, isGone, isUnconditional = false, key, priority, type, what } = watched;
    return {
      ...{ key, type, what, priority, isPrerequisite: true, isUnconditional },
      ladder: [
        {
          name: action,
          attemptCountMax: 1,
          run: () => this.#outcomeOf(key),
          verify: async () => isGone(),
        },
      ],
    };
  }

  /** Also when it is known already: a case may begin late. */
  async #outcomeOf(key: string): Promise<Facts> {
    const watch = this.#watches.get(key);
    if (watch === undefined) return {};
    while (watch.outcome === null) {
      await new Promise<void>((resolve) => {
        watch.wake = resolve;
      });
    }
    const { outcome } = watch;
    this.#watches.delete(key);
    if ('error' in outcome) throw outcome.error;
    return outcome.facts;
  }
}
