// The checkers of a run as a whole: whether it showed anything, how long clients waited, what the
// nodes cost, said and logged. Each on a hand-made run that is right and on ones that are not.
import t from 'tap';
import { judgeAvailability, recoveriesOf } from '../src/checker/availability.ts';
import { coverageOf, describeCoverage, judgeCoverage } from '../src/checker/coverage.ts';
import { judgeInvariants, type StatusSample } from '../src/checker/invariants.ts';
import { judgeLogs } from '../src/checker/node-logs.ts';
import { judgeResources } from '../src/checker/resources.ts';
import { type FaultEvent, History, type HistoryEvent, type Outcome } from '../src/history.ts';
import type { Operation } from '../src/operation.ts';
import type { Series } from '../src/store/series.ts';
import { judgeRun } from '../src/suite/judge-run.ts';

const fault = (timeMs: number, isHealing: boolean, more: Partial<FaultEvent> = {}): FaultEvent => ({
  ...{ kind: 'fault', nemesis: 'kill', action: isHealing ? 'heal' : 'kill-leader', isHealing },
  ...{ outcome: 'installed', detail: '', targets: ['n1'], timeMs, doneMs: timeMs + 50, ...more },
});

interface LoadOptions {
  readonly untilMs: number;
  /** Bursts of so many operations on one key, each as long as the time between bursts. */
  readonly burstCount: number;
  readonly intervalMs: number;
  readonly outcomeAt?: (timeMs: number) => Outcome;
  readonly faults?: readonly FaultEvent[];
}

/** Bursts that begin together and end together, with the faults where they belong. */
function runOf(options: LoadOptions): readonly HistoryEvent[] {
  const { burstCount, intervalMs, untilMs, outcomeAt = () => 'ok', faults = [] } = options;
  const history = new History();
  let nextProcessId = 0;
  for (let timeMs = 0; timeMs < untilMs; timeMs += intervalMs) {
    const operation: Operation = { kind: 'write', key: `k${timeMs}`, value: timeMs };
    const processIds = Array.from({ length: burstCount }, () => nextProcessId++);
    for (const processId of processIds) history.invoke(processId, operation, timeMs);
    const endMs = timeMs + intervalMs / 2;
    for (const processId of processIds) {
      history.finish(processId, outcomeAt(timeMs), operation, endMs);
    }
  }
  return [...history.events, ...faults].sort((left, right) => left.timeMs - right.timeMs);
}

const LOAD = { untilMs: 10_000, burstCount: 8, intervalMs: 20 };
const FAULTS = [fault(3_000, false), fault(5_000, true)];
const GOOD = runOf({ ...LOAD, faults: FAULTS });

t.test('a window counts what began in it, and the rest of the load is healthy', async (t) => {
  const { faults, healthy, keyConcurrency } = coverageOf(GOOD);
  t.match(faults, [{ fromMs: 3_000, toMs: 5_050, operationCount: 824, okRatio: 1 }]);
  t.equal(healthy.operationCount, 4_000 - 824);
  t.equal(keyConcurrency, 8);
  t.equal(Math.round(healthy.concurrency), 4, 'eight of them half of the time');
  t.equal(describeCoverage(coverageOf(GOOD)).length, 3);
  t.match(judgeCoverage(GOOD), { kind: 'valid', summary: { faultCount: 1 } });
});

t.test('a run that could not have shown anything is unknown', async (t) => {
  const isUnknown = (events: readonly HistoryEvent[], reason: RegExp) =>
    t.match(judgeCoverage(events), { kind: 'unknown', reason });
  isUnknown([], /no operation/);
  const thin = runOf({ ...LOAD, intervalMs: 200, faults: FAULTS });
  isUnknown(thin, /only 280 operations from kill-leader at 3000 ms on, 500 are needed/);
  const often = [...FAULTS, fault(5_100, false), fault(6_000, true)];
  isUnknown(runOf({ ...LOAD, intervalMs: 60, faults: often }), /only 280 operations .* 1 of 2/);
  const outcomeAt = (timeMs: number): Outcome => (timeMs % 60 === 0 ? 'ok' : 'fail');
  isUnknown(runOf({ ...LOAD, faults: FAULTS, outcomeAt }), /only 33 % of the operations/);
  isUnknown(runOf({ ...LOAD, burstCount: 4, faults: [] }), /4 operations at a time on a key/);
  const whileFaulty = (timeMs: number): Outcome =>
    timeMs < 3_000 || timeMs > 5_050 ? 'ok' : 'info';
  const hard = runOf({ ...LOAD, faults: FAULTS, outcomeAt: whileFaulty });
  t.match(judgeCoverage(hard), { kind: 'valid' }, 'a fault may take everything');
});

