/**
 * Goal: every question that a thread was asked is settled once, whatever becomes of the thread, and
 * nothing of an old thread counts for a new one.
 * Method: real threads with a program that does as it is asked; virtual time.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Logger } from '@holdfast/base';
import { HoldfastError, SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import t from 'tap';
import type { AskedThreadOptions } from '../src/threads/asked-thread.ts';
import { AskedThread } from '../src/threads/asked-thread.ts';

const root = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'holdfast-asked-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const path = join(root, 'obeys.mjs');
writeFileSync(
  path,
  `import { parentPort, workerData } from 'node:worker_threads';
  const held = [];
  const answer = (id, answer) => parentPort.postMessage({ kind: 'answer', id, answer });
  parentPort.postMessage({ kind: 'born', life: workerData });
  parentPort.on('message', ({ kind, id, text }) => {
    if (kind === 'hold') held.push(id);
    if (kind === 'release') for (const one of held.splice(0)) answer(one, 'held');
    if (kind === 'late') answer(id - 1, 'of another life');
    if (kind === 'exit') process.exit(0);
    if (kind === 'die') throw new Error('out of luck');
    if (kind === 'echo' || kind === 'late') answer(id, workerData + ' ' + text);
    if (kind === 'abort') answer(id, 'too late');
  });\n`,
);

type Question =
  | { readonly kind: 'echo' | 'late'; readonly text: string }
  | { readonly kind: 'hold' | 'die' | 'exit' };
interface Born {
  readonly kind: 'born';
  readonly life: number;
}

function open(over: Partial<AskedThreadOptions<Born>> = {}) {
  const clock = new VirtualClock();
  const told: string[] = [];
  const logger: Logger = { ...SILENT_LOGGER, error: (_, message) => void told.push(message) };
  const deaths: number[] = [];
  const born: number[] = [];
  let lifeCount = 0;
  const thread = new AskedThread<Question, Born>({
    ...{ name: 'holdfast-obeys', title: 'the test thread', died: 'it died', stopped: 'no more' },
    ...{ program: pathToFileURL(path), timers: clock, logger },
    resourceLimits: { maxOldGenerationSizeMb: 64 },
    start: () => {
      lifeCount += 1;
      return lifeCount;
    },
    onDeath: (count) => void deaths.push(count),
    onTold: ({ life }) => void born.push(life),
    ...over,
  });
  t.teardown(() => thread.stop());
  /** The answer, or the code of the refusal. */
  const ask = async (question: Question, signal?: AbortSignal): Promise<unknown> => {
    try {
      return await thread.ask(question, { aborted: 'not wanted', signal }).answer;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return error.code;
    }
  };
  return { ask, born, clock, deaths, thread, told };
}

const echo = (text: string): Question => ({ kind: 'echo', text });

t.test('a thread that dies in the middle fails all that waits, and has a successor', async (t) => {
  const { ask, born, deaths, thread, told } = open();
  const waiting = [ask({ kind: 'hold' }), ask({ kind: 'hold' })];
  t.equal(await ask(echo('a')), '1 a', 'others are answered meanwhile');
  t.equal(await ask({ kind: 'die' }), 'INTERNAL');
  t.same(await Promise.all(waiting), ['INTERNAL', 'INTERNAL']);
  t.notOk(thread.isUp);
  t.equal(await ask(echo('b')), '2 b');
  t.equal(await ask({ kind: 'exit' }), 'INTERNAL', 'one that just ends has died too');
  t.equal(await ask({ kind: 'die' }), 'INTERNAL');
  t.same(deaths, [1, 1, 2], 'in a row');
  t.same(born, [1, 2, 3]);
  t.same(new Set(told), new Set(['the test thread has died']));
});

t.test('an answer to a question of a dead thread or after an abort is nothing', async (t) => {
  const { ask, deaths } = open();
  t.equal(await ask({ kind: 'die' }), 'INTERNAL');
  t.equal(await ask({ kind: 'late', text: 'a' }), '2 a');
  const abort = new AbortController();
  const held = ask({ kind: 'hold' }, abort.signal);
  abort.abort();
  t.equal(await held, 'ABORTED');
  t.equal(await ask(echo('b'), abort.signal), 'ABORTED', 'not asked');
  t.equal(await ask(echo('c')), '2 c', 'behind the answer that nobody waits for');
  t.same(deaths, [1]);
});

t.test('questions that wait are bounded, and one that was answered makes room', async (t) => {
  const { ask, thread } = open({ questionCountMax: 2 });
  const waiting = [ask({ kind: 'hold' }), ask({ kind: 'hold' })];
  t.throws(() => thread.ask(echo('a'), { aborted: '' }), {
    ...{ code: 'OVERLOADED', message: 'the test thread has 2 questions; ask later' },
  });
  thread.tell({ kind: 'release' });
  t.same(await Promise.all(waiting), ['held', 'held']);
  t.equal(await ask(echo('b')), '1 b');
});

t.test('it ends when nobody asks and nothing is held, and comes again', async (t) => {
  let isHeld = true;
  const { ask, clock, thread } = open({ isHeld: () => isHeld });
  t.equal(await ask(echo('a')), '1 a');
  clock.advance(60_000);
  t.ok(thread.isUp);
  isHeld = false;
  thread.rest();
  clock.advance(4_999);
  t.equal(await ask(echo('b')), '1 b', 'a question begins the while anew');
  clock.advance(4_999);
  t.ok(thread.isUp);
  clock.advance(1);
  t.notOk(thread.isUp);
  t.equal(await ask(echo('c')), '2 c');
});

t.test('what cannot be started or sent is thrown, and nothing waits for it', async (t) => {
  let refusal: HoldfastError | null = new HoldfastError('INTERNAL', 'not now');
  const { ask, thread } = open({
    questionCountMax: 1,
    start: () => {
      if (refusal !== null) throw refusal;
      return 1;
    },
  });
  t.throws(() => thread.ask(echo('a'), { aborted: '' }), { message: 'not now' });
  refusal = null;
  const unsendable = { kind: 'echo', text: () => {} } as unknown as Question;
  t.throws(() => thread.ask(unsendable, { aborted: '' }), { name: 'DataCloneError' });
  t.equal(await ask(echo('b')), '1 b');
});

t.test('stopping rejects what waits and every later question', async (t) => {
  const { ask, deaths, thread } = open();
  const held = ask({ kind: 'hold' });
  await thread.stop();
  t.equal(await held, 'SHUTTING_DOWN');
  t.equal(await ask(echo('a')), 'SHUTTING_DOWN');
  t.notOk(thread.isUp);
  t.same(deaths, []);
});
