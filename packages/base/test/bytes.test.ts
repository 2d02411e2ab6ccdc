// Copies of parts of a pooled Buffer: what a socket hands out.
import t from 'tap';
import { copyBytes } from '../src/bytes.ts';

t.test('a copy of a part of a pooled Buffer has memory of its own, of its own length', (t) => {
  const pool = Buffer.from([9, 9, 9, 1, 2, 3, 4, 9]);
  const received = pool.subarray(3, 7);
  t.ok(received.slice(1, 3).buffer.byteLength > 2, 'slice of a Buffer is a view');
  const copy = copyBytes(received, 1, 3);
  t.same([...copy], [2, 3]);
  t.notOk(Buffer.isBuffer(copy));
  t.equal(copy.buffer.byteLength, 2);
  pool.fill(0);
  t.same([...copy], [2, 3]);
  t.same([...copyBytes(Uint8Array.of(1, 2))], [1, 2], 'all of it');
  t.end();
});
