/**
 * Goal: a sector that the disk refuses to read is rot of that place and of nothing else.
 * Method: a disk that refuses chosen pages; what checksums make of the filling is in wal-damage.
 */
import t from 'tap';
import { fileIoError } from '../src/fs.ts';
import { readAround, UNREADABLE_BYTE } from '../src/unreadable.ts';

const PAGE = 4_096;
const SIZE = 70 * PAGE + 100;
const CONTENT = Uint8Array.from({ length: SIZE }, (_, i) => i % 251);
const refusal = (code: string) =>
  fileIoError({ operation: 'read', path: '/data/file', code, errno: -5 });

/** A file of `CONTENT` on a disk that refuses every read of these pages. */
function diskWithout(pages: ReadonlySet<number>, code = 'EIO') {
  let readCount = 0;
  const readAt = (target: Uint8Array, position: number): number => {
    readCount += 1;
    const end = Math.min(SIZE, position + target.byteLength);
    for (let page = Math.floor(position / PAGE); page * PAGE < end; page++)
      if (pages.has(page)) throw refusal(code);
    target.set(CONTENT.subarray(position, Math.max(position, end)));
    return Math.max(0, end - position);
  };
  return { readAt, readCount: () => readCount };
}

t.test('everything but the refused page is what the file has', async (t) => {
  const { readAt } = diskWithout(new Set([3]));
  const target = new Uint8Array(6 * PAGE);
  t.equal(readAround(readAt, target, 100), 6 * PAGE);
  const expected = CONTENT.slice(100, 100 + 6 * PAGE);
  expected.fill(UNREADABLE_BYTE, 3 * PAGE - 100, 4 * PAGE - 100);
  t.same(Buffer.compare(target, expected), 0);
});

t.test('a disk that gives everything is asked once', async (t) => {
  const { readAt, readCount } = diskWithout(new Set());
  t.equal(readAround(readAt, new Uint8Array(10 * PAGE), 0), 10 * PAGE);
  t.equal(readCount(), 1);
});

t.test('the end of the file stays where it is', async (t) => {
  const { readAt } = diskWithout(new Set([69]));
  const target = new Uint8Array(4 * PAGE);
  t.equal(readAround(readAt, target, 69 * PAGE), PAGE + 100);
  t.ok(target.subarray(0, PAGE).every((byte) => byte === UNREADABLE_BYTE));
  t.same(target.slice(PAGE, PAGE + 100), CONTENT.slice(70 * PAGE));
});

t.test('a disk that refuses a lot is refused itself, and other errors stand', async (t) => {
  const all = new Set(Array.from({ length: 71 }, (_, page) => page));
  t.throws(() => readAround(diskWithout(all).readAt, new Uint8Array(SIZE), 0), { code: 'FILE_IO' });
  const other = diskWithout(new Set([0]), 'EACCES');
  t.throws(() => readAround(other.readAt, new Uint8Array(PAGE), 0), /EACCES/);
});
