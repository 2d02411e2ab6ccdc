// Goal: the drill sees every way in which a restored state can differ from what was acknowledged.
import t from 'tap';
import type { WorkerStory } from '../src/drill/drill-writer.ts';
import { judgeRestored, type RestoredRow } from '../src/drill/judge-restored.ts';
import { digestOfRows, rowsAt } from '../src/drill/restored-rows.ts';

const acknowledged = (id: number, value: number | null, index: number) => ({
  ...{ id, value, index, acknowledgedAtMs: 1_000 + index },
});
const row = (id: number, value: number, version: number): RestoredRow => ({ id, value, version });

const STORY: WorkerStory = {
  acknowledged: [
    ...[acknowledged(1, 10, 1), acknowledged(2, 20, 2), acknowledged(3, 30, 3)],
    ...[acknowledged(1, 11, 4), acknowledged(2, null, 5), acknowledged(3, 31, 8)],
  ],
  unknown: null,
};
const ROWS = [row(1, 11, 4), row(3, 30, 3)];
const judge = (rows: readonly RestoredRow[], story = STORY, index = 6) =>
  judgeRestored([story], rows, { index, lostAtMs: 1_500 });

t.test('what was acknowledged up to the index is there, and what is lost has an age', (t) => {
  const verdict = judge(ROWS);
  t.same(verdict.wrong, []);
  t.match(verdict, { acknowledgedCount: 6, lostCount: 1, rowCount: 2, oldestLostAgeMs: 492 });
  t.match(judge([row(1, 11, 4), row(3, 31, 8)], STORY, 8), { lostCount: 0, oldestLostAgeMs: 0 });
  t.end();
});

t.test('a row that is missing, old, too many, twice, or too new is named', (t) => {
  const wrongRows = [
    ...[[row(1, 11, 4)], [row(1, 10, 1), row(3, 30, 3)], [...ROWS, row(2, 20, 2)]],
    ...[
      [...ROWS, row(9, 9, 4)],
      [...ROWS, row(3, 30, 3)],
      [row(1, 11, 4), row(3, 31, 8)],
    ],
    ...[
      [row(1, 11, 3), row(3, 30, 3)],
      [row(1, 12, 4), row(3, 30, 3)],
    ],
  ];
  for (const rows of wrongRows) t.not(judge(rows).wrong.length, 0, JSON.stringify(rows));
  t.end();
});

t.test('a write of unknown outcome is there or not, and nothing between', (t) => {
  const story: WorkerStory = { ...STORY, unknown: { id: 1, value: 12 } };
  t.same(judge(ROWS, story).wrong, []);
  t.same(judge([row(1, 12, 6), row(3, 30, 3)], story).wrong, []);
  t.not(judge([row(1, 13, 6), row(3, 30, 3)], story).wrong.length, 0);
  t.not(judge([row(1, 12, 2), row(3, 30, 3)], story).wrong.length, 0, 'before what it followed');
  const removed: WorkerStory = { ...STORY, unknown: { id: 1, value: null } };
  t.same(judge([row(3, 30, 3)], removed).wrong, []);
  t.end();
});

t.test(
  'the rows at an index are those acknowledged by then, and their digest tells every other',
  (t) => {
    t.strictSame(rowsAt([STORY], 6), ROWS);
    t.strictSame(rowsAt([STORY], 3), [row(1, 10, 1), row(2, 20, 2), row(3, 30, 3)]);
    t.strictSame(rowsAt([STORY], 0), []);
    const digest = digestOfRows(ROWS);
    t.equal(digestOfRows([...ROWS].reverse()), digest, 'in whatever order they come');
    const others = [[], [row(1, 11, 4)], [...ROWS, row(2, 20, 2)], [row(1, 11, 3), row(3, 30, 3)]];
    for (const rows of [...others, [row(1, 10, 4), row(3, 30, 3)], [row(1, 11, 4), row(4, 30, 3)]])
      t.not(digestOfRows(rows), digest, JSON.stringify(rows));
    t.end();
  },
);
