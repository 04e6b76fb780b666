import { formatCount, formatDuration, formatNumber } from '../core/format.js';
import { probabilityOfImprovement } from '../core/statistics.js';
import { capitalized } from '../run/job-terms.js';
import { completionSection } from './completion-section.js';
import {
  curveCsv,
  enoughSeeds,
  type GroupOutcome,
  groupOutcome,
  groupRuns,
  type SeedPoint,
  seedCurves,
} from './curves.js';
import { drawSvg } from './draw.js';
import { episodeSection } from './episode-section.js';
import {
  type Column,
  cardGrid,
  escapeHtml,
  folded,
  htmlCommand,
  htmlPage,
  htmlPre,
  htmlTable,
} from './html.js';
import { metricCharts } from './metric-charts.js';
import { outcomeOf, type RunData, type RunOutcome, termsOf } from './run-data.js';
import { askedRows, differenceTable, jobTitle, largestReturn, madeRows, termList } from './settings.js';
import { learningCurve, type MetricChart, metricChart, smallChart } from './specs.js';
import { color, seriesColor, themeCss } from './theme.js';

export interface ReportOptions {
  /** The page's heading; default: the environment's name. */
  readonly title?: string;
  /** The command that made the runs, printed under the figure. */
  readonly command: string;
  /** Whether the page has a script of its own, which plays the episodes. */
  readonly isLive?: boolean;
}

/** The sizes of drawings, which fill the page's cards inside their padding. */
const pageCurve = { width: 970, height: 440 };
/** For a phone, so that text keeps its size. */
const narrowCurve = { width: 340, height: 300 };

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

/** A score, out of the largest possible one if that is known, and what its spread is over. */
function scoreFact(run: RunData, meanScore: number, stdScore: number, count: number): string {
  const terms = termsOf([run]);
  const most = run.kind === 'language' ? undefined : largestReturn(run.settings);
  const of = most === undefined ? '' : `<span class="muted of"> of ${formatCount(most)}</span>`;
  const over = `${formatCount(count)} ${count === 1 ? terms.episode : terms.episodes}`;
  const spread =
    count > 1 ? `± ${formatNumber(stdScore)}, the standard deviation over ${over}` : `of ${over}`;
  return `${formatNumber(meanScore)}${of} <small>${spread}</small>`;
}

/** The best evaluation, if the run has ended and kept it. */
function bestFact(run: RunData): [string, string][] {
  const best = run.summary?.best;
  if (best === undefined) return [];
  const terms = termsOf([run]);
  const score = scoreFact(run, best.meanScore, best.stdScore, best.scoreCount);
  return [[`Best ${terms.scoreName}, at ${formatCount(best.steps)} ${terms.steps}`, score]];
}

/** The numbers at the top of a single run's report. */
function runFacts(run: RunData): string {
  const outcome = outcomeOf(run);
  const { steps, updates, wallSeconds, scoreCount, meanScore, stdScore } = outcome;
  const terms = termsOf([run]);
  const title = run.status === 'unfinished' ? `Last ${terms.scoreName}` : `Final ${terms.scoreName}`;
  const perSecond = steps / wallSeconds;
  const speed =
    wallSeconds > 0
      ? `${perSecond < 100 ? formatNumber(perSecond) : formatCount(perSecond)} ${terms.steps} per second`
      : '';
  const facts: [string, string][] = [
    [
      title,
      run.status === 'diverged'
        ? state(run)
        : Number.isFinite(meanScore)
          ? scoreFact(run, meanScore, stdScore, scoreCount)
          : '–',
    ],
    ...bestFact(run),
    [terms.stepsTitle, `${formatCount(steps)} <small>${formatCount(updates)} updates</small>`],
    ['Wall time', `${formatDuration(wallSeconds)} <small>${speed}</small>`],
  ];
  return `<dl class="facts">${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join('')}</dl>`;
}

