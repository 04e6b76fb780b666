import { fewestForInterval } from '../../core/statistics.js';
import { benchmarkFunction } from '../../learners/bandit/functions.js';
import type { Ending } from './aggregate.js';
import type { MadeBanditStudy, MadeSearch } from './make-bandit-study.js';
import type { Settings, TuningRow } from './tuning.js';

/** The tables of a study of bandits, for people: Markdown. */

const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
const rule = (cells: readonly string[]) => line(cells.map(() => '---'));

/** 0.000034 as 3.4e-5, and 0.12 as it is. */
export function shortNumber(value: number): string {
  if (value === 0) return '0';
  if (!Number.isFinite(value)) return '∞';
  const size = Math.abs(value);
  return size >= 0.01 && size < 1000 ? String(Number(value.toPrecision(2))) : value.toExponential(1);
}

function endingCell({ median, low, high, diverged, collapsed, values }: Ending): string {
  const lost = [
    ...(diverged > 0 ? [`${diverged} of ${values.length} diverged`] : []),
    ...(collapsed > 0 ? [`${collapsed} of ${values.length} collapsed`] : []),
  ];
  return [`${shortNumber(median)} (${shortNumber(low)} to ${shortNumber(high)})`, ...lost].join(', ');
}

const settingsText = (settings: Settings) =>
  Object.entries(settings)
    .map(([key, value]) => `${key} ${value}`)
    .join(', ');

function searchTable({ title, config, functions, methods, endings, lines }: MadeSearch): string {
  const evaluations = Math.max(...lines.flatMap((one) => one.evaluations));
  const { dimensions, reference, learner } = config;
  const head = ['', ...functions.map((name) => benchmarkFunction(name).title)];
  const rows = methods.map((method) => [
    method,
    ...functions.map((fn) => {
      const ending = endings.find((one) => one.method === method && one.function === fn);
      return ending === undefined ? '' : endingCell(ending);
    }),
  ]);
  const seeds = endings[0]?.values.length ?? 0;
  return `## ${title}

f at the policy's mode (CMA-ES: at its mean) after ${evaluations.toLocaleString('en')} evaluations: the median of ${seeds} seeds and ${seeds < fewestForInterval ? 'their range' : 'its 95 % bootstrap interval'}. D = ${dimensions}, N = ${learner.samples}, ${learner.contexts} context${learner.contexts === 1 ? '' : 's'} in an update, a copy of the reference every ${reference.period} updates${learner.decayFrom < 1 ? `, learning rates that decay from ${Math.round(learner.decayFrom * 100)} % of the search on` : ''}.

${[line(head), rule(head), ...rows.map(line)].join('\n')}
`;
}

function tuningTable({ title, tuning, score }: MadeSearch): string {
  const best = tuning.filter(({ chosen }) => chosen);
  const rows = best.map((row) => [
    row.method,
    String(tuning.filter(({ method }) => method === row.method).length),
    settingsText(row.settings),
    shortNumber(row.score),
    String(row.lost),
  ]);
  const head = ['', 'settings tried', 'chosen', 'score', 'lost'];
  const each = (row: TuningRow) =>
    line([row.method, settingsText(row.settings), shortNumber(row.score), String(row.lost)]);
  return `## ${title}

The score is the geometric mean of f over ${score === 'end' ? 'the last tenth of the search' : 'the whole search'}.

${[line(head), rule(head), ...rows.map(line)].join('\n')}

<details><summary>All ${tuning.length} settings</summary>

${[line(['', 'settings', 'score', 'lost']), rule(['', '', '', '']), ...tuning.map(each)].join('\n')}

</details>
`;
}

/** summary.md, and tuning.md if settings were chosen. */
export function banditTables({ searches, cmaEs }: MadeBanditStudy): { summary: string; tuning?: string } {
  const missing = cmaEs !== undefined && 'missing' in cmaEs ? [`CMA-ES is missing: ${cmaEs.missing}\n`] : [];
  // Searches that take the same settings are listed once.
  const tuned = searches.filter(
    ({ tuning }, index) =>
      tuning.length > 0 &&
      searches.findIndex((other) => JSON.stringify(other.tuning) === JSON.stringify(tuning)) === index,
  );
  return {
    summary: ['# Bandits\n', ...missing, ...searches.map(searchTable)].join('\n'),
    tuning:
      tuned.length === 0
        ? undefined
        : [
            '# How settings were chosen\n',
            'Every combination of the values to choose from searched a function that no figure shows, with seeds of its own. The one with the least median score over the seeds was taken; a search that was lost counts as infinite.\n',
            ...tuned.map(tuningTable),
          ].join('\n'),
  };
}
