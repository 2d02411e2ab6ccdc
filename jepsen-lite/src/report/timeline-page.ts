/**
 * `timeline.html`: verdict, what was run and how to run it again on top; then anomalies, charts and
 * lanes on one axis of time. One file that needs nothing else, at most 10 MB. Pure.
 */
import { assert } from '@holdfast/base';
import { type Verdict, worstOf } from '../checker/verdict.ts';
import type { Anomaly } from './anomalies.ts';
import { clip, describeOperation } from './describe-operation.ts';
import { escapeHtml, htmlPage } from './html.ts';
import type { PageBand, PageData } from './page/page-data.ts';
import type { DrawnOperation } from './pair-operations.ts';
import { STYLES } from './styles.ts';
import { type TimelineData, type TimelineInput, timelineDataOf } from './timeline-data.ts';
import { wordsOf } from './words-of-verdict.ts';

/** What a mail, a ticket and a browser take. */
export const PAGE_SIZE_BYTES_MAX = 10_000_000;
/** Witnesses are few; the operations of each are for the eye. */
const ANOMALY_ROW_COUNT_MAX = 20;
/** The others are behind a fold: the panels must be near. */
const ANOMALY_SHOWN_COUNT = 3;
const FAULT_ROW_COUNT_MAX = 1_000;
const FILE_COUNT_MAX = 100;
const TEXT_LENGTH_MAX = 1_000;

/** `script` is `browserCode('timeline')`. */
export function timelinePage(input: TimelineInput, script: string): string {
  const data = timelineDataOf(input);
  const html = htmlPage({
    title: `${kindOf(input)}: ${input.title}`,
    styles: STYLES,
    body: bodyOf(input, data),
    data: data.page,
    script,
  });
  const sizeBytes = Buffer.byteLength(html);
  assert(sizeBytes <= PAGE_SIZE_BYTES_MAX, 'a timeline page is too large', { sizeBytes });
  return html;
}

export type RunVerdict = Verdict['kind'] | 'unfinished';

const kindOf = ({ verdicts }: TimelineInput): RunVerdict => verdictOf(verdicts);

/** Of all checkers of a run together; a run without verdicts has not ended. */
export function verdictOf(verdicts: Readonly<Record<string, Verdict>> | null): RunVerdict {
  return verdicts === null ? 'unfinished' : worstOf(Object.values(verdicts)).kind;
}

/** With a sign each, so that colour is not the only one. */
const SIGNS = { valid: '✓', invalid: '✗', unknown: '?', unfinished: '…' } as const;

export const badge = (kind: RunVerdict): string =>
  `<span class="badge ${kind}">${SIGNS[kind]} ${kind}</span>`;

const text = (value: string): string => escapeHtml(clip(value, TEXT_LENGTH_MAX));

function bodyOf(input: TimelineInput, data: TimelineData): string {
  const { page } = data;
  return [
    `<div class="top">${badge(kindOf(input))}<h1>${text(input.title)}</h1></div>`,
    `<div class="columns"><section>${factsHtml(input)}</section>`,
    `<section>${verdictsHtml(input.verdicts)}</section></div>`,
    notesHtml(input, data),
    anomaliesHtml(data.anomalies),
    barHtml(page),
    panelsHtml(page),
    faultsHtml(page.bands),
    filesHtml(input.fileNames ?? []),
  ].join('\n');
}

function factsHtml({ facts, reproduceLine }: TimelineInput): string {
  const rows = facts.map(([label, value]) => `<dt>${text(label)}</dt><dd>${text(value)}</dd>`);
  const again = `<dt>again</dt><dd><code>${text(reproduceLine)}</code></dd>`;
  return `<dl>${rows.join('')}${again}</dl>`;
}

