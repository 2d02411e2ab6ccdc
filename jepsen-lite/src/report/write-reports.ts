/** Makes the pages of a store from what is on disk: also of runs whose harness died. */

import { join } from 'node:path';
import { longestWriteGapOf } from '../checker/availability.ts';
import { listRuns, readRun, type StoredRun } from '../store/run-reader.ts';
import { writeWhole } from '../store/run-writer.ts';
import { browserCode } from './browser-code.ts';
import { describeGap } from './describe-run.ts';
import { indexPage } from './index-page.ts';
import type { TimelineInput } from './timeline-data.ts';
import { timelinePage } from './timeline-page.ts';

/** Writes `timeline.html` of one run and returns its path. */
export async function writeTimeline(storeDirectory: string, name: string): Promise<string> {
  const path = join(storeDirectory, name, 'timeline.html');
  const input = timelineInputOf(readRun(storeDirectory, name));
  await writeWhole(path, timelinePage(input, browserCode('timeline')));
  return path;
}

/** Writes `index.html` of the store and returns its path. */
export async function writeIndex(storeDirectory: string): Promise<string> {
  const path = join(storeDirectory, 'index.html');
  await writeWhole(path, indexPage(listRuns(storeDirectory), browserCode('run-list')));
  return path;
}

export function timelineInputOf(run: StoredRun): TimelineInput {
  const { facts, summary, verdicts } = run.listed;
  const nemeses = facts.nemeses.map(({ name }) => name).join(' + ') || 'no faults';
  const settings = Object.entries(facts.settings).map(([name, value]) => `${name} ${plain(value)}`);
  const counts =
    summary === null
      ? 'not counted: the run did not end'
      : `${summary.okCount} ok, ${summary.failCount} fail, ${summary.infoCount} info`;
  const gap = longestWriteGapOf(run.history.events);
  return {
    title: `${facts.workload} under ${nemeses}, seed ${facts.seed}`,
    facts: [
      ['started', `${facts.startedAt.slice(0, 19).replace('T', ' ')} UTC`],
      ['cluster', `${facts.cluster}: ${facts.nodeNames.join(', ')}`],
      ['clients', `${facts.workerCount}`],
      ['operations', counts],
      ['longest write gap', gap === null ? 'none around a fault' : describeGap(gap)],
      ['commit', facts.commit],
      ...(settings.length === 0 ? [] : [['settings', settings.join(', ')] as const]),
    ],
    reproduceLine: facts.reproduceLine,
    workerCount: facts.workerCount,
    events: run.history.events,
    verdicts,
    colours: new Map(
      facts.nemeses.flatMap(({ colour, name }) => (colour === undefined ? [] : [[name, colour]])),
    ),
    series: run.series,
    notes: run.history.isTorn ? ['the harness died while it wrote the last line: left out'] : [],
    fileNames: run.fileNames,
  };
}

const plain = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