t.test('faults that were skipped have no window, unhealed ones last to the end', async (t) => {
  const skipped = fault(3_000, false, { outcome: 'skipped' });
  t.equal(coverageOf(runOf({ ...LOAD, faults: [skipped] })).faults.length, 0);
  const open = coverageOf(runOf({ ...LOAD, faults: [fault(9_000, false)] }));
  t.match(open.faults, [{ fromMs: 9_000, toMs: 9_981 }]);
  const other = { nemesis: 'cut', action: 'cut' };
  const two = [fault(1_000, false), fault(2_000, false, other), fault(3_000, true)];
  const both = coverageOf(runOf({ ...LOAD, faults: two }));
  t.match(both.faults, [{ toMs: 3_050 }, { toMs: 9_981 }], 'each by its own healing');
  t.equal(both.healthy.toMs, 1_000);
});

t.test('the time from a healing to the next acknowledged write is its recovery', async (t) => {
  const isSilent = (timeMs: number) => timeMs > 2_990 && timeMs < 5_500;
  const outcomeAt = (timeMs: number): Outcome => (isSilent(timeMs) ? 'info' : 'ok');
  const events = runOf({ ...LOAD, faults: FAULTS, outcomeAt });
  t.match(recoveriesOf(events), [{ nemesis: 'kill', healedMs: 5_050, recoveryMs: 460 }]);
  t.match(judgeAvailability(events, { writeGapMsMax: 3_000, recoveryMsMax: 500 }), {
    ...{ kind: 'valid', summary: { recoveryMsMax: 460 } },
  });
  const late = judgeAvailability(events, { writeGapMsMax: 3_000, recoveryMsMax: 400 });
  t.match(late, { kind: 'invalid', examples: [{ timeMs: 5_050 }] });
  t.match(judgeAvailability(events, { writeGapMsMax: 2_000 }), { kind: 'invalid' });
});

const seriesOf = (name: string, valueAt: (i: number) => number): Series => ({
  ...{ name, unit: 'bytes', owner: 'n1' },
  points: Array.from({ length: 100 }, (_unused, i) => [i * 1_000, valueAt(i)] as const),
});

t.test('what a node keeps to the end is a leak, what it gives back is a peak', async (t) => {
  const limits = { rss: { peakMax: 900, growthMax: 100 } };
  const judged = (valueAt: (i: number) => number) =>
    judgeResources([seriesOf('rss', valueAt)], limits);
  t.match(
    judged(() => 500),
    { kind: 'valid' },
  );
  t.match(
    judged((i) => (i === 50 ? 800 : 500)),
    { kind: 'valid' },
    'falls back',
  );
  t.match(
    judged((i) => 500 + i * 2),
    { kind: 'invalid', examples: [{ what: 'growth', owner: 'n1' }] },
  );
  const peak = judged((i) => (i === 50 ? 1_000 : 500));
  t.match(peak, { kind: 'invalid', examples: [{ what: 'peak', timeMs: 50_000 }] });
  t.match(judgeResources([seriesOf('other', () => 1)], limits), { kind: 'unknown' });
  const [short] = [{ ...seriesOf('rss', () => 1), points: [[0, 1]] as const }];
  t.match(judgeResources([short!], limits), { kind: 'unknown' }, 'too few samples');
});

t.test('a line that tells of a bug makes the log of a node invalid', async (t) => {
  const judged = (line: string) =>
    judgeLogs([{ nodeName: 'n2', lines: ['{"msg":"ready"}', line] }]);
  t.match(judged('{"msg":"a peer went away","err":"ECONNRESET"}'), { kind: 'valid' });
  const bad = [
    'InvariantViolation: progress: match must stay below next {"match":3}',
    'holdfast: INTERNAL: Error: x; this is a bug, please report it',
    '[UnhandledPromiseRejection] unhandledRejection',
    'FATAL ERROR: Error::ThrowAsJavaScriptException napi_throw',
    'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
    "TypeError: Cannot read properties of undefined (reading 'x')",
  ];
  for (const line of bad) {
    t.match(judged(line), { kind: 'invalid', examples: [{ nodeName: 'n2', lineNumber: 2, line }] });
  }
  const refused = '# Check failed: 0 == munmap(address, size).';
  t.match(judged(refused), { kind: 'invalid', examples: [{ what: 'fatal error' }] });
  t.match(judgeLogs([]), { kind: 'unknown' });
  t.match(
    judgeLogs([{ nodeName: 'n1', lines: [] }]),
    { kind: 'unknown' },
    'it said nothing at all',
  );
});

