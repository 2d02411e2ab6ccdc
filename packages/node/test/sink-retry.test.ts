/** Attempts, waits and limits of calls to a store, on a clock of the test; what failures mean. */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import type { SinkPutOutcome } from '../src/backup/sinks/sink.ts';
import { classifyAnswer, classifyThrown, sinkError } from '../src/backup/sinks/sink-failure.ts';
import type { SinkAttempt, SinkEnvironment } from '../src/backup/sinks/sink-retry.ts';
import { putOnce, RETRY_POLICY_DEFAULT, withRetry } from '../src/backup/sinks/sink-retry.ts';
import { nextTurn } from './support/until.ts';

function makeWorld(seed = 1) {
  const clock = new VirtualClock();
  const environment: SinkEnvironment = {
    ...{ clock, timers: clock, random: new SeededRandom(seed) },
    retryPolicy: RETRY_POLICY_DEFAULT,
  };
  return { clock, environment };
}

/** Moves time on until the work has settled. */
async function settle<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const done = () => {
    isSettled = true;
  };
  work.then(done, done);
  for (;;) {
    await nextTurn();
    if (isSettled) return work;
    clock.fireNext(clock.monotonicMs() + 1_000_000);
  }
}

const answer = (status: number, name = '') => Object.assign(new Error(name), { status, name });
const classify = (error: unknown) => {
  const { status, name } = error as { status?: number; name: string };
  return status === undefined ? classifyThrown(error) : classifyAnswer({ status, name });
};

t.test('waits double from attempt to attempt, half of them by chance, up to a limit', async (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const { clock, environment } = makeWorld(seed);
    const startedMs: number[] = [];
    const run = async (): Promise<void> => {
      startedMs.push(clock.monotonicMs());
      throw answer(503, 'SlowDown');
    };
    const call = withRetry(environment, { what: 'put of k to s', classify, run });
    await t.rejects(settle(clock, call), {
      code: 'SINK_UNAVAILABLE',
      message: 'put of k to s (8 attempts) failed: the store asks to slow down',
    });
    t.equal(startedMs.length, RETRY_POLICY_DEFAULT.attemptCountMax);
    for (let i = 1; i < startedMs.length; i++) {
      const waitedMs = (startedMs[i] ?? 0) - (startedMs[i - 1] ?? 0);
      const fullMs = Math.min(10_000, 100 * 2 ** (i - 1));
      t.ok(waitedMs >= fullMs / 2 && waitedMs <= fullMs, `wait ${i}: ${waitedMs} of ${fullMs}`);
    }
  }
});

t.test('what another attempt cannot mend is not tried again', async (t) => {
  for (const error of [answer(403, 'AccessDenied'), answer(404, 'NoSuchBucket'), answer(501)]) {
    const { clock, environment } = makeWorld();
    let count = 0;
    const run = async (): Promise<void> => {
      count += 1;
      throw error;
    };
    const call = withRetry(environment, { what: 'put', classify, run });
    await t.rejects(settle(clock, call), { code: 'SINK_REFUSED' });
    t.equal(count, 1);
  }
});

t.test('an attempt that hangs is ended, and all of them end within their time', async (t) => {
  const { clock, environment } = makeWorld();
  let count = 0;
  const run = ({ signal }: SinkAttempt) =>
    new Promise<void>((_resolve, reject) => {
      count += 1;
      signal.addEventListener('abort', () => reject(new Error('socket closed')));
    });
  const call = withRetry(environment, { what: 'put', classify, run });
  await t.rejects(settle(clock, call), { code: 'SINK_UNAVAILABLE', message: /no answer in time/ });
  const { attemptMsMax, totalMsMax } = RETRY_POLICY_DEFAULT;
  t.equal(count, Math.ceil(totalMsMax / attemptMsMax));
  t.ok(clock.monotonicMs() <= totalMsMax, `${clock.monotonicMs()} ms`);
});

t.test('content has time at the lowest rate of a link that still counts', async (t) => {
  const { clock, environment } = makeWorld();
  const run = ({ signal }: SinkAttempt) =>
    new Promise<string>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('too early')));
      clock.after(100_000, () => resolve('stored'));
    });
  const sizeBytes = 8 * 1024 * 1024;
  const call = withRetry(environment, { what: 'put', sizeBytes, classify, run });
  t.equal(await settle(clock, call), 'stored');
});

t.test('the caller’s signal ends an attempt, and a wait between two', async (t) => {
  const { clock, environment } = makeWorld();
  const during = new AbortController();
  const hanging = withRetry(environment, {
    ...{ what: 'put', classify, signal: during.signal },
    run: ({ signal }) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('socket closed')));
      }),
  });
  during.abort();
  await t.rejects(hanging, { code: 'ABORTED' });

  const between = new AbortController();
  const waiting = withRetry(environment, {
    ...{ what: 'put', classify, signal: between.signal },
    run: async (): Promise<void> => {
      throw answer(503);
    },
  });
  await nextTurn();
  between.abort();
  await t.rejects(waiting, { code: 'ABORTED' });
  t.equal(clock.nextDueMs(), undefined, 'no timer is left');
});