/** What was asked, and where it was made. */
const asked = (run: RunData) => termList([...askedRows(run), ...madeRows(run.starts ?? [])]);

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
  const isFew = outcomes.some(({ seeds }) => seeds < enoughSeeds);
  const [first] = outcomes;
  const better = ({ label, scores }: GroupOutcome) => {
    if (first === undefined || label === first.label || scores.length === 0) return '–';
    return `${Math.round(100 * probabilityOfImprovement([scores], [first.scores]))} %`;
  };
  const columns: Column<GroupOutcome>[] = [
    {
      head: capitalized(groupWord(runs)),
      text: true,
      cell: ({ label }) => swatch(label, labels) + escapeHtml(label),
    },
    { head: `Final ${terms.scoreName}, median`, cell: (row) => `<b>${final(row.median)}</b>` },
    ...(isFew
      ? [{ head: 'Each seed', cell: ({ scores }: GroupOutcome) => scores.map(final).join(', ') || '–' }]
      : [
          { head: 'Middle half', cell: ({ low, high }: GroupOutcome) => interval(low, high) },
          { head: 'Range', cell: ({ minimum, maximum }: GroupOutcome) => interval(minimum, maximum) },
          { head: 'Mean', cell: (row: GroupOutcome) => final(row.mean) },
          { head: 'Interquartile mean', cell: (row: GroupOutcome) => final(row.interquartileMean) },
          {
            head: 'Its 95 % bootstrap interval',
            cell: ({ interval: { low, high, kind } }: GroupOutcome) =>
              kind === 'range' ? 'too few seeds' : interval(low, high),
          },
        ]),
    ...(outcomes.length > 1 && !isFew ? [{ head: `P(better than ${first!.label})`, cell: better }] : []),
    ...(isFew ? [] : [{ head: 'Seeds', cell: ({ seeds }: GroupOutcome) => String(seeds) }]),
    {
      head: 'Diverged',
      cell: ({ diverged }) => (diverged > 0 ? `<span class="state diverged">${diverged}</span>` : '0'),
    },
    { head: capitalized(terms.steps), cell: ({ steps }) => formatCount(steps) },
    { head: 'Wall time', cell: ({ wallSeconds }) => formatDuration(wallSeconds) },
  ];
  const notes = [
    ...(isFew && runs.length > 1
      ? [`Fewer than ${enoughSeeds} seeds are too few for an interval: each one is shown.`]
      : []),
    ...(runs.some(({ status }) => status === 'diverged')
      ? ['A seed that diverged counts as worse than any other. No seed is left out.']
      : []),
  ];
  return (
    htmlTable(columns, outcomes, { caption: 'Outcomes' }) +
    (notes.length === 0 ? '' : `<p class="note">${notes.join(' ')}</p>`)
  );
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
    { caption: 'Runs' },
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
  return htmlTable(columns, seedCurves(runs), { caption: 'Evaluations' });
}

