import { formatCount, formatDuration, formatNumber } from '../core/format.js';
import { mean, probabilityOfImprovement } from '../core/statistics.js';
import { capitalized } from '../run/job-terms.js';
import {
  curveCsv,
  type GroupOutcome,
  groupOutcome,
  groupRuns,
  type SeedPoint,
  seedCurves,
} from './curves.js';
import { drawSvg } from './draw.js';
import { episodePanels, type ShownEpisode } from './episode-panels.js';
import { type Column, escapeHtml, htmlPage, htmlTable } from './html.js';
import { metricCharts } from './metric-charts.js';
import { outcomeOf, type RunData, type RunOutcome, termsOf } from './run-data.js';
import { learningCurve, type MetricChart, metricChart } from './specs.js';
import { color, seriesColor, themeCss } from './theme.js';

export interface ReportOptions {
  /** The page's heading; default: the environment's name. */
  readonly title?: string;
  /** The command that made the runs, printed under the figure. */
  readonly command: string;
}

/** The sizes of drawings, which fill the page's cards inside their padding. */
const pageCurve = { width: 970, height: 440 };
const smallChart = { width: 294, height: 206 };

function unique(values: readonly string[]): string {
  return [...new Set(values)].join(', ');
}

function plusMinus(center: number, spread: number): string {
  if (!Number.isFinite(center)) return '–';
  return `${formatNumber(center)} <span class="muted">± ${formatNumber(spread)}</span>`;
}

function state({ status }: RunData): string {
  return `<span class="state ${status}">${status}</span>`;
}

function swatch(label: string, labels: readonly string[]): string {
  return `<span class="swatch" style="background:${seriesColor(labels.indexOf(label))}"></span>`;
}

/** The best evaluation, if the run has ended and kept it. */
function bestFact(run: RunData): [string, string][] {
  const best = run.summary?.best;
  if (best === undefined) return [];
  const terms = termsOf([run]);
  const score = `${formatNumber(best.meanScore)} <small>± ${formatNumber(best.stdScore)}</small>`;
  return [[`Best ${terms.scoreName}, at ${formatCount(best.steps)} ${terms.steps}`, score]];
}

/** The numbers at the top of a single run's report. */
function runFacts(run: RunData): string {
  const outcome = outcomeOf(run);
  const { steps, updates, wallSeconds, scoreCount, meanScore, stdScore } = outcome;
  const terms = termsOf([run]);
  const episodeCount = `${scoreCount} ${scoreCount === 1 ? terms.episode : terms.episodes}`;
  const facts: [string, string][] = [
    [
      scoreCount > 0 ? `Final ${terms.scoreName}, ${episodeCount}` : `Final ${terms.scoreName}`,
      run.status === 'diverged'
        ? state(run)
        : Number.isFinite(meanScore)
          ? `${formatNumber(meanScore)} <small>± ${formatNumber(stdScore)}</small>`
          : '–',
    ],
    ...bestFact(run),
    ['Operator', escapeHtml(run.operator)],
    ['Feedback', escapeHtml(run.feedback)],
    ['Seed', String(run.seed)],
    [terms.stepsTitle, formatCount(steps)],
    ['Updates', formatCount(updates)],
    ['Wall time', formatDuration(wallSeconds)],
    [`${capitalized(terms.steps)} per second`, wallSeconds > 0 ? formatCount(steps / wallSeconds) : '–'],
  ];
  return `<dl class="facts">${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join('')}</dl>`;
}

/** A final score; −∞ means a run that diverged. */
function final(value: number): string {
  return value === Number.NEGATIVE_INFINITY
    ? '<span class="state diverged">diverged</span>'
    : formatNumber(value);
}

