import { describe, expect, it } from 'vitest';
import { lastMetricsCsv, lastMetricsMarkdown, metricCurvesCsv, type RunMetrics } from './metric-tables.js';

const run = (variant: string, seed: number, ...records: readonly Record<string, number>[]): RunMetrics => ({
  task: 'reviews',
  variant,
  seed,
  data: {
    metrics: records.map((values, i) => ({
      steps: i,
      stepUnit: 'completions',
      updates: i,
      wallSeconds: i,
      values,
    })),
    evaluations: records.map((_, updates) => ({ updates })),
  },
});

const runs = [
  run('both', 0, { words: 9 }, { words: 8.125, 'self/bleu': 0.25 }),
  run('both', 1, { words: 4, 'self/bleu': Number.NaN }),
  // What it wrote in the end has no words, and an earlier evaluation does not stand for the last.
  run('both', 2, { words: 5 }, { words: Number.NaN }, { other: 1 }),
  run('none', 0, { other: 1 }),
];

it('writes every finite value of a metric, for the figures that draw it', () => {
  expect(metricCurvesCsv(runs, ['words', 'self/bleu'])).toBe(
    [
      'metric,task,variant,seed,steps,updates,value',
      'words,reviews,both,0,0,0,9',
      'words,reviews,both,0,1,1,8.125',
      'words,reviews,both,1,0,0,4',
      'words,reviews,both,2,0,0,5',
      'self/bleu,reviews,both,0,1,1,0.25',
      '',
    ].join('\n'),
  );
});

describe('the metrics of runs at their end', () => {
  it('are the values at the last evaluation, by run', () => {
    expect(lastMetricsCsv(runs, ['words', 'self/bleu'])).toBe(
      'task,variant,seed,words,self/bleu\nreviews,both,0,8.125,0.25\nreviews,both,1,4,\nreviews,both,2,,\nreviews,none,0,,\n',
    );
  });

  it('are summarised over seeds, with a row for each variant', () => {
    expect(lastMetricsMarkdown(runs, ['words', 'self/bleu'])).toBe(
      [
        '| reviews, at the end | `words` | `self/bleu` |',
        '| --- | --- | --- |',
        '| both | 6.06 (4 to 8.13) | 0.25 |',
        '| none |  |  |',
        '',
      ].join('\n'),
    );
  });
});
