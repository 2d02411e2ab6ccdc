/**
 * What stores behind a network have in common, on requests that are made up: what is read was
 * checked and is of one object, however often its connection broke; one failure begins no more.
 */
import { Readable } from 'node:stream';
import { SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { createStreamDigest } from '@holdfast/storage';
import t from 'tap';
import {
  againWhenGone,
  beginPut,
  outcomeOfGone,
  PartsGone,
  publish,
  putTask,
} from '../src/backup/sinks/remote-put.ts';
import type { OpenVerdict, StoreRequests } from '../src/backup/sinks/remote-store.ts';
import { RemoteStore } from '../src/backup/sinks/remote-store.ts';
import { bytesSource } from '../src/backup/sinks/sink.ts';
import { classifyThrown, refusal } from '../src/backup/sinks/sink-failure.ts';
import { RETRY_POLICY_DEFAULT } from '../src/backup/sinks/sink-retry.ts';

const CONTENT = Buffer.from('what was stored, byte for byte');
const PIECE_SIZE_BYTES = 8;
const lost = () => Object.assign(new Error('lost'), { code: 'ECONNRESET' });

class Verdict extends Error {
  readonly verdict: OpenVerdict;

  constructor(verdict: OpenVerdict) {
    super(verdict);
    this.verdict = verdict;
  }
}

function sha256Of(bytes: Uint8Array): string {
  const digest = createStreamDigest();
  digest.update(bytes);
  return digest.finishHex();
}

/** Every answer breaks after a piece. `later` is what all requests after the first meet. */
function makeStore(later: OpenVerdict | null = null, content = CONTENT, writer = 'somebody') {
  const opened: [number, string | null][] = [];
  const metadata = { sha256: sha256Of(CONTENT), size: String(CONTENT.byteLength), writer };
  const requests: StoreRequests = {
    name: 'x://made-up',
    classify: classifyThrown,
    head: async () => ({ metadata, sizeBytes: content.byteLength, modified: undefined }),
    open: async (_key, offset, entityTag) => {
      opened.push([offset, entityTag]);
      if (later !== null && opened.length > 1) throw new Verdict(later);
      async function* pieces() {
        yield content.subarray(offset, offset + PIECE_SIZE_BYTES);
        if (offset + PIECE_SIZE_BYTES < content.byteLength) throw lost();
      }
      const sizeBytes = content.byteLength - offset;
      return { metadata, sizeBytes, entityTag: 'tag', body: Readable.from(pieces()) };
    },
    verdictOf: (error) => (error instanceof Verdict ? error.verdict : null),
  };
  const clock = new VirtualClock();
  const store = new RemoteStore(requests, {
    ...{ clock, random: new SeededRandom(1), retryPolicy: RETRY_POLICY_DEFAULT },
    // waits between attempts are over at once; limits of attempts never are
    timers: {
      after: (delayMs, callback) => {
        if (delayMs < RETRY_POLICY_DEFAULT.attemptMsMax) setImmediate(callback);
        return { cancel: () => {} };
      },
    },
  });
  return { opened, store };
}

async function readAll(store: RemoteStore): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of store.read('a', {})) pieces.push(piece);
  return Buffer.concat(pieces);
}

t.test('a get and a read go on where they broke, from the same object', async (t) => {
  const { opened, store } = makeStore();
  t.same(await store.get('a', 100, {}), CONTENT);
  t.same(opened, [
    [0, null],
    [8, 'tag'],
    [16, 'tag'],
    [24, 'tag'],
  ]);
  t.same(await readAll(store), CONTENT);
  await t.rejects(store.get('a', CONTENT.byteLength - 1, {}), { code: 'SINK_REFUSED' });
  await t.rejects(store.get('/a', 100, {}), { code: 'SINK_REFUSED', message: /the key "\/a"/ });
});

t.test('an object that is another one in the middle of a read is named', async (t) => {
  const verdicts = [
    ['missing', { code: 'BACKUP_NOT_FOUND', message: /a in x:\/\/made-up was removed while/ }],
    ['replaced', { code: 'BACKUP_CORRUPT', message: /a in x:\/\/made-up .* was replaced while/ }],
    ['shorter', { code: 'BACKUP_CORRUPT', message: /a in x:\/\/made-up .* shorter than it was/ }],
  ] as const;
  for (const [verdict, expected] of verdicts) {
    await t.rejects(makeStore(verdict).store.get('a', 100, {}), expected);
    await t.rejects(readAll(makeStore(verdict).store), expected);
  }
});

t.test('bytes that fail their digest are given to nobody', async (t) => {
  const flipped = Buffer.from(CONTENT);
  flipped[20] = 0;
  await t.rejects(makeStore(null, flipped).store.get('a', 100, {}), { code: 'BACKUP_CORRUPT' });
  await t.rejects(readAll(makeStore(null, flipped).store), { code: 'BACKUP_CORRUPT' });
  const cut = CONTENT.subarray(0, 20);
  await t.rejects(makeStore(null, cut).store.get('a', 100, {}), {
    message: /20 bytes instead of 30/,
  });
});

t.test('after one object could not be removed no other one is begun', async (t) => {
  const { store } = makeStore();
  const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`);
  const begun: string[] = [];
  let underWayCount = 0;
  const removing = store.removeEach(keys, {}, async (key) => {
    begun.push(key);
    underWayCount += 1;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    underWayCount -= 1;
    if (key === 'key-3') throw refusal(`remove of ${key}`, 'it is held');
  });
  await t.rejects(removing, { code: 'SINK_REFUSED', message: /remove of key-3/ });
  t.ok(begun.length < keys.length, `${begun.length} of ${keys.length} were begun`);
  t.equal(underWayCount, 0, 'and none goes on behind the caller');
});

t.test('parts that are gone are sent again, unless the object is there', async (t) => {
  const gone = new PartsGone('put of a', 'its parts were dropped');
  let sentCount = 0;
  const never = againWhenGone(async () => {
    sentCount += 1;
    throw gone;
  });
  await t.rejects(never, { code: 'SINK_UNAVAILABLE', message: /its parts were dropped/ });
  t.equal(sentCount, 4, 'three times more');
  const { store } = makeStore();
  const wanted = await beginPut(store, 'a', bytesSource(CONTENT), { ifAbsent: true });
  const task = await putTask(store, wanted!);
  const ended = (writer: string, ifAbsent: boolean, lostCount: number) => {
    const { store: named } = makeStore(null, CONTENT, writer);
    let attemptCount = 0;
    const options = { ifAbsent };
    return publish(named, { ...task, options }, async (attempt) => {
      attemptCount += 1;
      if (attemptCount <= lostCount) throw lost();
      return outcomeOfGone(named, { ...task, options }, attempt, gone);
    });
  };
  t.equal(await ended(task.writer, true, 1), 'stored', 'by the attempt whose answer was lost');
  t.equal(await ended('somebody', true, 1), 'exists', 'equal bytes of another writer');
  await t.rejects(ended('somebody', false, 1), gone, 'to be replaced');
  await t.rejects(ended(task.writer, false, 0), gone, 'no attempt of ours can have ended it');
});