function verdictsHtml(verdicts: TimelineInput['verdicts']): string {
  if (verdicts === null) {
    return '<p>The run did not end: nothing was judged. What was written before is below.</p>';
  }
  const rows = Object.entries(verdicts).map(
    ([checker, verdict]) =>
      `<tr><td>${text(checker)}</td><td>${badge(verdict.kind)}</td>` +
      `<td>${text(wordsOf(verdict))}</td></tr>`,
  );
  const head = '<tr><th>checker</th><th>verdict</th><th>why</th></tr>';
  return `<table id="verdicts">${head}${rows.join('')}</table>`;
}

function notesHtml(input: TimelineInput, { leftOutCount, operationCount }: TimelineData): string {
  const notes = [...(input.notes ?? [])];
  if (leftOutCount > 0) {
    const drawnCount = operationCount - leftOutCount;
    notes.push(
      `${drawnCount} of ${operationCount} operations are drawn one by one, spread evenly; ` +
        'the rate, the lines of latency and the counts are of all of them',
    );
  }
  if (notes.length === 0) return '';
  return `<ul class="notes">${notes.map((note) => `<li>${text(note)}</li>`).join('')}</ul>`;
}

function anomaliesHtml(anomalies: readonly Anomaly[]): string {
  if (anomalies.length === 0) return '';
  const items = anomalies.map((anomaly, i) => {
    const { atMs, checker, fromMs, operations, reason, text: witness } = anomaly;
    const button = `<button type="button" data-anomaly="${i}">show at ${secondsOf(atMs)}</button>`;
    const where = fromMs === null ? '(it has no place in time)' : button;
    const isNew = anomalies[i - 1]?.reason !== reason || anomalies[i - 1]?.checker !== checker;
    const why = isNew ? `<span class="reason">${text(checker)}: ${text(reason)}</span><br>` : '';
    return `<li>${why}${text(witness)} ${where}${operationsHtml(operations)}</li>`;
  });
  const head = anomalies.length === 1 ? 'An anomaly' : `${anomalies.length} anomalies`;
  const shown = items.slice(0, ANOMALY_SHOWN_COUNT);
  const rest = items.slice(ANOMALY_SHOWN_COUNT);
  const more =
    rest.length === 0
      ? ''
      : `<details><summary>and ${rest.length} more</summary>` +
        `<ol start="${shown.length + 1}">${rest.join('')}</ol></details>`;
  const list = `<ol>${shown.join('')}</ol>${more}`;
  return `<div class="anomalies" id="anomalies"><h2>${head}</h2>${list}</div>`;
}

const secondsOf = (timeMs: number | null): string => `${((timeMs ?? 0) / 1_000).toFixed(3)} s`;

function operationsHtml(operations: readonly DrawnOperation[]): string {
  if (operations.length === 0) return '';
  const rows = operations.slice(0, ANOMALY_ROW_COUNT_MAX).map((one) => {
    const { beginMs, endMs, errorCode, operation, outcome, processId } = one;
    const end = endMs === null ? 'never told' : secondsOf(endMs);
    const how = errorCode === null ? outcome : `${outcome} (${errorCode})`;
    const cells = [`process ${processId}`, describeOperation(operation), how];
    const times = `<td class="number">${secondsOf(beginMs)}</td><td class="number">${end}</td>`;
    return `<tr>${cells.map((cell) => `<td>${text(cell)}</td>`).join('')}${times}</tr>`;
  });
  const leftCount = operations.length - rows.length;
  const more = leftCount > 0 ? `<tr><td colspan="5">and ${leftCount} more</td></tr>` : '';
  const names = ['client', 'operation', 'ended', 'called', 'answered'];
  const titles = names.map((name, i) => `<th${i < 3 ? '' : ' class="number"'}>${name}</th>`);
  return `<table><tr>${titles.join('')}</tr>${rows.join('')}${more}</table>`;
}

