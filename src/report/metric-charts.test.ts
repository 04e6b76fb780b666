import { describe, expect, it } from 'vitest';
import { metricCharts } from './metric-charts.js';
import type { RunData } from './run-data.js';

/** A run whose records are these, 1,000 steps apart. */
function run(
  records: readonly { readonly updates: number; readonly values: Readonly<Record<string, number>> }[],
): RunData {
  return {
    name: 'run',
    label: 'pmpo',
    operator: 'pmpo',
    feedback: 'top-k',
    kind: 'control',
    environment: 'cartpole',
    seed: 0,
    status: 'finished',
    config: '',
    settings: {},
    metrics: records.map(({ updates, values }, i) => ({
      steps: 1000 * (i + 1),
      stepUnit: 'environment steps',
      updates,
      wallSeconds: i,
      values,
    })),
    evaluations: [],
    notices: [],
  };
}

describe('metricCharts', () => {
  it('says in words what never changed, and draws the rest', () => {
    const records = [1, 2, 3, 4].map((i) => ({
      updates: 1000 * i,
      values: {
        'policy/acceptRate': 0.5,
        'policy/rejectRate': 0.25,
        'policy/loss': i,
        'acting/length': 1000,
      },
    }));
    const { main, constant } = metricCharts([run(records)]);
    expect(main.map(({ title }) => title)).toEqual(['Policy loss']);
    expect(constant).toEqual(['Episode length: 1,000', 'Accepted and rejected: accept 0.5, reject 0.25']);
  });

  it('draws the speed without the warm-up, which would flatten it', () => {
    const at = (updates: number, speed: number) => ({ updates, values: { 'speed/stepsPerSecond': speed } });
    const records = [at(0, 9000), at(100, 6000), at(1100, 301), at(2100, 299), at(3100, 300), at(4100, 310)];
    const { main } = metricCharts([run(records)]);
    expect(main[0]!.points.map(({ value }) => value)).toEqual([301, 299, 300, 310]);
  });
});
