/**
 * Arms the failpoints of this thread as the environment says; for tests of whole processes. Without
 * the two variables nothing is armed.
 *
 *   HOLDFAST_TEST_FAILPOINTS=wal.before-sync=kill@3,apply.before-batch=delay:200@1
 *
 * An order is `NAME=kill@N` (the N-th time that a thread gets there the process is gone),
 * `NAME=delay:MS@N`, or `NAME=delay:MS` (each time). HOLDFAST_TEST_FAILPOINTS_SEEN names a file to
 * which every thread appends each place that it gets to for the first time: what a run has covered.
 *
 * A delay stands still the thread that gets there, as a stalled disk or a busy processor would.
 */
import { appendFileSync } from 'node:fs';
import { armFailpoints, FAILPOINTS, type Failpoint, HoldfastError, must } from '@holdfast/base';

export const FAILPOINTS_VARIABLE = 'HOLDFAST_TEST_FAILPOINTS';
export const FAILPOINTS_SEEN_VARIABLE = 'HOLDFAST_TEST_FAILPOINTS_SEEN';

export interface FailpointOrder {
  readonly name: Failpoint;
  readonly action: { readonly kind: 'kill' } | { readonly kind: 'delay'; readonly delayMs: number };
  /** Counted from 1, in each thread; null: every time. */
  readonly hit: number | null;
}

export interface FailpointEffects {
  /** Never returns. */
  readonly kill: () => void;
  readonly delay: (delayMs: number) => void;
  readonly noteSeen: (name: Failpoint) => void;
}

const ORDER = /^([a-z.-]+)=(?:(kill)|delay:(\d{1,6}))(?:@([1-9]\d{0,8}))?$/;

/** @throws HoldfastError CONFIG_INVALID */
export function parseFailpoints(text: string): readonly FailpointOrder[] {
  return text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const match = ORDER.exec(part.trim());
      const name = FAILPOINTS.find((known) => known === match?.[1]);
      if (match === null || name === undefined) throw notAnOrder(part);
      const hit = match[4] === undefined ? null : Number(match[4]);
      if (match[2] !== undefined) return { name, action: { kind: 'kill' }, hit: hit ?? 1 };
      return { name, action: { kind: 'delay', delayMs: Number(match[3]) }, hit };
    });
}

/** What a thread does when it gets to a place. */
export function failpointHandler(
  orders: readonly FailpointOrder[],
  effects: FailpointEffects,
): (name: Failpoint) => void {
  const hits = new Map<Failpoint, number>();
  return (name) => {
    const hit = (hits.get(name) ?? 0) + 1;
    hits.set(name, hit);
    if (hit === 1) effects.noteSeen(name);
    for (const order of orders) {
      if (order.name !== name || (order.hit !== null && order.hit !== hit)) continue;
      if (order.action.kind === 'kill') effects.kill();
      else effects.delay(order.action.delayMs);
    }
  };
}

/** @throws HoldfastError CONFIG_INVALID */
export function armFailpointsFromEnvironment(environment: NodeJS.ProcessEnv): void {
  const { [FAILPOINTS_VARIABLE]: text, [FAILPOINTS_SEEN_VARIABLE]: seenPath } = environment;
  if (text === undefined && seenPath === undefined) return;
  armFailpoints(
    failpointHandler(parseFailpoints(text ?? ''), {
      kill: () => {
        process.kill(process.pid, 'SIGKILL');
        // The signal arrives when it does: until then nothing more may happen here.
        standStill(Number.POSITIVE_INFINITY);
      },
      delay: standStill,
      noteSeen: (name) => {
        if (seenPath !== undefined) appendFileSync(must(seenPath), `${name}\n`);
      },
    }),
  );
}

function standStill(delayMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
}

function notAnOrder(part: string): HoldfastError {
  const message =
    `${FAILPOINTS_VARIABLE}: '${part}' is no order; write NAME=kill@N or NAME=delay:MS@N ` +
    'with a name of base/failpoints.ts';
  return new HoldfastError('CONFIG_INVALID', message, { details: { part } });
}
