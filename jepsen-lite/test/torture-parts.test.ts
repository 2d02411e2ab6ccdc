// What a torture decides without a cluster: its plan, who is named by an event, which answers are
// wrong, and that a report with anything amiss is a failure.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import { FILE_KINDS, kindOfPath } from '../src/torture/file-kinds.ts';
import { type Injury, type ProductEvent, withEvent } from '../src/torture/injuries.ts';
import { isLetGo } from '../src/torture/let-go.ts';
import { lostIn } from '../src/torture/lost-bytes.ts';
import { contentOf, RowModel } from '../src/torture/model.ts';
import { DAMAGE_KINDS, type DamageCounts, drawPlan } from '../src/torture/plan.ts';
import { failuresOf, type TortureReport, tally } from '../src/torture/report.ts';
import { listVictimFiles } from '../src/torture/victim-files.ts';

const NO_DAMAGE: DamageCounts = {
  ...{ flip: 0, truncate: 0, zeroPage: 0, swap: 0, stale: 0, delete: 0 },
};

t.test('a plan has the damages that were asked for, and is the same for the same seed', (t) => {
  const counts = fc.record({
    ...{ flip: fc.nat(40), truncate: fc.nat(5), zeroPage: fc.nat(5) },
    ...{ swap: fc.nat(5), stale: fc.nat(5), delete: fc.nat(5) },
  });
  fc.assert(
    fc.property(fc.nat(), counts, (seed, wanted) => {
      const options = { seed, counts: wanted, nodeNames: ['n1', 'n2'] };
      const plan = drawPlan(options);
      for (const kind of DAMAGE_KINDS) {
        t.equal(plan.filter(({ damage }) => damage === kind).length, wanted[kind], kind);
      }
      t.strictSame(drawPlan(options), plan);
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('a thousand flips hit every kind of file, and nothing old is put back for identity', (t) => {
  const plan = drawPlan({ seed: 1, counts: { ...NO_DAMAGE, flip: 1_000 }, nodeNames: ['n1'] });
  for (const { kind } of FILE_KINDS)
    t.ok(
      plan.some((one) => one.fileKind === kind),
      kind,
    );
  const stale = drawPlan({ seed: 1, counts: { ...NO_DAMAGE, stale: 500 }, nodeNames: ['n1'] });
  t.notOk(stale.some(({ fileKind }) => fileKind === 'identity'));
  t.equal(kindOfPath('wal/0000000000000003.wal'), 'wal');
  t.equal(kindOfPath('quarantine/1/segment-00000001.seg'), null);
  t.end();
});

const INJURY: Injury = {
  ...{ number: 1, damage: 'flip', nodeName: 'n1', path: 'collections/3/0/a.seg' },
  ...{ fileKind: 'segment', inode: 7, spans: [{ from: 70_000, to: 70_001 }] },
  ...{ injectedAtMs: 1_000, eventNumber: 5, state: 'open', said: [] },
  ...{ detectedAtMs: null, repairedAtMs: null },
};

const eventOf = (number: number, kind: string, offset: number): ProductEvent => ({
  ...{ number, kind, wallMs: 1_000 + number, key: INJURY.path },
  facts: { what: `${INJURY.path}: block 1 fails its checksum (offset ${offset})` },
});

t.test('a flip is detected only by an event about its file and block, after it', (t) => {
  t.equal(withEvent(INJURY, eventOf(6, 'found', 65_608)).state, 'detected');
  t.equal(withEvent(INJURY, eventOf(6, 'found', 64)).state, 'open', 'another block');
  t.equal(withEvent(INJURY, eventOf(6, 'found', 131_152)).state, 'open', 'a block behind it');
  t.equal(withEvent(INJURY, eventOf(5, 'found', 65_608)).state, 'open', 'an older event');
  t.equal(withEvent(INJURY, eventOf(6, 'recovered', 65_608)).state, 'open', 'never found');
  const other = { ...eventOf(6, 'found', 65_608), key: 'CHECKPOINT' };
  t.equal(withEvent(INJURY, other).state, 'open', 'another file');
  const found = withEvent(INJURY, eventOf(6, 'found', 65_608));
  t.equal(withEvent(found, eventOf(7, 'failed', 0)).state, 'detected', 'an attempt failed');
  t.match(withEvent(found, eventOf(8, 'recovered', 0)), { state: 'repaired', repairedAtMs: 1_008 });
  t.end();
});

t.test('the log file that is written to is not the one that is made ahead', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-victim-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'wal'));
  // Closed; written to, with rot far behind its end; made ahead, with nothing but a header.
  const used = [16_384, 8_192, 512];
  const rotten = 12_000;
  for (const [i, usedBytes] of used.entries()) {
    const bytes = new Uint8Array(16_384).fill(7, 0, usedBytes);
    if (i === 1) bytes[rotten] = 4;
    writeFileSync(join(directory, `wal/${String(i + 1).padStart(16, '0')}.wal`), bytes);
  }
  const ahead = new Map([['wal/0000000000000002.wal', [rotten]]]);
  t.match(listVictimFiles(directory, new Set(), ahead), [
    { isActive: false, contentSizeBytes: 16_384 },
    { isActive: true, contentSizeBytes: 8_192 },
    { isActive: true, contentSizeBytes: 512 },
  ]);
  t.end();
});

t.test('what a lost batch has left is not damaged again, and what can be read is', (t) => {
  const lines = [
    { offset: 0, kind: 'file', what: 'log file', fields: { sizeBytes: 2_097_152 } },
    { offset: 4_096, kind: 'damage', what: 'no batch', fields: { sizeBytes: 565_248 } },
    { offset: 569_344, kind: 'batch', what: 'batch 2:1920', fields: {} },
    { offset: 569_500, kind: 'damage', what: 'record payload', fields: { lost: 1 } },
    { offset: 600_064, kind: 'damage', what: 'no batch', fields: { sizeBytes: 512 } },
  ] as const;
  t.same(lostIn(lines), [
    { from: 4_096, to: 569_344 },
    { from: 600_064, to: 600_576 },
  ]);
  t.end();
});

t.test('the model takes what was possible while it was asked, and nothing else', (t) => {
  const model = new RowModel(10);
  const pointOf = (id: number, version: number) => ({
    ...{ id, version: 99, payload: version === 0 ? {} : { version } },
    vector: Float32Array.from(contentOf(id, version)?.vector ?? []),
  });
  const first = model.snapshot([4]);
  t.equal(model.wrongRead(4, pointOf(4, 0), first), null, 'as it was loaded');
  t.match(model.wrongRead(4, pointOf(4, 1), first), 'never written');
  t.match(model.wrongRead(4, null, first), 'is missing');
  t.match(model.wrongRead(4, { ...pointOf(4, 0), vector: Float32Array.of(1, 2) }, first), 'vector');
  model.send(4);
  t.equal(model.wrongRead(4, pointOf(4, 0), first), null, 'the write is under way');
  t.equal(model.wrongRead(4, pointOf(4, 1), first), null, 'or has happened');
  model.acknowledge(4, 1);
  const second = model.snapshot([4]);
  t.match(model.wrongRead(4, pointOf(4, 0), second), '1 was acknowledged');
  t.equal(model.wrongCount(10, second), null);
  t.match(model.wrongCount(9, second), '9 points are counted, not 10');
  for (let version = 2; version <= 6; version++) model.acknowledge(4, model.send(4));
  t.equal(contentOf(4, 6), null, 'the seventh version is an absence');
  t.equal(model.wrongRead(4, null, model.snapshot([4])), null);
  t.equal(model.wrongCount(9, model.snapshot([])), null);
  t.match(model.wrongHit({ ...pointOf(5, 0), score: 3 }, contentOf(5, 0)!.vector, 0), 'score');
  t.end();
});

const REPORT: TortureReport = {
  ...{ seed: 1, nodeNames: ['n1'], planned: { ...NO_DAMAGE, flip: 1 }, durationMs: 1 },
  ...{ rowCount: 1, segmentCount: 1, notInjected: [], notes: [], finalFailures: [] },
  clients: { writes: 1, reads: 1, searches: 1, counts: 1, degraded: 0, wrong: [], errors: [] },
  injuries: [{ ...INJURY, state: 'repaired', detectedAtMs: 1_400, repairedAtMs: 1_500 }],
};

t.test('a report fails for every single thing that is amiss', (t) => {
  t.same(failuresOf(REPORT), []);
  const { clients } = REPORT;
  const amiss: readonly Partial<TortureReport>[] = [
    { clients: { ...clients, wrong: ['point 1 is missing'] } },
    { clients: { ...clients, errors: ['TIMEOUT'] } },
    { clients: { ...clients, reads: 0 } },
    { notInjected: drawPlan({ seed: 1, counts: { ...NO_DAMAGE, flip: 1 }, nodeNames: ['n1'] }) },
    { finalFailures: ['digests differ'] },
    ...(['open', 'detected', 'missed', 'unrepaired'] as const).map((state) => ({
      injuries: [{ ...INJURY, state }],
    })),
    { injuries: Array<Injury>(4).fill({ ...INJURY, state: 'deletedFirst' }) },
  ];
  for (const one of amiss) {
    t.equal(failuresOf({ ...REPORT, ...one }).length, 1, Object.keys(one).join());
  }
  t.end();
});

t.test('times are told from the damage on: the middle one and the longest', (t) => {
  const random = new SeededRandom(1);
  const delays = Array.from({ length: 9 }, () => random.nextBelow(1_000));
  const injuries = delays.map((delay): Injury => {
    return { ...INJURY, state: 'repaired', detectedAtMs: 1_000 + delay, repairedAtMs: 2_000 };
  });
  const sorted = [...delays].sort((left, right) => left - right);
  const { detectionMs, repaired, repairMs } = tally('all', injuries);
  t.same(detectionMs, { median: sorted[4], max: sorted[8] });
  t.same(repairMs, { median: 1_000, max: 1_000 });
  t.equal(repaired, 9);
  t.end();
});

t.test('a file that was deleted is let go of only when nothing can name it any more', async (t) => {
  const path = 'collections/3/0/graph-00000032.graph';
  const deleted: Injury = { ...INJURY, damage: 'delete', fileKind: 'graph', path };
  const seen = (paths: readonly string[], rootChanges = 0, oldestLogPath = '') => ({
    inodeOf: (one: string) => (paths.includes(one) ? 7 : null),
    oldestLogPath: () => oldestLogPath,
    rootChanges,
  });
  const sidecar = 'collections/3/0/graph-00000032.json';
  t.notOk(isLetGo(deleted, seen([sidecar])), 'its sidecar names it');
  t.ok(isLetGo(deleted, seen([])), 'the whole generation is gone');
  t.ok(isLetGo({ ...deleted, path: sidecar }, seen([])));
  t.notOk(isLetGo({ ...deleted, path: sidecar }, seen([path])));
  const meta: Injury = { ...deleted, fileKind: 'meta', path: 'meta/a.meta' };
  t.notOk(isLetGo(meta, seen([], 1)), 'a generation of checkpoints may still name it');
  t.ok(isLetGo(meta, seen([], 2)));
  const log: Injury = { ...deleted, fileKind: 'wal', path: 'wal/0000000000000003.wal' };
  t.notOk(isLetGo(log, seen([], 0, 'wal/0000000000000002.wal')));
  t.ok(isLetGo(log, seen([], 0, 'wal/0000000000000004.wal')));
  t.notOk(isLetGo({ ...INJURY, inode: 7 }, seen([INJURY.path])), 'a flipped file is still there');
  t.ok(isLetGo({ ...INJURY, inode: 6 }, seen([INJURY.path])), 'another file took its name');
});
