/**
 * What every sink must do, as cases without a test framework, run against real stores: each gets a
 * folder of keys of its own and reports through `expect`.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import type { BackupSink, SinkSource } from '../sinks/sink.ts';
import { bytesSource } from '../sinks/sink.ts';
import { PatternSource } from './pattern-source.ts';
import { sinkTransferCases } from './sink-transfer-cases.ts';

export type SinkExpect = (isTrue: boolean, what: string) => void;

export interface SinkWorld {
  readonly sink: BackupSink;
  readonly seed: number;
  /** Beginning of the keys of this case; ends with a slash. */
  readonly folder: string;
  /** Writers of the same large object at once. */
  readonly largeWriterCount: number;
  readonly objectCount: number;
  /** Changes what is stored under the key behind the back of the sink. */
  readonly damage: (key: string, how: 'flip' | 'cut') => Promise<void>;
  /** What interrupted puts have left that nobody can see: uploads, temporary files. */
  readonly leftovers: () => Promise<readonly string[]>;
}

export interface SinkCase {
  readonly title: string;
  readonly run: (world: SinkWorld, expect: SinkExpect) => Promise<void>;
}

export const textSource = (text: string): SinkSource => bytesSource(Buffer.from(text));

export const isEqual = (left: Uint8Array | null, right: Uint8Array): boolean =>
  left !== null && Buffer.from(right).equals(left);

export async function failsWith(
  body: () => Promise<unknown>,
  code: string,
  expect: SinkExpect,
  what: string,
): Promise<void> {
  let thrown: unknown = null;
  try {
    await body();
  } catch (error) {
    thrown = error;
  }
  const found = thrown instanceof HoldfastError ? thrown.code : String(thrown);
  expect(found === code, `${what}: ${code} (found ${found})`);
}

export async function keysOf(sink: BackupSink, prefix: string, after?: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of sink.list(prefix, after)) keys.push(object.key);
  return keys;
}

export async function readAll(sink: BackupSink, key: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of sink.read(key)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** `work` for 0 .. count - 1, some at a time. */
export async function inParallel(
  count: number,
  parallelCount: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: parallelCount }, worker));
}

