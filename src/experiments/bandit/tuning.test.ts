import { describe, expect, it } from 'vitest';
import { createCatalogue } from '../../config/catalogue.js';
import { ConfigError } from '../../core/errors.js';
import type { SearchTrace } from '../../learners/bandit/config.js';
import { searchConfig } from './schema.js';
import { candidatesOf, classifierOf, combinations, judge } from './tuning.js';

const names = createCatalogue();
const config = searchConfig('study.yaml', {}, {});
const candidates = (operator: { name: string } & Record<string, unknown>, tune = {}, learningRate?: number) =>
  candidatesOf(
    'study.yaml: methods.M',
    'M',
    { operator, tune, learningRate },
    config,
    classifierOf('study.yaml', config, names),
    names,
  );

describe('combinations', () => {
  it('are all of them, and one without settings', () => {
    expect(combinations({ beta: [1, 2], learningRate: [0.1, 0.2] })).toEqual([
      { beta: 1, learningRate: 0.1 },
      { beta: 1, learningRate: 0.2 },
      { beta: 2, learningRate: 0.1 },
      { beta: 2, learningRate: 0.2 },
    ]);
    expect(combinations({})).toEqual([{}]);
  });
});

describe('candidatesOf', () => {
  it('sets nested settings of the operator, and keeps the others', () => {
    const bound = { epsilon: 0.1, initialWeight: 3 };
    const made = candidates(
      { name: 'pmpo', kl: { mean: bound } },
      { 'kl.mean.epsilon': [0.2, 0.3], learningRate: [0.01] },
    );
    expect(made.map(({ name, learningRate }) => [name, learningRate])).toEqual([
      ['M, kl.mean.epsilon 0.2, learningRate 0.01', 0.01],
      ['M, kl.mean.epsilon 0.3, learningRate 0.01', 0.01],
    ]);
    const state = made[0]!.operator.initialState({ klParts: { mean: 1 } });
    expect(state['logKlWeight/mean']!.data[0]).toBeCloseTo(Math.log(3), 6);
  });

  it.each([
    [{ name: 'pmpp' }, {}, 0.1, /study\.yaml: methods\.M\.operator: unknown operator 'pmpp'.*pmpo/],
    [{ name: 'pmpo', alpha: 7 }, {}, 0.1, /methods\.M\.operator: .*alpha/],
    [{ name: 'pmpo' }, { bta: [1] }, 0.1, /methods\.M\.operator: .*bta/],
    [{ name: 'pmpo' }, {}, undefined, /methods\.M\.learningRate: it is missing/],
    [{ name: 'simpo' }, {}, 0.1, /methods\.M\.operator: .*simpo/],
  ] as const)('refuses %j', (operator, tune, rate, message) => {
    expect(() => candidates(operator, tune, rate)).toThrow(ConfigError);
    expect(() => candidates(operator, tune, rate)).toThrow(message);
  });

  it('refuses feedback that the operator cannot learn from', () => {
    const accepting = searchConfig('study.yaml', {}, { feedback: { name: 'top-k', accept: 2, reject: 0 } });
    const method = { operator: { name: 'dpo' }, tune: {}, learningRate: 0.1 };
    expect(() =>
      candidatesOf('M', 'M', method, accepting, classifierOf('S', accepting, names), names),
    ).toThrow(/pairs|reject/);
    const wrong = searchConfig('S', {}, { feedback: { name: 'top-k', accept: 4, reject: 2 } });
    expect(() => classifierOf('S', wrong, names)).toThrow(/S\.feedback: top-k accepts 4 and rejects 2 of 4/);
  });
});

describe('judge', () => {
  const all = candidates({ name: 'pmpo' }, { beta: [1, 2, 3], learningRate: [0.01] });
  const trace = (
    i: number,
    seed: number,
    values: readonly number[],
    outcome: SearchTrace['outcome'] = 'finished',
  ) => ({
    method: all[i]!.name,
    function: 'sphere',
    seed,
    points: values.map((value) => ({ value, mode: [], stddev: 1 })),
    outcome,
  });
  const judged = (traces: readonly SearchTrace[], score: 'end' | 'search') => {
    const { rows, chosen } = judge(all, { evaluations: [], traces }, score);
    return { rows: rows.map((row) => [Number(row.score.toPrecision(6)), row.lost, row.chosen]), chosen };
  };

  it('takes the settings with the least median score, and never those that lose half of the searches', () => {
    const { rows, chosen } = judged(
      [
        ...[5, 5, 5].map((value, seed) => trace(0, seed, [9, value, value])),
        ...[4, 4, 90].map((value, seed) => trace(1, seed, [9, value, value])),
        ...[0, 1, 2].map((seed) => trace(2, seed, [9, 0, 0], seed > 0 ? 'collapsed' : 'finished')),
      ],
      'search',
    );
    expect(rows).toEqual([
      [5, 0, false],
      [4, 0, true],
      [Number.POSITIVE_INFINITY, 2, false],
    ]);
    expect(chosen.get('M')).toMatchObject({ name: 'M', settings: { beta: 2 } });
  });

  it('chooses for the end of the search, or for the whole of it', () => {
    const traces = [trace(0, 0, [9, 1, 1, 1]), trace(1, 0, [9, 100, 100, 0.1]), trace(2, 0, [9, 9, 9, 9])];
    expect(judged(traces, 'end').chosen.get('M')!.settings.beta).toBe(2);
    expect(judged(traces, 'search').chosen.get('M')!.settings.beta).toBe(1);
  });

  it('takes the faster of those that end at 0', () => {
    const traces = [trace(0, 0, [9, 5, 0]), trace(1, 0, [9, 1, 0]), trace(2, 0, [9, 9, 0])];
    expect(judged(traces, 'end').chosen.get('M')!.settings.beta).toBe(2);
  });
});