function curveCaption(runs: readonly RunData[]): string {
  const terms = termsOf(runs);
  const groups = groupRuns(runs);
  const severalSeeds = groups.some((group) => group.runs.length > 1);
  const isFew = groups.some((group) => group.runs.length < enoughSeeds);
  const drawn = severalSeeds
    ? isFew
      ? `Thick lines: median over seeds of the mean ${terms.scoreName} over evaluation ${terms.episodes}. Dashed lines: each seed.`
      : `Thick lines: median over seeds of the mean ${terms.scoreName} over evaluation ${terms.episodes}. Bands: middle half of the seeds. Thin lines: single seeds.`
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

/** The width of each card's drawing, in a grid of three columns whose last row is filled. */
function chartSizes(count: number): readonly { readonly width: number; readonly height: number }[] {
  const [half, full] = [456, 950];
  const wide = count % 3 === 1 ? 4 : count % 3 === 2 ? 2 : 0;
  return Array.from({ length: count }, (_, i) => ({
    ...smallChart,
    ...(count === 1 ? { width: full } : i >= count - wide ? { width: half } : {}),
  }));
}

async function chartGrid(charts: readonly MetricChart[]): Promise<string> {
  const sizes = chartSizes(charts.length);
  const drawn = charts.map(async (chart, i) => {
    const size = sizes[i]!;
    const svg = await drawSvg(metricChart(chart, size));
    if (size.width === smallChart.width) return svg;
    // A wide drawing on a narrow page would have small letters.
    const narrow = await drawSvg(metricChart(chart, smallChart));
    return `<div class="wide">${svg}</div><div class="narrow">${narrow}</div>`;
  });
  return cardGrid(await Promise.all(drawn));
}

function configurations(runs: readonly RunData[]): string {
  const [first] = runs;
  const text = ({ name, config }: RunData) => htmlPre(config, `Configuration of ${name}`);
  if (runs.length === 1) return folded('config.yaml, with all defaults', text(first!));
  const all = runs.map((run) => folded(`${run.name}/config.yaml`, text(run)));
  return folded('Configuration of every run', `<div class="inside">${all.join('\n')}</div>`);
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

/** What the labels of a comparison are. */
function groupWord(runs: readonly RunData[]): string {
  return runs.every(({ label, operator }) => label === operator) ? 'operator' : 'setting';
}

/** The settings in which the compared runs differ. */
function differences(runs: readonly RunData[]): string {
  const groups = groupRuns(runs);
  const table = groups.length < 2 ? '' : differenceTable(groups);
  return table === '' ? '' : `<h2>Settings that differ</h2>${table}`;
}

function heading(runs: readonly RunData[], title: string | undefined, isLive: boolean): string {
  const environments = unique(runs.map(jobTitle));
  const groups = groupRuns(runs);
  const [first] = runs;
  const eyebrow =
    runs.length === 1
      ? // A live page says how the run goes above the report.
        `Run ${escapeHtml(first!.name)}${isLive ? '' : ` · ${state(first!)}`}`
      : `Comparison of ${groups.length} ${groupWord(runs)}${groups.length === 1 ? '' : 's'}, ${runs.length} runs`;
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
  { title, command, isLive = false }: ReportOptions,
): Promise<string> {
  if (runs.length === 0) throw new RangeError('a report needs at least one run');
  const { main, constant, more } = metricCharts(runs);
  const csv = `data:text/csv;charset=utf-8,${encodeURIComponent(curveCsv(runs))}`;
  const made = htmlCommand(command);
  const evaluated = runs.some(({ evaluations }) => evaluations.length > 0);
  const curve = evaluated
    ? `<figure class="card"><div class="wide">${await drawSvg(learningCurve(runs, pageCurve))}</div><div class="narrow">${await drawSvg(learningCurve(runs, narrowCurve))}</div><figcaption>${curveCaption(runs)}</figcaption>${made}</figure>`
    : `<div class="card"><p class="muted">No evaluation has been recorded yet.</p>${made}</div>`;
  const sections = [
    heading(runs, title, isLive),
    runs.length === 1 ? runFacts(runs[0]!) + asked(runs[0]!) : groupTable(runs),
    await episodeSection(runs, isLive),
    '<h2>Learning curve</h2>',
    curve,
    await completionSection(runs),
    differences(runs),
    ...(main.length > 0
      ? ['<h2>Training</h2>', `<p class="note">${trendCaption(runs)}</p>`, await chartGrid(main)]
      : []),
    ...(constant.length > 0
      ? [`<p class="note below">Never changed: ${escapeHtml(constant.join('; '))}.</p>`]
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
  const environments = unique(runs.map(jobTitle));
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
      `${head}<title>Learning curves: ${escapeHtml(unique(runs.map(({ label }) => label)))}</title>${style}<rect width="100%" height="100%" fill="${color('ground')}"/>`,
  );
}
