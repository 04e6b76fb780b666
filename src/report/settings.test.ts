import { describe, expect, it } from 'vitest';
import { askedRows, differingSettings, jobTitle, largestReturn, madeRows } from './settings.js';

const settings = {
  seed: 3,
  operator: {
    name: 'pmpo',
    alpha: 0.5,
    beta: 2,
    kl: { mean: { epsilon: 0.01 }, covariance: 50, categorical: 1 },
    perToken: false,
  },
  feedback: { name: 'top-k', accept: 2, reject: 2 },
  reference: { period: 100 },
  policy: { hidden: [256, 128], activation: 'elu', head: 'gaussian' },
  critic: { hidden: [64, 64], activation: 'relu', ensemble: 2, learningRate: 1e-3 },
  learner: {
    samples: 16,
    batchSize: 128,
    stepsPerUpdate: 2,
    learningRate: 3e-4,
    stateLearningRate: 0.01,
    discount: 0.99,
  },
  environment: {
    simulator: 'walker_walk',
    numEnvs: 8,
    actionRepeat: 2,
    createSettings: { episodeSteps: 500 },
  },
};
const moment = { steps: 1, stepUnit: 'environment steps', updates: 1, wallSeconds: 1 } as const;

describe('askedRows', () => {
  it('says what was asked in the terms of the field', () => {
    const metrics = [{ ...moment, values: { 'policy/kl/mean': 0, 'policy/kl/covariance': 0 } }];
    expect(Object.fromEntries(askedRows({ settings, metrics }))).toMatchObject({
      // β is the weight of the parts that `kl` does not name, and there is none.
      Operator: 'pmpo: α = 0.5',
      // The policy is Gaussian: the third part does not exist.
      'KL(reference ‖ policy)': 'mean: bound ε = 0.01; covariance: weight 50',
      Feedback: 'top-k (accept = 2, reject = 2)',
      Samples: 'N = 16 samples for each context, B = 128 contexts',
      Reference: 'period = 100',
      'Policy network': 'hidden layers of 256 and 128, elu, gaussian head',
      Critics: '2, hidden layers of 64 and 64, relu',
      'Learning rates': "policy 0.0003; critics 0.001; operator's state 0.01",
      Updates: 'one for each 2 environment steps, discount γ = 0.99',
      Simulator: 'walker_walk, embedded',
      Environments: '8 at once, each action held for 2 steps',
      Seed: '3',
    });
  });

  it('names β where it is the weight of a part, and no simulator where there is none', () => {
    const metrics = [{ ...moment, values: { 'policy/kl/mean': 0, 'policy/kl/covariance': 0 } }];
    const operator = { ...settings.operator, kl: { mean: { epsilon: 0.01 } } };
    const { environment, ...offline } = settings;
    const rows = Object.fromEntries(askedRows({ settings: { ...offline, operator }, metrics }));
    expect(rows.Operator).toBe('pmpo: α = 0.5, β = 2');
    expect(rows).not.toHaveProperty('Simulator');
    expect(environment.simulator).toBe('walker_walk');
  });

  it('names the judge of a language run, if it has one', () => {
    const language = { model: { name: 'embedded' } };
    const rowsOf = (evaluation: object) =>
      Object.fromEntries(askedRows({ settings: { language, evaluation }, metrics: [] }));
    expect(rowsOf({ judge: '/a/judge.ts' }).Judge).toBe('/a/judge.ts');
    expect(rowsOf({ every: 10 })).not.toHaveProperty('Judge');
  });

  it('takes the configuration of a version that had other keys', () => {
    expect(askedRows({ settings: {}, metrics: [] })).toContainEqual(['Operator', 'unknown']);
  });
});

describe('madeRows', () => {
  it('names date, machine and versions, and when a run was resumed', () => {
    const machine = { system: 'linux 6, x64', processor: 'CPU', cores: 2, memoryGigabytes: 8 };
    const start = { command: 'pmpo train', versions: { pmpo: '1', 'Node.js': '20' }, machine };
    const rows = Object.fromEntries(
      madeRows([
        { ...start, time: '2030-01-01T10:00:05.000Z' },
        { ...start, time: '2030-01-02T11:30:05.000Z' },
      ]),
    );
    expect(rows.Date).toBe('2030-01-01 10:00 UTC, resumed 2030-01-02 11:30 UTC');
    expect(rows.Machine).toBe('CPU, 2 cores, 8 GB, linux 6, x64');
    expect(rows.Versions).toBe('pmpo 1, Node.js 20');
    expect(madeRows([])).toEqual([]);
  });
});

describe('largestReturn', () => {
  it('is known for embedded tasks only, whose reward is at most 1 for each step', () => {
    expect(largestReturn(settings)).toBe(500);
    expect(largestReturn({ environment: { simulator: 'cartpole_swingup' } })).toBe(1000);
    expect(
      largestReturn({ environment: { simulator: 'cartpole_swingup', address: 'host:1' } }),
    ).toBeUndefined();
    expect(largestReturn({ environment: { address: 'host:1' } })).toBeUndefined();
    expect(largestReturn({})).toBeUndefined();
  });
});

describe('jobTitle', () => {
  it('names the model, its prompts and its reward', () => {
    const language = {
      model: { name: 'embedded' },
      prompts: { file: '/a/prompts.jsonl' },
      reward: { name: 'program', file: '/a/kind.ts' },
    };
    expect(jobTitle({ settings: { language }, environment: 'embedded' })).toBe(
      'Language model (embedded) on prompts.jsonl, rewarded by kind.ts',
    );
    expect(jobTitle({ settings, environment: 'walker_walk' })).toBe('walker_walk');
  });
});

describe('differingSettings', () => {
  it('finds what is not the same, and leaves out names and seeds', () => {
    const other = {
      ...settings,
      seed: 4,
      name: 'x',
      operator: { ...settings.operator, alpha: 1 },
      replay: { nStep: 3 },
    };
    expect(
      differingSettings([
        { settings, metrics: [] },
        { settings: other, metrics: [] },
      ]),
    ).toEqual([
      { key: 'operator.alpha', values: ['0.5', '1'] },
      { key: 'replay.nStep', values: [undefined, '3'] },
    ]);
  });

  it('leaves out the parts of the KL that the policy does not have', () => {
    const metrics = [{ ...moment, values: { 'policy/kl/mean': 0 } }];
    const one = { settings: { operator: { kl: { mean: 1, sequence: 2 } } }, metrics };
    const two = { settings: { operator: { kl: { mean: 3, sequence: 4 } } }, metrics };
    expect(differingSettings([one, two])).toEqual([{ key: 'operator.kl.mean', values: ['1', '3'] }]);
  });

  it('leaves out a β that is the weight of no part of the KL', () => {
    const metrics = [{ ...moment, values: { 'policy/kl/mean': 0, 'policy/kl/covariance': 0 } }];
    const run = (beta: number, kl: object) => ({
      settings: { operator: { name: 'pmpo', beta, kl } },
      metrics,
    });
    const bounds = { mean: { epsilon: 0.01 }, covariance: { epsilon: 1e-5 } };
    expect(differingSettings([run(1, bounds), run(2, bounds)])).toEqual([]);
    const [one, two] = [run(1, { mean: { epsilon: 0.01 } }), run(2, { mean: { epsilon: 0.01 } })];
    expect(differingSettings([one, two])).toEqual([{ key: 'operator.beta', values: ['1', '2'] }]);
  });
});