function groupTable(runs: readonly RunData[]): string {
  const groups = groupRuns(runs);
  const terms = termsOf(runs);
  const labels = groups.map(({ label }) => label);
  const interval = (low: number, high: number) =>
    low === high ? final(low) : `${final(low)} – ${final(high)}`;
  const outcomes = groups.map(groupOutcome);
  const [first] = outcomes;
  const better = ({ label, scores }: GroupOutcome) => {
    if (first === undefined || label === first.label || scores.length === 0) return '–';
    return `${Math.round(100 * probabilityOfImprovement([scores], [first.scores]))} %`;
  };
  const columns: Column<GroupOutcome>[] = [
    { head: 'Operator', text: true, cell: ({ label }) => swatch(label, labels) + escapeHtml(label) },
    { head: `Final ${terms.scoreName}, median`, cell: (row) => `<b>${final(row.median)}</b>` },
    { head: 'Middle half', cell: ({ low, high }) => interval(low, high) },
    { head: 'Range', cell: ({ minimum, maximum }) => interval(minimum, maximum) },
    { head: 'Mean', cell: (row) => final(row.mean) },
    { head: 'Interquartile mean', cell: (row) => final(row.interquartileMean) },
    {
      head: 'Its 95 % interval',
      cell: ({ interval: { low, high, kind } }) => (kind === 'range' ? 'too few seeds' : interval(low, high)),
    },
    ...(outcomes.length > 1
      ? [{ head: `Probability of improvement over ${first!.label}`, cell: better }]
      : []),
    { head: 'Seeds', cell: ({ seeds }) => String(seeds) },
    {
      head: 'Diverged',
      cell: ({ diverged }) => (diverged > 0 ? `<span class="state diverged">${diverged}</span>` : '0'),
    },
    { head: capitalized(terms.steps), cell: ({ steps }) => formatCount(steps) },
    { head: 'Wall time', cell: ({ wallSeconds }) => formatDuration(wallSeconds) },
  ];
  const note = runs.some(({ status }) => status === 'diverged')
    ? '<p class="note">A seed that diverged counts as worse than any other. No seed is left out.</p>'
    : '';
  return htmlTable(columns, outcomes) + note;
}

function runTable(runs: readonly RunData[]): string {
  const terms = termsOf(runs);
  type Row = { readonly run: RunData; readonly outcome: RunOutcome };
  const columns: Column<Row>[] = [
    { head: 'Run', text: true, cell: ({ run }) => escapeHtml(run.name) },
    { head: 'Operator', text: true, cell: ({ run }) => escapeHtml(run.label) },
    { head: 'Seed', cell: ({ run }) => String(run.seed) },
    {
      head: `Final ${terms.scoreName}`,
      cell: ({ outcome }) => plusMinus(outcome.meanScore, outcome.stdScore),
    },
    { head: capitalized(terms.steps), cell: ({ outcome }) => formatCount(outcome.steps) },
    { head: 'Updates', cell: ({ outcome }) => formatCount(outcome.updates) },
    { head: 'Wall time', cell: ({ outcome }) => formatDuration(outcome.wallSeconds) },
    { head: 'State', text: true, cell: ({ run }) => state(run) },
  ];
  return htmlTable(
    columns,
    groupRuns(runs).flatMap((group) => group.runs.map((run) => ({ run, outcome: outcomeOf(run) }))),
  );
}

function evaluationTable(runs: readonly RunData[]): string {
  const terms = termsOf(runs);
  const columns: Column<SeedPoint>[] = [
    ...(runs.length > 1 ? [{ head: 'Run', text: true, cell: (row: SeedPoint) => escapeHtml(row.run) }] : []),
    { head: capitalized(terms.steps), cell: (row) => formatCount(row.steps) },
    { head: `Mean ${terms.scoreName}`, cell: (row) => formatNumber(row.meanScore) },
    { head: 'Standard deviation', cell: (row) => formatNumber(row.stdScore) },
    { head: 'Minimum', cell: (row) => formatNumber(row.minimum) },
    { head: 'Maximum', cell: (row) => formatNumber(row.maximum) },
    { head: capitalized(terms.episodes), cell: (row) => String(row.scoreCount) },
  ];
  return htmlTable(columns, seedCurves(runs));
}

