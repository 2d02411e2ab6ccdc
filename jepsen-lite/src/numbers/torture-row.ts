/** A small torture: every answer is compared with a model while files of one node are damaged. */

import { invalid, valid } from '../checker/verdict.ts';
import { failuresOf, type TortureReport } from '../torture/report.ts';
import { runTorture } from '../torture/torture.ts';
import { atLeast, atMost, figure } from './figure.ts';
import { everywherePossible, type NumberRow } from './row.ts';
import { maxOf, medianOf } from './summary.ts';

/** One sealed segment and some rows that are not. */
const ROW_COUNT = 82_000;
const OUTSTANDING_MAX = 5;
const TIMEOUT_MS = 1_800_000;

const repairMsOf = ({ injuries }: TortureReport): readonly number[] =>
  injuries.flatMap(({ injectedAtMs, repairedAtMs }) =>
    repairedAtMs === null ? [] : [Math.max(0, repairedAtMs - injectedAtMs)],
  );

export const tortureRow: NumberRow = {
  ...{ name: 'torture', timesDefault: 60, timesQuick: 3 },
  load: '3 writers, readers and searchers of the torture, one after the other each',
  what: 'the same on one of 3 nodes, with every answer compared with a model (npm run torture)',
  whyNot: everywherePossible,
  run: async ({ log, seed, times }) => {
    const third = Math.max(1, Math.round(times / 3));
    const report = await runTorture({
      ...{ seed, victimCount: 1, rowCount: ROW_COUNT, shardCount: 1 },
      counts: { flip: third, zeroPage: third, truncate: third, swap: 0, stale: 0, delete: 0 },
      ...{ outstandingMax: OUTSTANDING_MAX, timeoutMs: TIMEOUT_MS },
      onProgress: ({ open, planned, repaired, wrong }) =>
        log(`${repaired}/${planned} repaired, ${open} open, wrong answers ${wrong}`),
    });
    const failures = failuresOf(report);
    const repairMs = repairMsOf(report);
    return {
      figures: [
        atLeast('damages', report.injuries.length, '', third * 3),
        atMost('wrong answers', report.clients.wrong.length, '', 0),
        atMost('damages not made good, and other failures', failures.length, '', 0),
        figure('until repaired, median', medianOf(repairMs), 'ms'),
        figure('until repaired, max', maxOf(repairMs), 'ms'),
      ],
      verdicts: {
        torture:
          failures[0] === undefined
            ? valid({ injuries: report.injuries.length })
            : invalid(
                failures[0],
                failures.map((failure) => ({ failure })),
              ),
      },
      notes: report.notes.slice(0, 5),
      samples: [],
    };
  },
};
