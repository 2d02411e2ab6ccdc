/** From a run to what its page holds. Pure. */
import type { Verdict } from '../checker/verdict.ts';
import type { HistoryEvent } from '../history.ts';
import type { Series } from '../store/series.ts';
import { type Anomaly, anomaliesOf } from './anomalies.ts';
import { chooseDrawn } from './choose-drawn.ts';
import { coloursOf } from './colours.ts';
import { clip, describeOperation } from './describe-operation.ts';
import { countsInBands, faultBandsOf, skippedFaultsOf } from './fault-bands.ts';
import type {
  OperationColumns,
  PageAnomaly,
  PageBand,
  PageChart,
  PageData,
} from './page/page-data.ts';
import { type DrawnOperation, pairOperations } from './pair-operations.ts';
import { timeBucketsOf } from './time-buckets.ts';

/** What a timeline is made of; of a run on disk, or of one in a simulator. */
export interface TimelineInput {
  readonly title: string;
  /** Label and text, in this order on top of the page. */
  readonly facts: readonly (readonly [label: string, text: string])[];
  readonly reproduceLine: string;
  readonly workerCount: number;
  readonly events: readonly HistoryEvent[];
  /** By name of the checker; null: the run did not end. */
  readonly verdicts: Readonly<Record<string, Verdict>> | null;
  /** `#rrggbb` by name of the nemesis; the others get one. */
  readonly colours?: ReadonlyMap<string, string>;
  readonly series?: readonly Series[];
  /** What a reader must know of the report itself: a torn history. */
  readonly notes?: readonly string[];
  /** Relative paths of files beside the page. */
  readonly fileNames?: readonly string[];
}

export interface TimelineData {
  readonly page: PageData;
  readonly anomalies: readonly Anomaly[];
  readonly operationCount: number;
  readonly leftOutCount: number;
}

const UNITS_PER_MS = 100;
const DETAIL_LENGTH_MAX = 200;
/** Nobody looks at more; the bands and skips beyond are counted in a note. */
export const BAND_COUNT_MAX = 5_000;
/** A chart is some thousand pixels wide. */
const CHART_POINT_COUNT_MAX = 4_000;
const CHART_LINE_COUNT_MAX = 64;

export function timelineDataOf(input: TimelineInput): TimelineData {
  const { events, verdicts, workerCount } = input;
  const operations = pairOperations(events);
  const anomalies = anomaliesOf(verdicts ?? {}, operations);
  const marked = new Set(anomalies.flatMap((anomaly) => anomaly.operations));
  const { drawn, leftOutCount } = chooseDrawn(operations, (one) => marked.has(one));
  const endMs = endOf(events);
  const { laneNames, laneOf } = lanesOf(drawn, workerCount);
  const texts = new TextTable();
  const bands = bandsOf(input, operations);
  const page: PageData = {
    endMs,
    laneNames,
    nemeses: [...new Set(bands.map(({ nemesis }) => nemesis))],
    operations: columnsOf(drawn, laneOf, texts),
    texts: texts.texts,
    bands,
    skips: skippedFaultsOf(events)
      .slice(0, BAND_COUNT_MAX)
      .map(({ action, detail, nemesis, timeMs }) => ({
        ...{ nemesis, action, timeMs },
        detail: clip(detail, DETAIL_LENGTH_MAX),
      })),
    buckets: timeBucketsOf(operations, endMs),
    anomalies: pageAnomaliesOf(anomalies, drawn),
    charts: chartsOf(input.series ?? []),
  };
  return { page, anomalies, operationCount: operations.length, leftOutCount };
}

/** The last thing that is known to have happened; at least a moment after the begin. */
function endOf(events: readonly HistoryEvent[]): number {
  let endMs = 1;
  for (const event of events) {
    endMs = Math.max(endMs, event.kind === 'fault' ? event.doneMs : event.timeMs);
  }
  return endMs;
}

/** A lane per worker, and one more for what the harness itself asked before or after the run. */
function lanesOf(
  drawn: readonly DrawnOperation[],
  workerCount: number,
): { laneNames: readonly string[]; laneOf: (processId: number) => number } {
  const hasHarness = drawn.some(({ processId }) => processId < 0);
  const names = Array.from({ length: workerCount }, (_unused, worker) => `client ${worker}`);
  return {
    laneNames: hasHarness ? [...names, 'harness'] : names,
    laneOf: (processId) => (processId < 0 ? workerCount : processId % workerCount),
  };
}

