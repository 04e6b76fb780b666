import type { TopLevelSpec } from 'vega-lite';
import type { LanguageEvaluation } from '../run/records.js';
import type { CompletionFacts } from './completions.js';
import type { MetricPoint } from './curves.js';
import { type CurveSize, fitted, type MetricChart } from './specs.js';
import { seriesColor } from './theme.js';

/** Charts of what a language model writes. */

type FactsAt = CompletionFacts & { readonly updates: number };

function points(facts: readonly FactsAt[], metric: string, of: (own: FactsAt) => number): MetricPoint[] {
  return facts
    .map((own) => ({ label: '', run: metric, metric, steps: own.updates, value: of(own) }))
    .filter(({ value }) => Number.isFinite(value));
}

/** What a chart of diversity is called, and how it is read: its lines do not all rise with the diversity. */
export const diversityTitles = {
  title: 'Diversity and repetition',
  subtitle: 'more diverse: distinct higher, the others lower',
};

/** The diversity of the completions of each evaluation. */
export function diversityChart(facts: readonly FactsAt[]): MetricChart {
  return {
    ...diversityTitles,
    points: [
      ...points(facts, 'distinct-2', ({ distinct2 }) => distinct2),
      ...points(facts, 'self-BLEU', ({ selfBleu }) => selfBleu),
      ...points(facts, 'repeats', ({ repetition }) => repetition),
    ],
    by: 'metric',
    domain: ['distinct-2', 'self-BLEU', 'repeats'],
    share: true,
  };
}

/** The length of the completions of each evaluation. */
export function lengthChart(facts: readonly FactsAt[]): MetricChart {
  return {
    title: 'Length',
    subtitle: 'words of held-out completions, by updates',
    points: points(facts, 'words', ({ words }) => words),
    by: 'metric',
    domain: ['words'],
  };
}

/** How the rewards of two evaluations are distributed. */
export function rewardHistogram(
  before: LanguageEvaluation,
  after: LanguageEvaluation,
  size: CurveSize,
): TopLevelSpec {
  const rewards = (when: string, { completions }: LanguageEvaluation) =>
    completions.flatMap(({ evaluation }) => (evaluation === undefined ? [] : [{ when, reward: evaluation }]));
  return {
    ...fitted(size),
    title: { text: 'Rewards', subtitle: 'of held-out completions' },
    data: { values: [...rewards('before', before), ...rewards('after', after)] },
    mark: { type: 'bar', opacity: 0.62, binSpacing: 1 },
    encoding: {
      x: { field: 'reward', type: 'quantitative', bin: { maxbins: 16 }, title: null },
      y: { aggregate: 'count', type: 'quantitative', stack: null, title: null, axis: { tickCount: 4 } },
      color: {
        field: 'when',
        type: 'nominal',
        title: null,
        scale: { domain: ['before', 'after'], range: [seriesColor(6), seriesColor(0)] },
        legend: { symbolType: 'square', labelFontSize: 10.5, columnPadding: 7, symbolSize: 70 },
      },
    },
  } as TopLevelSpec;
}
