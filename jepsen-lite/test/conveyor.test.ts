// A relayed line holds so much and no more: a reader that does not read stops the sender.
import type { Socket } from 'node:net';
import { PassThrough, Writable } from 'node:stream';
import t from 'tap';
import { Conveyor } from '../src/net/conveyor.ts';

/** Both ends of a line; the far one holds so many bytes until `read` is called. */
function lineOf(farSizeBytes: number) {
  const from = new PassThrough();
  from.resume();
  const taken: (() => void)[] = [];
  const to = new Writable({
    highWaterMark: farSizeBytes,
    write: (_bytes, _encoding, done) => taken.push(done),
  });
  // Of a socket the conveyor uses what every stream has.
  const conveyor = new Conveyor(from as unknown as Socket, to as unknown as Socket);
  const read = (): void => {
    for (let done = taken.shift(); done !== undefined; done = taken.shift()) done();
  };
  return { conveyor, from, to, read };
}

t.test(
  'a reader that does not read stops the sender, and one that reads lets it go on',
  async (t) => {
    const { conveyor, from, read, to } = lineOf(1_000);
    conveyor.push(Buffer.alloc(600), 0, null);
    t.equal(from.isPaused(), false, 'the far end has room');
    conveyor.push(Buffer.alloc(600), 0, null);
    t.equal(from.isPaused(), true, 'the far end is full');
    const drained = new Promise((resolve) => to.once('drain', resolve));
    read();
    await drained;
    t.equal(from.isPaused(), false, 'it was read');
  },
);

t.test('a slow line takes a bounded number of bytes', async (t) => {
  const { conveyor, from } = lineOf(10_000_000);
  const delayMs = 3_600_000;
  for (let i = 0; i < 16; i++) conveyor.push(Buffer.alloc(64 << 10), delayMs, null);
  t.equal(from.isPaused(), false, 'a mebibyte is under way');
  conveyor.push(Buffer.alloc(1), delayMs, null);
  t.equal(from.isPaused(), true);
  t.equal(conveyor.clear(), true, 'what was under way is lost');
  t.equal(from.isPaused(), false);
  t.equal(conveyor.clear(), false);
});
