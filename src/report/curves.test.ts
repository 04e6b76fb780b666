import { describe, expect, it } from 'vitest';
import {
  curveCsv,
  groupCurve,
  groupOutcome,
  groupRuns,
  metricLine,
  outcomeLine,
  trendLines,
} from './curves.js';
import type { RunData, RunStatus } from './run-data.js';

function run(
  label: string,
  seed: number,
  returns: readonly number[][],
  status: RunStatus = 'finished',
): RunData {
  const at = (index: number) =>
    ({ steps: 10 * (index + 1), stepUnit: 'environment steps', updates: index, wallSeconds: index }) as const;
  return {
    name: `${label}-${seed}`,
    label,
    operator: label,
    feedback: 'top-k',
    kind: 'control',
    environment: 'cartpole',
    seed,
    status,
    config: '',
    settings: {},
    metrics: [],
    evaluations: returns.map((values, index) => ({ ...at(index), scoreName: 'return', scores: values })),
    notices: [],
  };
}

function withMetrics(values: readonly number[], seed = 0): RunData {
  return {
    ...run('pmpo', seed, []),
    metrics: values.map((value, index) => ({
      steps: index + 1,
      stepUnit: 'environment steps',
      updates: index,
      wallSeconds: index / 4,
      values: { loss: value },
    })),
  };
}

const nan = Number.NaN;

describe('groupRuns', () => {
  it('keeps the order of labels and sorts seeds', () => {
    const groups = groupRuns([run('b', 2, []), run('a', 0, []), run('b', 1, [])]);
    expect(groups.map(({ label, runs }) => [label, runs.map(({ seed }) => seed)])).toEqual([
      ['b', [1, 2]],
      ['a', [0]],
    ]);
  });
});

describe('groupCurve', () => {
  it('shows the spread over the episodes of one run', () => {
    expect(groupCurve({ label: 'a', runs: [run('a', 0, [[1, 2, 3, 10]])] })).toEqual([
      {
        label: 'a',
        steps: 10,
        center: 4,
        low: 1.75,
        high: 4.75,
        minimum: 1,
        maximum: 10,
        count: 4,
      },
    ]);
  });

  it('shows the median and the spread of the seeds’ mean returns', () => {
    const runs = [run('a', 0, [[1, 3]]), run('a', 1, [[4, 4]]), run('a', 2, [[9, 11]])];
    expect(groupCurve({ label: 'a', runs })).toEqual([
      { label: 'a', steps: 10, center: 4, low: 3, high: 7, minimum: 2, maximum: 10, count: 3 },
    ]);
  });

  it('ends when one seed diverges or ends', () => {
    const diverged = [run('a', 0, [[1], [2], [3]]), run('a', 1, [[1], [nan]], 'diverged')];
    expect(groupCurve({ label: 'a', runs: diverged }).map((p) => p.steps)).toEqual([10]);
    const short = [run('a', 0, [[1], [2], [3]]), run('a', 1, [[1], [2]])];
    expect(groupCurve({ label: 'a', runs: short }).map((p) => p.steps)).toEqual([10, 20]);
    const alone = [run('a', 0, [[1], [nan]], 'diverged')];
    expect(groupCurve({ label: 'a', runs: alone }).map((p) => p.steps)).toEqual([10]);
  });
});

describe('groupOutcome', () => {
  it('summarizes the final returns of the seeds', () => {
    const outcome = groupOutcome({
      label: 'a',
      runs: [run('a', 0, [[100]]), run('a', 1, [[200]]), run('a', 2, [[600]])],
    });
    expect(outcome).toMatchObject({
      median: 200,
      low: 150,
      high: 400,
      mean: 300,
      minimum: 100,
      maximum: 600,
    });
  });

  it('counts a diverged seed as the worst, not as absent', () => {
    const worst = Number.NEGATIVE_INFINITY;
    const outcome = groupOutcome({
      label: 'a',
      runs: [run('a', 0, [[100]]), run('a', 1, [[900]], 'diverged'), run('a', 2, [[600]])],
    });
    expect(outcome).toMatchObject({
      seeds: 3,
      diverged: 1,
      median: 100,
      low: worst,
      high: 350,
      mean: worst,
      minimum: worst,
      maximum: 600,
    });
  });

  it('has no numbers before the first evaluation', () => {
    expect(groupOutcome({ label: 'a', runs: [run('a', 0, [])] }).median).toBeNaN();
  });
});

describe('outcomeLine', () => {
  const lineOf = (returns: readonly number[], lost = 0) =>
    outcomeLine(
      groupOutcome({
        label: 'mpo',
        runs: [
          ...returns.map((value, seed) => run('mpo', seed, [[value]])),
          ...Array.from({ length: lost }, (_, i) => run('mpo', 90 + i, [[nan]], 'diverged')),
        ],
      }),
    );

  it('names each of a few seeds, and sums up many', () => {
    expect(lineOf([812])).toBe('mpo: return 812 (1 seed)');
    expect(lineOf([812, 790])).toBe('mpo: returns 812, 790 (2 seeds)');
    expect(lineOf([812, 790], 1)).toBe('mpo: returns 812, 790 (3 seeds, 1 diverged)');
    expect(lineOf([], 1)).toBe('mpo: return unknown (1 seed, 1 diverged)');
    expect(lineOf([5, 1, 2, 4, 3])).toBe('mpo: median return 3 (1 – 5 over 5 seeds)');
  });
});

describe('metric lines', () => {
  it('leave out values that are not finite', () => {
    expect(metricLine(withMetrics([1, nan, 3]), 'loss').map(({ value }) => value)).toEqual([1, 3]);
  });

  it('of long runs are thinned to means, which preserve the overall mean', () => {
    const line = metricLine(withMetrics(Array.from({ length: 1000 }, (_, i) => i)), 'loss');
    expect(line.length).toBeLessThanOrEqual(240);
    expect(line.reduce((sum, { value }) => sum + value, 0) / line.length).toBe(499.5);
    expect(line.at(-1)!.steps).toBe(1000);
  });

  it('have trends: moving means, and their median over seeds', () => {
    const flat = [5, 1, 9].flatMap((value, seed) => ({
      ...withMetrics(Array(80).fill(value), seed),
      name: `r${seed}`,
    }));
    const points = flat.flatMap((one) => metricLine(one, 'loss'));
    expect(new Set(trendLines(points).map(({ value }) => value))).toEqual(new Set([5]));
    const steps = metricLine(withMetrics(Array.from({ length: 80 }, (_, i) => i)), 'loss');
    const trend = trendLines(steps).map(({ value }) => value);
    expect([trend[0], trend[40], trend[79]]).toEqual([1, 40, 78]);
  });
});

describe('curveCsv', () => {
  it('has a row for each finite evaluation, and quotes names if necessary', () => {
    const csv = curveCsv([{ ...run('a', 3, [[1, 3], [nan]]), label: 'pmpo, α=1' }]);
    expect(csv.split('\n').slice(1)).toEqual([
      '"pmpo, α=1",a-3,a,cartpole,3,10,environment steps,return,2,1,1,3,2',
      '',
    ]);
  });
});