function curveCaption(runs: readonly RunData[]): string {
  const terms = termsOf(runs);
  const severalSeeds = groupRuns(runs).some((group) => group.runs.length > 1);
  const drawn = severalSeeds
    ? `Thick lines: median over seeds of the mean ${terms.scoreName} over evaluation ${terms.episodes}. Bands: middle half of the seeds. Thin lines: single seeds.`
    : `Line: mean ${terms.scoreName} over evaluation ${terms.episodes}. Band: middle half of the ${terms.episodes}${runs.length === 1 ? '; lighter band: all of them' : ''}.`;
  const cross = runs.some(({ status }) => status === 'diverged')
    ? ` A cross marks the point at which a run diverged${severalSeeds ? '; a median ends with the first of its seeds to end' : ''}.`
    : '';
  return `${drawn} ${terms.evaluated}${cross}`;
}

function trendCaption(runs: readonly RunData[]): string {
  const severalSeeds = groupRuns(runs).some((group) => group.runs.length > 1);
  const trend = `moving mean over a twentieth of the run${severalSeeds ? ', median over seeds' : ''}`;
  const legend = runs.length > 1 ? `<br>${labelLegend(runs)}` : '';
  return `x axes: ${termsOf(runs).stepsTitle.toLowerCase()}. Faint lines: recorded values. Bold lines: ${trend}.${legend}`;
}

/** The colors of the labels, as a legend for the small charts. */
function labelLegend(runs: readonly RunData[]): string {
  const labels = groupRuns(runs).map(({ label }) => label);
  return labels
    .map((label) => `<span class="key">${swatch(label, labels)}${escapeHtml(label)}</span>`)
    .join('');
}

async function chartGrid(charts: readonly MetricChart[]): Promise<string> {
  const drawn = await Promise.all(charts.map((chart) => drawSvg(metricChart(chart, smallChart))));
  return `<div class="grid">${drawn.map((svg) => `<figure class="card">${svg}</figure>`).join('\n')}</div>`;
}

function folded(title: string, inside: string, open = false): string {
  return `<details${open ? ' open' : ''}><summary>${escapeHtml(title)}</summary>${inside}</details>`;
}

function configurations(runs: readonly RunData[]): string {
  const single = runs.length === 1;
  return runs
    .map(({ name, config }) =>
      folded(
        single ? 'config.yaml, with all defaults' : `${name}/config.yaml`,
        `<pre tabindex="0">${escapeHtml(config)}</pre>`,
      ),
    )
    .join('\n');
}

function notices(runs: readonly RunData[]): string {
  const items = runs.flatMap((run) =>
    run.notices.map(
      ({ time, message }) =>
        `<li><span class="muted">${escapeHtml(time.replace('T', ' ').replace(/\.\d+Z$/, ' UTC'))}${runs.length > 1 ? `, ${escapeHtml(run.name)}` : ''}</span> ${escapeHtml(message)}</li>`,
    ),
  );
  return items.length === 0 ? '' : `<h2>Notices</h2><ul class="notices">${items.join('')}</ul>`;
}

const evaluationNames = { first: 'First', best: 'Best', last: 'Last' } as const;

/** The episodes of a run: of its first, its best and its last policy. */
async function episodesOf(runs: readonly RunData[]): Promise<string> {
  const [run] = runs;
  if (runs.length !== 1 || run?.episodes === undefined || run.episodes.length === 0) return '';
  const terms = termsOf(runs);
  const shown = run.episodes.map(({ names, steps, episode }): ShownEpisode => {
    const title = names.map((name, i) => (i === 0 ? evaluationNames[name] : name)).join(' and ');
    const { scores = [] } = run.evaluations.find((evaluation) => evaluation.steps === steps) ?? {};
    const about = `After ${formatCount(steps)} ${terms.steps}. Mean ${terms.scoreName} of this evaluation: ${formatNumber(mean(scores))}`;
    return { title: `${title} evaluation`, about, episode };
  });
  const note =
    'The first episode of each evaluation, which all begin alike. The policy takes the mode of its distribution.';
  return `<h2>The policy at work</h2><p class="note">${note}</p>${await episodePanels(shown)}`;
}