const CASES: readonly SinkCase[] = [
  {
    title: 'a store that can do what is promised passes its check, and nothing of it stays',
    async run({ sink }, expect) {
      await sink.check();
      expect((await keysOf(sink, 'check_')).length === 0, 'the check cleans up');
    },
  },
  {
    title: 'an object comes back whole, with its size, and is gone after its removal',
    async run({ sink, folder }, expect) {
      for (const size of [0, 1, 1000, 1024 * 1024, 1024 * 1024 + 1]) {
        const key = `${folder}object-${size}`;
        const source = new PatternSource(size, size);
        let storedSizeBytes = -1;
        const onProgress = (count: number) => {
          storedSizeBytes = count;
        };
        expect((await sink.put(key, source, { ifAbsent: true, onProgress })) === 'stored', key);
        expect(size === 0 || storedSizeBytes === size, `${key}: progress reaches the size`);
        expect(isEqual(await sink.get(key, size), source.all()), `${key} by get`);
        expect(isEqual(await readAll(sink, key), source.all()), `${key} by read`);
        const head = await sink.head(key);
        expect(head?.sizeBytes === size && head.key === key, `${key} by head`);
        const isRecent = Math.abs((head?.modifiedMs ?? 0) - Date.now()) < 3_600_000;
        expect(isRecent, `${key} has the time of now`);
        await sink.remove([key]);
        expect((await sink.get(key, size)) === null, `${key} is gone`);
      }
    },
  },
  {
    title: 'what is not there is null, or refused by name; removing it is no failure',
    async run({ sink, folder }, expect) {
      const key = `${folder}nothing`;
      expect((await sink.get(key, 10)) === null, 'get');
      expect((await sink.head(key)) === null, 'head');
      await failsWith(() => readAll(sink, key), 'BACKUP_NOT_FOUND', expect, 'read');
      await sink.remove([key, `${folder}deeper/nothing`]);
      expect((await keysOf(sink, `${folder}nothing`)).length === 0, 'list');
    },
  },
  {
    title: 'a get of more than was asked for is refused',
    async run({ sink, folder }, expect) {
      const key = `${folder}large`;
      await sink.put(key, textSource('12345'), { ifAbsent: true });
      await failsWith(() => sink.get(key, 4), 'SINK_REFUSED', expect, 'four of five bytes');
      expect(isEqual(await sink.get(key, 5), Buffer.from('12345')), 'five of five');
    },
  },
  {
    title: 'a put replaces an object, a conditional one does not',
    async run({ sink, folder }, expect) {
      const key = `${folder}replaced`;
      expect((await sink.put(key, textSource('one'), { ifAbsent: true })) === 'stored', 'first');
      expect((await sink.put(key, textSource('two'), { ifAbsent: true })) === 'exists', 'again');
      expect(isEqual(await sink.get(key, 10), Buffer.from('one')), 'the first is there');
      expect((await sink.put(key, textSource('three'), { ifAbsent: false })) === 'stored', 'over');
      expect(isEqual(await sink.get(key, 10), Buffer.from('three')), 'the last is there');
    },
  },
  {
    title: 'of twenty racing conditional puts exactly one wins, and the object is the winner’s',
    async run({ sink, folder }, expect) {
      const key = `${folder}raced`;
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          sink.put(key, textSource(`writer ${i}`), { ifAbsent: true }),
        ),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome === 'stored' ? [i] : []));
      expect(winners.length === 1, `one winner (${winners})`);
      const found = Buffer.from((await sink.get(key, 100)) ?? []).toString();
      expect(found === `writer ${winners[0]}`, `its bytes are there (${found})`);
    },
  },
  {
    title: 'writers of equal bytes do not all win',
    async run({ sink, folder }, expect) {
      const key = `${folder}equal`;
      const put = () => sink.put(key, textSource('same'), { ifAbsent: true });
      const outcomes = await Promise.all([put(), put(), put(), put()]);
      expect(outcomes.filter((outcome) => outcome === 'stored').length === 1, 'one winner');
    },
  },
  {
    title: 'what was damaged in the store is refused',
    async run({ sink, folder, damage }, expect) {
      for (const how of ['flip', 'cut'] as const) {
        const key = `${folder}damaged-${how}`;
        await sink.put(key, new PatternSource(7, 300_000), { ifAbsent: true });
        await damage(key, how);
        await failsWith(() => sink.get(key, 300_000), 'BACKUP_CORRUPT', expect, `${how}, get`);
        await failsWith(() => readAll(sink, key), 'BACKUP_CORRUPT', expect, `${how}, read`);
        let sizeBytes = 0;
        try {
          for await (const piece of sink.read(key)) sizeBytes += piece.byteLength;
        } catch {
          // looked at above
        }
        expect(sizeBytes < 300_000, `${how}: the whole is never handed out`);
      }
    },
  },
  {
    title: 'keys are listed in order, by prefix and from a key on, however many there are',
    async run({ sink, folder, objectCount, seed }, expect) {
      const random = new SeededRandom(seed);
      const keys = Array.from({ length: objectCount }, (_, i) => `${folder}${oddName(i)}`);
      const shuffled = [...keys].sort(() => random.nextFloat() - 0.5);
      await inParallel(objectCount, 16, async (i) => {
        const key = shuffled[i] ?? '';
        await sink.put(key, textSource(key), { ifAbsent: true });
      });
      const sorted = [...keys].sort();
      const all = await keysOf(sink, folder);
      expect(all.join() === sorted.join(), `${all.length} of ${objectCount} in order`);
      for (let round = 0; round < 6; round++) {
        const after = sorted[random.nextBelow(objectCount)] ?? '';
        const prefix = `${folder}${oddName(random.nextBelow(objectCount)).slice(0, 3)}`;
        const wanted = sorted.filter((key) => key.startsWith(prefix) && key > after);
        const found = await keysOf(sink, prefix, after);
        expect(found.join() === wanted.join(), `${prefix}* after ${after}: ${found.length}`);
      }
      await sink.remove(keys);
      expect((await keysOf(sink, folder)).length === 0, 'all are removed');
    },
  },
  {
    title: 'an object and a folder of the same name are both kept, in the order of their keys',
    async run({ sink, folder }, expect) {
      const keys = ['a', 'a-b', 'a.b', 'a/b', 'a/b/c', 'a0'].map((key) => `${folder}${key}`);
      for (const key of [...keys].reverse())
        await sink.put(key, textSource(key), { ifAbsent: true });
      expect((await keysOf(sink, folder)).join() === keys.join(), 'in order');
      expect(isEqual(await sink.get(`${folder}a`, 99), Buffer.from(`${folder}a`)), 'the object');
    },
  },
  {
    title: 'odd keys are refused before anything is sent',
    async run({ sink, folder }, expect) {
      const odd = [
        '',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        '../a',
        'a/../b',
        '.hidden',
        'a.',
        'a b',
        'ä',
      ];
      odd.push('a\\b', 'a\nb', 'a%2Fb', 'a?b', 'a.object', 'a'.repeat(201), 'a/'.repeat(300));
      for (const key of odd) {
        const put = () => sink.put(key, textSource('x'), { ifAbsent: true });
        await failsWith(put, 'SINK_REFUSED', expect, `put of ${JSON.stringify(key.slice(0, 20))}`);
      }
      const get = async () => sink.get('../a', 10);
      await failsWith(get, 'SINK_REFUSED', expect, 'get of ../a');
      await failsWith(async () => sink.remove(['a', '..']), 'SINK_REFUSED', expect, 'remove of ..');
      await failsWith(() => keysOf(sink, '../'), 'SINK_REFUSED', expect, 'list of ../');
      expect((await keysOf(sink, folder)).length === 0, 'nothing was stored');
    },
  },
  {
    title: 'many calls at once do not disturb each other',
    async run({ sink, folder }, expect) {
      await inParallel(40, 40, async (i) => {
        const key = `${folder}many-${i}`;
        const source = new PatternSource(i, 1 + i * 997);
        await sink.put(key, source, { ifAbsent: i % 2 === 0 });
        const [got, head] = await Promise.all([sink.get(key, 100_000), sink.head(key)]);
        expect(isEqual(got, source.all()) && head?.sizeBytes === source.sizeBytes, key);
      });
    },
  },
  {
    title: 'a signal that is aborted already ends every call at once',
    async run({ sink, folder }, expect) {
      const key = `${folder}aborted`;
      const signal = AbortSignal.abort();
      const put = () => sink.put(key, textSource('x'), { ifAbsent: true, signal });
      await failsWith(put, 'ABORTED', expect, 'put');
      await failsWith(() => sink.get(key, 10, { signal }), 'ABORTED', expect, 'get');
      await failsWith(() => sink.head(key, { signal }), 'ABORTED', expect, 'head');
      const list = async () => {
        for await (const _ of sink.list(folder, '', { signal }));
      };
      await failsWith(list, 'ABORTED', expect, 'list');
      expect((await sink.get(key, 10)) === null, 'nothing was stored');
    },
  },
  {
    title: 'a link leads to the object until it expires, and a changed one does not',
    async run({ sink, folder }, expect) {
      const key = `${folder}linked`;
      await sink.put(key, textSource('by link'), { ifAbsent: true });
      const link = await sink.presign(key, 60);
      await failsWith(async () => sink.presign('..', 60), 'SINK_REFUSED', expect, 'an odd key');
      if (link === null) return;
      const answer = await fetch(link);
      expect((await answer.text()) === 'by link', `the bytes come by the link (${answer.status})`);
      const changed = await fetch(link.replace('linked', 'changed'));
      await changed.arrayBuffer();
      expect(changed.status === 403, `another key by the same link (${changed.status})`);
      await failsWith(async () => sink.presign(key, 0), 'SINK_REFUSED', expect, 'no time');
    },
  },
];

/** Names whose order differs between bytes, words, numbers and folders. */
function oddName(index: number): string {
  const separators = ['-', '.', '/', '0', '_', '='];
  const separator = separators[index % separators.length] ?? '';
  return `k${index % 37}${separator}n${index.toString(36)}`;
}

export const sinkConformance: readonly SinkCase[] = [...CASES, ...sinkTransferCases];
