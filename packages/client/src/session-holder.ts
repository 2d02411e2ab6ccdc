/**
 * The one session of a client: opened at the first write, replaced when the cluster says that it is
 * gone. Many writes share one opening; a write that gives up does not stop it.
 */
import type { HoldfastError } from '@holdfast/base';
import type { Call } from './call.ts';
import { ClientSession } from './session.ts';

interface Waiter {
  resolve(session: ClientSession): void;
  reject(error: HoldfastError): void;
}

type HolderState =
  | { readonly kind: 'none' }
  | { readonly kind: 'opening' }
  | { readonly kind: 'open'; readonly session: ClientSession };

export class SessionHolder {
  /** Opens a session in the cluster; bounded by its own deadline. */
  readonly #open: () => Promise<number>;
  #state: HolderState = { kind: 'none' };
  readonly #waiters = new Set<Waiter>();
  readonly #windowWaiters = new Set<() => void>();

  constructor(open: () => Promise<number>) {
    this.#open = open;
  }

  get current(): ClientSession | null {
    return this.#state.kind === 'open' ? this.#state.session : null;
  }

  /** A session whose window has room. */
  async acquire(call: Call): Promise<ClientSession> {
    // Ends at the deadline of the call at the latest: every wait in it is interruptible.
    for (;;) {
      const session = this.current ?? (await this.#waitForOpen(call));
      if (!session.isWindowFull) return session;
      await call.wait<void>(({ resolve }) => {
        this.#windowWaiters.add(resolve);
        return () => this.#windowWaiters.delete(resolve);
      });
    }
  }

  finish(session: ClientSession, sequence: number): void {
    session.finish(sequence);
    const waiting = [...this.#windowWaiters];
    this.#windowWaiters.clear();
    for (const wake of waiting) wake();
  }

  /** `session` is gone in the cluster; the next write opens another. */
  drop(session: ClientSession): void {
    if (this.current === session) this.#state = { kind: 'none' };
  }

  #waitForOpen(call: Call): Promise<ClientSession> {
    return call.wait<ClientSession>((settle) => {
      const waiter: Waiter = settle;
      this.#waiters.add(waiter);
      if (this.#state.kind === 'none') this.#startOpening();
      return () => this.#waiters.delete(waiter);
    });
  }

  #startOpening(): void {
    this.#state = { kind: 'opening' };
    this.#open().then(
      (id) => {
        const session = new ClientSession(id);
        this.#state = { kind: 'open', session };
        for (const waiter of this.#takeWaiters()) waiter.resolve(session);
      },
      (error: HoldfastError) => {
        this.#state = { kind: 'none' };
        for (const waiter of this.#takeWaiters()) waiter.reject(error);
      },
    );
  }

  #takeWaiters(): readonly Waiter[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }
}