/** Each text once. Position 0 is the empty text. */
class TextTable {
  readonly texts: string[] = [''];
  readonly #ids = new Map<string, number>([['', 0]]);

  idOf(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    this.#ids.set(text, this.texts.length);
    this.texts.push(text);
    return this.texts.length - 1;
  }
}

function columnsOf(
  drawn: readonly DrawnOperation[],
  laneOf: (processId: number) => number,
  texts: TextTable,
): OperationColumns {
  const begins = drawn.map(({ beginMs }) => Math.round(beginMs * UNITS_PER_MS));
  return {
    processIds: drawn.map(({ processId }) => processId),
    lanes: drawn.map(({ processId }) => laneOf(processId)),
    beginSteps: begins.map((begin, position) => begin - (begins[position - 1] ?? 0)),
    lengths: drawn.map(({ beginMs, endMs }) =>
      endMs === null ? -1 : Math.max(0, Math.round((endMs - beginMs) * UNITS_PER_MS)),
    ),
    delays: drawn.map(({ beginMs, intendedMs }) =>
      Math.max(0, Math.round((beginMs - intendedMs) * UNITS_PER_MS)),
    ),
    outcomes: drawn.map(({ outcome }) => outcome[0]).join(''),
    textIds: drawn.map(({ operation }) => texts.idOf(describeOperation(operation))),
    errorIds: drawn.map(({ errorCode }) => texts.idOf(errorCode ?? '')),
  };
}

function bandsOf(input: TimelineInput, operations: readonly DrawnOperation[]): readonly PageBand[] {
  const bands = faultBandsOf(input.events).slice(0, BAND_COUNT_MAX);
  const counts = countsInBands(bands, operations);
  const names = [...new Set(bands.map(({ harm }) => harm.nemesis))];
  const colours = coloursOf(names, input.colours ?? new Map());
  return bands.map(({ fromMs, harm, toMs }, position) => ({
    nemesis: harm.nemesis,
    colour: colours.get(harm.nemesis) ?? '#777777',
    action: harm.action,
    isIndeterminate: harm.outcome === 'indeterminate',
    targets: clip(harm.targets.join(', '), DETAIL_LENGTH_MAX),
    detail: clip(harm.detail, DETAIL_LENGTH_MAX),
    fromMs,
    toMs,
    counts: counts[position] ?? { ok: 0, fail: 0, info: 0 },
  }));
}

function pageAnomaliesOf(
  anomalies: readonly Anomaly[],
  drawn: readonly DrawnOperation[],
): readonly PageAnomaly[] {
  const positions = new Map(drawn.map((one, position) => [one, position]));
  return anomalies.map(({ atMs, checker, fromMs, operations, reason, text, toMs }) => ({
    checker,
    text: text === '' ? reason : text,
    fromMs,
    toMs,
    atMs,
    operations: operations.flatMap((one) => positions.get(one) ?? []),
  }));
}

function chartsOf(series: readonly Series[]): readonly PageChart[] {
  const names = [...new Set(series.map(({ name }) => name))];
  return names.map((name) => {
    const lines = series.filter((one) => one.name === name).slice(0, CHART_LINE_COUNT_MAX);
    return {
      name,
      unit: lines[0]?.unit ?? '',
      lines: lines.map(({ owner, points }) => ({
        owner,
        points: peaksOf(points),
      })),
    };
  });
}

/** The highest of every few neighbours: what a reader looks for is how bad it got. */
function peaksOf(points: Series['points']): Series['points'] {
  const step = Math.ceil(points.length / CHART_POINT_COUNT_MAX);
  if (step <= 1) return points;
  const groups = Array.from({ length: Math.ceil(points.length / step) }, (_unused, i) =>
    points.slice(i * step, (i + 1) * step),
  );
  return groups.flatMap((group) => {
    const [first, ...rest] = group;
    return first === undefined ? [] : [rest.reduce((a, b) => (b[1] > a[1] ? b : a), first)];
  });
}
