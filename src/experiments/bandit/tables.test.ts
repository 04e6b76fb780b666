import { describe, expect, it } from 'vitest';
import type { MadeBanditStudy } from './make-bandit-study.js';
import { searchConfig } from './schema.js';
import { banditTables, shortNumber } from './tables.js';

describe('shortNumber', () => {
  it.each([
    [0, '0'],
    [0.000034, '3.4e-5'],
    [0.123, '0.12'],
    [430.2, '430'],
    [2712, '2.7e+3'],
    [Number.POSITIVE_INFINITY, '∞'],
  ])('writes %d as %s', (value, text) => {
    expect(shortNumber(value)).toBe(text);
  });
});

describe('banditTables', () => {
  const line = { method: 'both', function: 'sphere', evaluations: [0, 80], median: [], low: [], high: [] };
  const made = (values: readonly number[], more: Partial<MadeBanditStudy> = {}): MadeBanditStudy => ({
    searches: [
      {
        name: 'curves',
        title: 'Curves',
        config: searchConfig('study', {}, {}),
        functions: ['sphere'],
        methods: ['both'],
        lines: [line],
        endings: [
          {
            method: 'both',
            function: 'sphere',
            values,
            median: 0.1,
            low: 0.01,
            high: 1,
            diverged: 2,
            collapsed: 1,
          },
        ],
        score: 'end',
        tuning: [],
      },
    ],
    paths: [],
    stability: [],
    cmaEs: undefined,
    ...more,
  });

  it('say how many searches were lost, and what the interval is', () => {
    const { summary, tuning } = banditTables(made([1, 2, 3]));
    expect(summary).toContain('after 80 evaluations: the median of 3 seeds and their range. D = 2, N = 4');
    expect(summary).toContain('| both | 0.1 (0.01 to 1), 2 of 3 diverged, 1 of 3 collapsed |');
    expect(tuning).toBeUndefined();
    expect(banditTables(made([1, 2, 3, 4, 5])).summary).toContain('5 seeds and its 95 % bootstrap interval');
  });

  it('say that CMA-ES is missing, and why', () => {
    const { summary } = banditTables(made([1], { cmaEs: { missing: 'Python: not found' } }));
    expect(summary).toContain('CMA-ES is missing: Python: not found');
  });

  it('list the settings that were chosen, and all others', () => {
    const row = { method: 'both', settings: { beta: 1 }, score: 0.5, lost: 0, chosen: true };
    const { searches } = made([1]);
    const tuning = [
      row,
      { ...row, settings: { beta: 2 }, score: Number.POSITIVE_INFINITY, lost: 3, chosen: false },
    ];
    // A search that takes the settings of another adds no table.
    const { tuning: text } = banditTables(
      made([1], {
        searches: [
          { ...searches[0]!, tuning },
          { ...searches[0]!, tuning },
        ],
      }),
    );
    expect(text!.match(/\| both \| 2 \| beta 1 \| 0\.5 \| 0 \|/g)).toHaveLength(1);
    expect(text).toContain('| both | beta 2 | ∞ | 3 |');
  });
});
