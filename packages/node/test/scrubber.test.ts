/**
 * Goal: a finding of a scrub is one that was seen twice, and what is known costs one look only.
 * Method: the scrubber on virtual time, with a reader that tells flaws and counts its looks.
 */
import { SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import type { ScrubReader } from '../src/heal/scrub-reader.ts';
import type { Finding } from '../src/heal/scrubber.ts';
import { Scrubber } from '../src/heal/scrubber.ts';

const FLAW = { offset: 7, what: 'rot', expected: null, actual: null };

/** `flawsAt(n)`: what look number n at any file tells. */
function makeScrubber(flawsAt: (look: number) => readonly (typeof FLAW)[], settled: number[]) {
  const clock = new VirtualClock();
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory('/data/wal');
  const findings: Finding[] = [];
  let lookCount = 0;
  const reader: ScrubReader = {
    bytesPerSecMax: 0,
    look: () => {
      lookCount += 1;
      return Promise.resolve({ flaws: flawsAt(lookCount), sizeBytes: 1 });
    },
    stop: () => Promise.resolve(),
  };
  const scrubber = new Scrubber({
    ...{ reader, clock, timers: clock, logger: SILENT_LOGGER, intervalMs: 0 },
    place: {
      ...{ fileSystem, dataDirectory: '/data', roots: () => [], walFiles: () => [] },
      ...{ epoch: { epoch: 1, hasBatches: false, durableBatch: 0 }, hardStates: () => new Map() },
    },
    onFinding: (finding) => void findings.push(finding),
    isSettled: (_, { offset }) => offset !== null && settled.includes(offset),
  });
  const pass = async () => {
    const run = scrubber.run();
    let isDone = false;
    void run.then(() => {
      isDone = true;
    });
    while (!isDone) {
      await Promise.resolve();
      clock.advance(1);
    }
    return run;
  };
  return { pass, findings, lookCount: () => lookCount };
}

t.test('a flaw is told when it is seen twice', async (t) => {
  const { findings, lookCount, pass } = makeScrubber(() => [FLAW], []);
  const { files } = (await pass()).totals;
  t.ok(files > 0);
  t.equal(findings.length, files);
  t.equal(lookCount(), 2 * files);
});

t.test('what is gone at the second look was a write under way', async (t) => {
  const { findings, pass } = makeScrubber((look) => (look % 2 === 1 ? [FLAW] : []), []);
  const { totals } = await pass();
  t.same(findings, []);
  t.equal(totals.flaws, 0);
});

t.test('what is known is told by no event again, and looked at once', async (t) => {
  const { findings, lookCount, pass } = makeScrubber(() => [FLAW], [FLAW.offset]);
  const { totals } = await pass();
  t.same(findings, []);
  t.equal(lookCount(), totals.files);
  t.equal(totals.flaws, totals.files, 'the report of the pass still has it');
});

t.test('a flaw beside one that is known is seen twice like any other', async (t) => {
  const more = { ...FLAW, offset: 99 };
  const { findings, lookCount, pass } = makeScrubber(() => [FLAW, more], [FLAW.offset]);
  const { files } = (await pass()).totals;
  t.equal(lookCount(), 2 * files);
  t.same(
    findings.map(({ flaws }) => flaws),
    findings.map(() => [more]),
  );
});
