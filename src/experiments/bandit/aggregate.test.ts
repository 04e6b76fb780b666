import { describe, expect, it } from 'vitest';
import type { BanditResult, SearchTrace } from '../../learners/bandit/config.js';
import { cmaEsLines, endingsOf, linesOf, medianWithInterval, spacedIndices } from './aggregate.js';

const trace = (
  seed: number,
  values: number[],
  outcome: SearchTrace['outcome'] = 'finished',
): SearchTrace => ({
  method: 'both',
  function: 'sphere',
  seed,
  points: values.map((value) => ({ value, mode: [0, 0], stddev: 1 })),
  outcome,
});
const result: BanditResult = {
  evaluations: [0, 80, 160],
  traces: [
    trace(0, [9, 3, 1]),
    trace(1, [7, 4, 2]),
    trace(2, [8, 90, 90], 'diverged'),
    trace(3, [8, 2, 2], 'collapsed'),
  ],
};

describe('spacedIndices', () => {
  it('hold the first and the last, and at most so many', () => {
    expect(spacedIndices(3, 48)).toEqual([0, 1, 2]);
    const indices = spacedIndices(401, 20);
    expect(indices.length).toBeLessThanOrEqual(20);
    expect(indices.slice(0, 3)).toEqual([0, 21, 42]);
    expect(indices.at(-1)).toBe(400);
  });
});

describe('medianWithInterval', () => {
  it('counts NaN as worse than any other value, wherever it stands', () => {
    for (const values of [
      [Number.NaN, 3, 1, 2],
      [3, 1, Number.NaN, 2],
    ])
      expect(medianWithInterval(values, 'values')).toEqual({
        median: 2.5,
        low: 1,
        high: Number.POSITIVE_INFINITY,
      });
  });
});

describe('linesOf', () => {
  it('are the medians over the seeds, with the range of a few', () => {
    expect(linesOf(result)).toEqual([
      {
        method: 'both',
        function: 'sphere',
        evaluations: [0, 80, 160],
        median: [8, 3.5, 2],
        low: [7, 2, 1],
        high: [9, 90, 90],
      },
    ]);
  });

  it('have a bootstrap interval from five seeds on, which is inside of the range', () => {
    const traces = Array.from({ length: 20 }, (_, seed) => trace(seed, [seed + 1]));
    const [line] = linesOf({ evaluations: [0], traces });
    expect(line!.median).toEqual([10.5]);
    expect(line!.low[0]).toBeGreaterThan(4);
    expect(line!.low[0]).toBeLessThan(10.5);
    expect(line!.high[0]).toBeLessThan(17);
  });
});

describe('endingsOf', () => {
  it('count the searches that were lost', () => {
    expect(endingsOf(result)).toEqual([
      {
        method: 'both',
        function: 'sphere',
        values: [1, 2, 90, 2],
        median: 2,
        low: 1,
        high: 90,
        stddev: 1,
        diverged: 1,
        collapsed: 1,
      },
    ]);
  });
});

describe('cmaEsLines', () => {
  it('hold a search that has ended, and begin before its first generation', () => {
    const searches = [{ function: 'sphere', start: [0, 0], seed: 0 }];
    const traces = [
      [
        [0, 5],
        [6, 3],
        [12, -1e-17],
      ],
    ] as const;
    const { lines, endings } = cmaEsLines(searches, { versions: {}, traces }, [0, 4, 8, 80]);
    expect(lines[0]!.median).toEqual([5, 5, 3, -1e-17]);
    expect(endings[0]).toMatchObject({ method: 'CMA-ES', function: 'sphere', values: [0] });
  });
});
