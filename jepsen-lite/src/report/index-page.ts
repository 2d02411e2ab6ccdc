/** `index.html` of a store: its runs, newest first, with a filter. Pure. */
import type { ListedRun, UnreadableRun } from '../store/run-reader.ts';
import { clip } from './describe-operation.ts';
import { escapeHtml, htmlPage } from './html.ts';
import { STYLES } from './styles.ts';
import { badge, type RunVerdict, verdictOf } from './timeline-page.ts';

/** Several nights; older runs are in their directories. */
const RUN_COUNT_MAX = 3_000;
const TEXT_LENGTH_MAX = 160;

/** `script` is `browserCode('run-list')`; `runs` come newest first and stay so. */
export function indexPage(runs: readonly (ListedRun | UnreadableRun)[], script: string): string {
  const shown = runs.slice(0, RUN_COUNT_MAX);
  const kinds: readonly RunVerdict[] = ['invalid', 'unknown', 'unfinished', 'valid'];
  const options = kinds.map((kind) => `<option value="${kind}">${kind}</option>`);
  const isCut = shown.length < runs.length;
  const body = [
    '<div class="top"><h1>Runs of the fault harness</h1></div>',
    `<p>${tally(shown)}${isCut ? `; the newest ${shown.length} of ${runs.length}` : ''}</p>`,
    '<div class="filters"><input id="filter-text" type="search" placeholder="workload, nemesis, ' +
      'seed, commit" aria-label="filter by words">',
    `<select id="filter-verdict" aria-label="filter by verdict"><option value="">all verdicts` +
      `</option>${options.join('')}</select><span id="shown-count"></span></div>`,
    `<table id="runs"><thead>${HEAD}</thead><tbody>`,
    ...shown.map((run) => (run.kind === 'run' ? runRow(run) : unreadableRow(run))),
    '</tbody></table>',
  ];
  return htmlPage({
    ...{ title: 'Runs of the fault harness', styles: STYLES, data: null, script },
    body: body.join('\n'),
  });
}

const HEAD =
  '<tr><th>started (UTC)</th><th>workload</th><th>nemeses</th><th class="number">seed</th>' +
  '<th>cluster</th><th>verdict</th><th class="number">ok</th><th class="number">fail</th>' +
  '<th class="number">info</th><th class="number">faults</th>' +
  '<th class="number">longest write gap</th><th class="number">duration</th><th>commit</th></tr>';

const text = (value: string): string => escapeHtml(clip(value, TEXT_LENGTH_MAX));

function runRow(run: ListedRun): string {
  const { facts, hasTimeline, name, summary, verdicts } = run;
  const kind = verdictOf(verdicts);
  const started = text(facts.startedAt.slice(0, 19).replace('T', ' '));
  const file = hasTimeline ? 'timeline.html' : '';
  const address = `./${encodeURIComponent(name)}/${file}`;
  const nemeses = facts.nemeses.map((nemesis) => nemesis.name).join(', ') || 'none';
  const failing = Object.entries(verdicts ?? {}).filter(([, verdict]) => verdict.kind === kind);
  const who = kind === 'valid' ? '' : failing.map(([checker]) => checker).join(', ');
  const faults =
    summary === null ? null : `${summary.installedFaultCount}${skipped(summary.skippedFaultCount)}`;
  const cells = [
    `<td><a href="${escapeHtml(address)}">${started}</a></td>`,
    `<td>${text(facts.workload)}</td><td>${text(nemeses)}</td>${number(facts.seed)}`,
    `<td>${text(facts.cluster)} × ${facts.nodeNames.length}</td>`,
    `<td>${badge(kind)} ${text(who)}</td>`,
    number(summary?.okCount ?? null),
    number(summary?.failCount ?? null),
    number(summary?.infoCount ?? null),
    number(faults),
    number(summary === null ? null : milliseconds(summary.longestWriteGapMs)),
    number(summary === null ? null : `${(summary.lastEventMs / 1_000).toFixed(0)} s`),
    `<td><code>${text(facts.commit)}</code></td>`,
  ];
  return `<tr data-verdict="${kind}">${cells.join('')}</tr>`;
}

const skipped = (count: number): string => (count === 0 ? '' : ` (${count} skipped)`);

const milliseconds = (gapMs: number | null): string =>
  gapMs === null ? '–' : `${Math.round(gapMs)} ms`;

const number = (value: number | string | null): string =>
  `<td class="number">${text(String(value ?? '–'))}</td>`;

function unreadableRow({ name, reason }: UnreadableRun): string {
  const address = `./${encodeURIComponent(name)}/`;
  return (
    `<tr data-verdict="unfinished"><td colspan="5"><a href="${escapeHtml(address)}">` +
    `${text(name)}</a></td><td colspan="8">${badge('unfinished')} ${text(reason)}</td></tr>`
  );
}

function tally(runs: readonly (ListedRun | UnreadableRun)[]): string {
  const counts = new Map<RunVerdict, number>();
  for (const run of runs) {
    const kind = run.kind === 'run' ? verdictOf(run.verdicts) : 'unfinished';
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const kinds: readonly RunVerdict[] = ['valid', 'invalid', 'unknown', 'unfinished'];
  return kinds.map((kind) => `${counts.get(kind) ?? 0} ${kind}`).join(', ');
}