t.test('failures that are not of the store are thrown on as they are', async (t) => {
  const { environment } = makeWorld();
  const own = new HoldfastError('FILE_CORRUPT', 'the source');
  const bug = new TypeError('x is not a function');
  for (const thrown of [own, bug]) {
    const run = async (): Promise<void> => {
      throw thrown;
    };
    const found = await withRetry(environment, { what: 'put', classify, run }).catch((e) => e);
    t.equal(found, thrown);
  }
});

/** A store that holds one object; attempts do what the script says. */
function scriptedPut(script: readonly ('lost' | 'refusedToConnect' | 'answer')[], holder?: string) {
  let owner = holder ?? null;
  let at = 0;
  const run = async (): Promise<SinkPutOutcome> => {
    const step = script[at++] ?? 'answer';
    if (step === 'refusedToConnect')
      throw Object.assign(new Error(), { code: 'ECONNREFUSED', name: 'Error' });
    const outcome: SinkPutOutcome = owner === null ? 'stored' : 'exists';
    owner ??= 'us';
    if (step === 'lost') throw Object.assign(new Error(), { code: 'ECONNRESET', name: 'Error' });
    return outcome;
  };
  return { run, isOurs: async () => owner === 'us' };
}

t.test('exists after a lost answer is stored when the object is our own', async (t) => {
  const cases = [
    { script: ['answer'], outcome: 'stored' },
    { script: ['lost', 'answer'], outcome: 'stored' },
    { script: ['lost', 'lost', 'refusedToConnect', 'answer'], outcome: 'stored' },
    { script: ['answer'], holder: 'them', outcome: 'exists' },
    { script: ['lost', 'answer'], holder: 'them', outcome: 'exists' },
    // nothing was sent, so an object under the key cannot be ours, whatever it says of itself
    { script: ['refusedToConnect', 'answer'], holder: 'us', outcome: 'exists' },
  ] as const;
  for (const { script, outcome, ...rest } of cases) {
    const { clock, environment } = makeWorld();
    const holder = 'holder' in rest ? rest.holder : undefined;
    const put = putOnce(environment, {
      ...{ what: 'put', classify },
      ...scriptedPut(script, holder),
    });
    t.equal(await settle(clock, put), outcome, `${script.join()} with ${holder ?? 'nothing'}`);
  }
});

t.test('what stores and sockets say has one meaning each', async (t) => {
  const answers = [
    [503, 'SlowDown', 'SINK_UNAVAILABLE', true, false],
    [500, 'InternalError', 'SINK_UNAVAILABLE', true, false],
    [408, '', 'SINK_UNAVAILABLE', true, false],
    [400, 'RequestTimeout', 'SINK_UNAVAILABLE', true, false],
    [400, 'BadDigest', 'SINK_UNAVAILABLE', true, true],
    [409, 'OperationAborted', 'SINK_UNAVAILABLE', true, true],
    [400, 'ExpiredToken', 'SINK_UNAVAILABLE', true, true],
    [403, '', 'SINK_REFUSED', false, true],
    [301, 'PermanentRedirect', 'SINK_REFUSED', false, true],
    [404, 'ContainerNotFound', 'SINK_REFUSED', false, true],
    [403, 'QuotaExceeded', 'SINK_FULL', false, true],
    [507, '', 'SINK_FULL', false, true],
  ] as const;
  for (const [status, name, code, isTransient, isDefinite] of answers)
    t.match(
      classifyAnswer({ status, name }),
      { code, isTransient, isDefinite },
      `${status} ${name}`,
    );
  const thrown = [
    ['ECONNRESET', 'SINK_UNAVAILABLE', true, false],
    ['ECONNREFUSED', 'SINK_UNAVAILABLE', true, true],
    ['ENOTFOUND', 'SINK_UNAVAILABLE', true, true],
    ['CERT_HAS_EXPIRED', 'SINK_REFUSED', false, true],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'SINK_REFUSED', false, true],
    ['CredentialsProviderError', 'SINK_REFUSED', false, true],
  ] as const;
  for (const [code, expected, isTransient, isDefinite] of thrown) {
    const error = Object.assign(new Error('x'), { code });
    t.match(classifyThrown(error), { code: expected, isTransient, isDefinite }, code);
  }
  t.equal(classifyThrown(new TypeError('a bug')), null);
});

t.test('no signature of a link goes into a message or a cause', async (t) => {
  const cause = new Error('GET https://store/k?sig=abc%2Fdef&se=1 failed');
  const failure = classifyThrown(Object.assign(cause, { code: 'ECONNRESET' }));
  const error = sinkError('get', failure ?? (t.fail('a failure') as never), cause);
  t.notMatch(`${error.message} ${error.cause}`, /abc/);
  t.match(`${error.cause}`, /sig=\.\.\./);
});