function barHtml({ bands, nemeses }: PageData): string {
  const shapes = [
    ['ok', '<rect y="3" width="16" height="7" fill="var(--ok)"/>'],
    ['fail: had no effect', '<rect y="7" width="16" height="5" fill="var(--fail)"/>'],
    ['info: nobody knows', '<path d="M0 1h11l5 5.5l-5 5.5h-11z" fill="var(--info)"/>'],
  ] as const;
  const outcomes = shapes.map(
    ([label, shape]) =>
      `<span><svg width="16" height="13" aria-hidden="true">${shape}</svg>${label}</span>`,
  );
  const faults = nemeses.map((name) => {
    const colour = bands.find(({ nemesis }) => nemesis === name)?.colour ?? '#777777';
    return `<span><span class="swatch" style="background:${colour}"></span>${text(name)}</span>`;
  });
  const buttons = [
    ['zoom-in', '+', 'show less (key +)'],
    ['zoom-out', '−', 'show more (key -)'],
    ['zoom-all', 'whole run', 'show everything (key 0)'],
    ['earlier', '←', 'earlier (arrow key)'],
    ['later', '→', 'later (arrow key)'],
  ].map(
    ([id, label, title]) => `<button type="button" id="${id}" title="${title}">${label}</button>`,
  );
  return (
    `<div class="bar"><div class="buttons">${buttons.join('')}</div><span id="range"></span>` +
    `<div class="legend">${outcomes.join('')}${faults.join('')}</div></div>`
  );
}

function panelsHtml({ charts }: PageData): string {
  const panel = (id: string, title: string): string =>
    `<h3>${title}</h3><canvas id="${id}" role="img" aria-label="${title}"></canvas>`;
  return [
    '<noscript><p>The pictures need JavaScript; the tables do not.</p></noscript>',
    '<div id="panels">',
    '<canvas id="overview" role="img" aria-label="the whole run"></canvas>',
    panel('faults', 'faults: drag to move, ctrl and wheel to zoom, point at anything for details'),
    panel('rate', 'operations ended per second'),
    panel(
      'latency',
      'latency since due: points are operations, lines are p50 (thick), p99 and max of ok',
    ),
    ...charts.map(({ name, unit }, i) =>
      panel(`chart-${i}`, `${text(name)} (${text(unit)}), a line per node`),
    ),
    panel('lanes', 'clients: every bar is an operation'),
    '</div>',
  ].join('\n');
}

function faultsHtml(bands: readonly PageBand[]): string {
  if (bands.length === 0) return '';
  const rows = bands.slice(0, FAULT_ROW_COUNT_MAX).map((band) => {
    const { action, counts, detail, fromMs, isIndeterminate, nemesis, targets, toMs } = band;
    const whom = targets === '' ? detail : targets;
    const until = toMs === null ? 'never healed' : secondsOf(toMs);
    const doubt = isIndeterminate ? ' (indeterminate)' : '';
    const texts = [nemesis, `${action}${doubt}`, whom].map((cell) => `<td>${text(cell)}</td>`);
    const numbers = [secondsOf(fromMs), until, counts.ok, counts.fail, counts.info];
    const cells = numbers.map((cell) => `<td class="number">${cell}</td>`);
    return `<tr>${texts.join('')}${cells.join('')}</tr>`;
  });
  const names = ['from', 'until', 'ok', 'fail', 'info'].map(
    (one) => `<th class="number">${one}</th>`,
  );
  const head = `<tr><th>nemesis</th><th>fault</th><th>hit</th>${names.join('')}</tr>`;
  const isCut = bands.length > rows.length;
  const title = isCut ? `the first ${rows.length} of ${bands.length}` : `all ${bands.length}`;
  return (
    `<details><summary>Faults in a table (${title})</summary>` +
    `<table id="fault-table">${head}${rows.join('')}</table></details>`
  );
}

function filesHtml(fileNames: readonly string[]): string {
  if (fileNames.length === 0) return '';
  const links = fileNames.slice(0, FILE_COUNT_MAX).map((name) => {
    const address = name.split('/').map(encodeURIComponent).join('/');
    return `<a href="./${escapeHtml(address)}">${text(name)}</a>`;
  });
  links.push('<a href="../index.html">all runs</a>');
  return `<h2>Files of this run</h2><p>${links.join(' · ')}</p>`;
}
