/** How objects are cut into parts: what every plan must hold, for any size. */
import fc from 'fast-check';
import t from 'tap';
import {
  IN_FLIGHT_SIZE_BYTES_MAX,
  OBJECT_SIZE_BYTES_MAX,
  PART_COUNT_MAX,
  PART_SIZE_BYTES_MIN,
  PARTS_FROM_SIZE_BYTES,
  planParts,
} from '../src/backup/sinks/part-size.ts';

const MIB = 1024 * 1024;

t.test('parts cover the object, within all limits, for any size', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: OBJECT_SIZE_BYTES_MAX }), (sizeBytes) => {
      const plan = planParts(sizeBytes);
      if (plan === null) return false;
      const { partSizeBytes, partCount, parallelCount } = plan;
      const coveredSizeBytes = partSizeBytes * partCount;
      return (
        coveredSizeBytes >= sizeBytes &&
        coveredSizeBytes - sizeBytes < partSizeBytes &&
        partCount <= PART_COUNT_MAX &&
        partSizeBytes >= PART_SIZE_BYTES_MIN &&
        partSizeBytes % MIB === 0 &&
        parallelCount >= 1 &&
        parallelCount * partSizeBytes <= IN_FLIGHT_SIZE_BYTES_MAX
      );
    }),
    { numRuns: 2_000 },
  );
  t.pass('2,000 sizes');
});

t.test('parts stay small as long as ten thousand of them are enough', async (t) => {
  t.same(planParts(PARTS_FROM_SIZE_BYTES + 1), {
    ...{ partSizeBytes: 8 * MIB, partCount: 3, parallelCount: 4 },
  });
  t.same(planParts(80_000 * MIB), {
    ...{ partSizeBytes: 8 * MIB, partCount: 10_000, parallelCount: 4 },
  });
  t.same(planParts(80_000 * MIB + 1), {
    ...{ partSizeBytes: 9 * MIB, partCount: 8_889, parallelCount: 4 },
  });
  t.same(planParts(200_000 * MIB), {
    ...{ partSizeBytes: 20 * MIB, partCount: 10_000, parallelCount: 3 },
  });
});

t.test('the largest object goes one part at a time, and a larger one not at all', async (t) => {
  t.same(planParts(OBJECT_SIZE_BYTES_MAX), {
    ...{ partSizeBytes: 64 * MIB, partCount: 10_000, parallelCount: 1 },
  });
  t.equal(planParts(OBJECT_SIZE_BYTES_MAX + 1), null);
  t.throws(() => planParts(0));
});