t.test(
  'a node to which a fault left no memory may end for that, and for nothing else',
  async (t) => {
    const hit = { kind: 'fault', nemesis: 'memory', action: 'memory-leader', targets: ['n1'] };
    const fault = {
      ...hit,
      isHealing: false,
      outcome: 'installed',
      detail: '',
      timeMs: 1,
      doneMs: 2,
    };
    const judged = (nodeName: string, line: string) =>
      judgeRun({
        events: [fault as HistoryEvent],
        samples: { statuses: [], series: [] },
        logs: [{ nodeName, lines: ['ready', line] }],
        isCoverageJudged: false,
      });
    const refused = '# Check failed: 0 == munmap(address, size).';
    t.match(judged('n1', refused), { 'node-logs': { kind: 'valid' } });
    t.match(judged('n2', refused), { 'node-logs': { kind: 'invalid' } }, 'it had what it needed');
    const other = '# Check failed: IsJSObject().';
    t.match(judged('n1', other), { 'node-logs': { kind: 'invalid' } });
  },
);

const sample = (more: Partial<StatusSample>): StatusSample => ({
  ...{ nodeName: 'n1', timeMs: 0, life: 1, incarnation: 'a', role: 'follower', term: 4 },
  ...{ leader: 'n2', commitIndex: 10, appliedIndex: 10, digest: 'd10', digestIndex: 10, ...more },
});

t.test('what the nodes say of themselves fits together, or the run is invalid', async (t) => {
  const leader = sample({ nodeName: 'n2', role: 'leader', timeMs: 1 });
  const next = sample({
    timeMs: 2,
    commitIndex: 12,
    appliedIndex: 11,
    digest: 'd11',
    digestIndex: 11,
  });
  t.match(judgeInvariants([sample({}), leader, next]), { kind: 'valid' });
  const wrong = (what: string, samples: readonly StatusSample[]) =>
    t.match(judgeInvariants(samples), { kind: 'invalid', examples: [{ what }] }, what);
  const two = 'two leaders of one term';
  wrong(two, [leader, sample({ nodeName: 'n3', role: 'leader', leader: 'n3' })]);
  wrong(two, [sample({}), sample({ nodeName: 'n3', leader: 'n1' })]);
  wrong('a term went back', [
    leader,
    sample({ nodeName: 'n2', timeMs: 5, term: 3, life: 2, leader: null }),
  ]);
  wrong('a commit index went back', [leader, next, sample({ timeMs: 3, appliedIndex: 10 })]);
  wrong('two states at one index', [
    leader,
    sample({ timeMs: 3, nodeName: 'n3', digest: 'other' }),
  ]);
  const ahead = { commitIndex: 10, appliedIndex: 11, digest: 'd11', digestIndex: 11 };
  wrong('applied beyond the commit index', [leader, sample({ timeMs: 3, ...ahead })]);
});

t.test('a new life may begin behind, and a new incarnation knows nothing', async (t) => {
  const leader = sample({ nodeName: 'n2', role: 'leader' });
  const behind = { commitIndex: 3, appliedIndex: 3, digest: 'd3', digestIndex: 3 };
  const restarted = sample({ timeMs: 2, life: 2, ...behind });
  t.match(judgeInvariants([leader, sample({}), restarted]), { kind: 'valid' });
  const wiped = sample({ timeMs: 2, life: 2, incarnation: 'b', term: 1, leader: null, ...behind });
  t.match(judgeInvariants([leader, sample({}), wiped]), { kind: 'valid' });
  t.match(judgeInvariants([]), { kind: 'unknown' });
  t.match(judgeInvariants([sample({ leader: null })]), { kind: 'unknown' }, 'nobody ever led');
});

t.test('a short run is judged by all but by how much it covered', async (t) => {
  const evidence = {
    ...{ events: GOOD, samples: { statuses: [], series: [] } },
    logs: [{ nodeName: 'n1', lines: ['ready'] }],
  };
  const whole = judgeRun({ ...evidence, isCoverageJudged: true });
  t.match(whole, { coverage: { kind: 'valid' }, resources: { kind: 'unknown' } });
  t.match(whole, { availability: { kind: 'valid' }, 'node-logs': { kind: 'valid' } });
  t.match(whole, { invariants: { kind: 'unknown' } }, 'nobody was looked at');
  const short = judgeRun({ ...evidence, isCoverageJudged: false });
  t.same(Object.keys(short).sort(), ['availability', 'invariants', 'node-logs']);
  const growing = [{ ...seriesOf('rss', (i) => i * 10) }, { ...seriesOf('descriptors', () => 1) }];
  const leaking = { ...evidence, samples: { statuses: [], series: growing } };
  const judged = judgeRun({ ...leaking, isCoverageJudged: false });
  t.match(judged, { resources: { kind: 'invalid' } }, 'what is seen is judged');
});