function heading(runs: readonly RunData[], title: string | undefined): string {
  const environments = unique(runs.map(({ environment }) => environment));
  const groups = groupRuns(runs);
  const [first] = runs;
  const eyebrow =
    runs.length === 1
      ? `Run ${escapeHtml(first!.name)} · ${state(first!)}`
      : `Comparison of ${groups.length} ${groups.length === 1 ? 'operator' : 'operators'}, ${runs.length} runs`;
  const lead =
    title === undefined || title === environments ? '' : `<p class="lead">${escapeHtml(environments)}</p>`;
  return `<header><p class="eyebrow">${eyebrow}</p><h1>${escapeHtml(title ?? environments)}</h1>${lead}</header>`;
}

/**
 * Renders a report of one or more runs as one self-contained HTML file, which follows the light or dark mode of the
 * reader. Runs with the same label count as seeds of one operator.
 * @throws RangeError if there are no runs.
 */
export async function renderReport(
  runs: readonly RunData[],
  { title, command }: ReportOptions,
): Promise<string> {
  if (runs.length === 0) throw new RangeError('a report needs at least one run');
  const { main, more } = metricCharts(runs);
  const csv = `data:text/csv;charset=utf-8,${encodeURIComponent(curveCsv(runs))}`;
  const made = `<pre class="command" tabindex="0">${escapeHtml(command)}</pre>`;
  const evaluated = runs.some(({ evaluations }) => evaluations.length > 0);
  const curve = evaluated
    ? `<figure class="card"><div class="wide" tabindex="0" role="group" aria-label="Learning curve">${await drawSvg(learningCurve(runs, pageCurve))}</div><figcaption>${curveCaption(runs)}</figcaption>${made}</figure>`
    : `<div class="card"><p class="muted">No evaluation has been recorded yet.</p>${made}</div>`;
  const sections = [
    heading(runs, title),
    runs.length === 1 ? runFacts(runs[0]!) : groupTable(runs),
    await episodesOf(runs),
    '<h2>Learning curve</h2>',
    curve,
    ...(main.length > 0
      ? ['<h2>Training</h2>', `<p class="note">${trendCaption(runs)}</p>`, await chartGrid(main)]
      : []),
    ...(more.length > 0
      ? [folded(`${more.length} more ${more.length === 1 ? 'metric' : 'metrics'}`, await chartGrid(more))]
      : []),
    notices(runs),
    '<h2>Data</h2>',
    ...(runs.length > 1 ? [folded('Every run', runTable(runs), true)] : []),
    folded('Every evaluation', evaluationTable(runs)),
    configurations(runs),
    `<footer><a download="learning-curve.csv" href="${csv}">Learning curve as CSV</a> · all records are in <code>metrics.jsonl</code>, in the folder of this file</footer>`,
  ];
  const environments = unique(runs.map(({ environment }) => environment));
  return htmlPage(`${title ?? environments} · pmpo`, sections.filter((text) => text !== '').join('\n'));
}

/** Renders only the learning curves, as an SVG file that follows the light or dark mode of the reader. */
export async function renderCurveSvg(
  runs: readonly RunData[],
  size = { width: 760, height: 340 },
): Promise<string> {
  const svg = await drawSvg({ ...learningCurve(runs, size), padding: 14 });
  const style = `<style>${themeCss('svg')}text{font-variant-numeric:tabular-nums}</style>`;
  return svg.replace(
    /<svg[^>]*>/,
    (head) =>
      `${head}<title>Learning curves: ${unique(runs.map(({ label }) => label))}</title>${style}<rect width="100%" height="100%" fill="${color('ground')}"/>`,
  );
}
