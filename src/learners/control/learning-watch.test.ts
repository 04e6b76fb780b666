import { describe, expect, it } from 'vitest';
import { dpo } from '../../operators/dpo.js';
import { mpo } from '../../operators/mpo.js';
import { pmpo } from '../../operators/pmpo.js';
import { LearningWatch, watchedPolicy } from './learning-watch.js';

const head = { minStddev: 0.05, bins: 11 };
/** Today's defaults may differ: these are the ones with which the recorded runs collapsed. */
const earlier = pmpo({ beta: 1, kl: {} });
const gaussian = watchedPolicy({ name: 'gaussian' }, head, [0], earlier);
const categorical = watchedPolicy({ name: 'categorical' }, head, [3], earlier);

/** What a watch says about one metric over a run with a report every 1,000 steps. */
function said(
  policy: typeof gaussian,
  name: string,
  values: readonly number[],
  { total = 50_000, others = {} }: { total?: number; others?: Record<string, number> } = {},
): { readonly steps: number; readonly message: string }[] {
  const watch = new LearningWatch(policy);
  return values.flatMap((value, i) => {
    const steps = (i + 1) * 1000;
    return watch.observe({ ...others, [name]: value }, steps / total).map((message) => ({ steps, message }));
  });
}

describe('a watch over learning', () => {
  // Recorded with PMPO and the weight 1 on the whole KL, on dm_env_rpc's Catch; the return stayed at 0.2.
  const catchEntropy = [0.6369, 0.1307, 0.0397, 0.0182, 0.0076, 0.0056, 0.0035, 0.0031, 0.002, 0.0018];
  // Recorded with bounds on the KL, on the same game; the return was 1 from step 5,000 on.
  const learningEntropy = [
    0.788, 0.449, 0.254, 0.176, 0.117, 0.081, 0.08, 0.082, 0.081, 0.08, 0.08, 0.08, 0.08,
  ];
  // Recorded with KTO on cartpole_swingup; the return stayed below 420 of 1000.
  const swingupCollapse = [
    0.592, 0.879, 0.848, 0.938, 0.536, 0.435, 0.348, 0.265, 0.254, 0.366, 0.373, 0.538, 0.245, 0.122, 0.091,
    0.072, 0.064, 0.071, 0.082, 0.083, 0.062, 0.078, 0.059, 0.059, 0.056, 0.059, 0.061, 0.102, 0.058, 0.078,
    0.112, 0.057,
  ];
  // Recorded with bounds on the KL, on reacher, which ended at 730.
  const reacher = [
    0.502, 0.485, 0.461, 0.433, 0.41, 0.386, 0.365, 0.355, 0.337, 0.322, 0.312, 0.299, 0.289, 0.276, 0.262,
    0.248, 0.235, 0.219, 0.203, 0.19, 0.178, 0.164, 0.154, 0.141, 0.129,
  ];

  it('warns once when a categorical policy has become deterministic, with the setting that helps', () => {
    expect(said(categorical, 'policy/entropy', catchEntropy, { total: 25_000 })).toEqual([
      {
        steps: 5000,
        message:
          'Warning: the policy has stopped exploring: its entropy is 0.0076 of at most 1.1 nats. Bound the change of the policy, operator.kl.categorical={epsilon: 0.001}, or give operator.kl.categorical a larger weight than 1',
      },
    ]);
    expect(said(categorical, 'policy/entropy', learningEntropy, { total: 25_000 })).toEqual([]);
  });

  it('warns when a standard deviation stays at its floor, and not when it nears it at the end of a run', () => {
    expect(said(gaussian, 'policy/stddev', swingupCollapse)[0]).toEqual({
      steps: 17_000,
      message: expect.stringMatching(
        /standard deviation is 0\.064, and its floor is 0\.05\. .*operator\.kl\.covariance/,
      ),
    });
    expect(said(gaussian, 'policy/stddev', reacher, { total: 25_000 })).toEqual([]);
    expect(said(gaussian, 'policy/stddev', [0.4, 0.3, 0.2, 0.07, 0.05], { total: 5000 })).toEqual([]);
    // A single report is no collapse.
    expect(said(gaussian, 'policy/stddev', [0.2, 0.06, 0.2, 0.2])).toEqual([]);
  });

  it('names the setting of each operator', () => {
    expect(watchedPolicy({ name: 'gaussian' }, head, [0], dpo({ kl: { covariance: 3 } })).remedy).toBe(
      'Bound the change of the policy, operator.kl.covariance={epsilon: 0.00001}, or give operator.kl.covariance a larger weight than 3',
    );
    expect(watchedPolicy({ name: 'gaussian' }, head, [0], mpo()).remedy).toMatch(
      /^Lower operator\.kl\.covariance\.epsilon/,
    );
    const bounded = pmpo({ kl: { covariance: { epsilon: 0.001 } } });
    expect(watchedPolicy({ name: 'gaussian' }, head, [0], bounded).remedy).toBe(
      'Lower operator.kl.covariance.epsilon, which is 0.001',
    );
    expect(watchedPolicy({ name: 'gaussian' }, head, [0], {}).remedy).toMatch(/learner\.learningRate/);
  });

  it('tells only the cause when several troubles follow from it', () => {
    const others = { 'feedback/tieRate': 1, 'critic/sampleStddev': 0, 'critic/contextStddev': 1 };
    expect(said(categorical, 'policy/entropy', [0.001, 0.001, 0.001], { others })).toHaveLength(1);
    const [ties, ...more] = said(categorical, 'policy/entropy', [0.5, 0.5, 0.5], { others });
    expect(ties.message).toMatch(/all samples have the same value/);
    expect(more).toEqual([]);
  });

  it('says when returns do not differ, and when critics see no difference between actions', () => {
    expect(said(gaussian, 'critic/returnRange', [0, 0, 0, 1, 1, 1])).toEqual([
      { steps: 2000, message: expect.stringMatching(/^Warning: every return is the same/) },
      { steps: 5000, message: 'What was the matter is over: returns differ now' },
    ]);
    const others = { 'critic/contextStddev': 10 };
    expect(said(gaussian, 'critic/sampleStddev', [1e-5, 1e-5], { others })[0].message).toMatch(
      /critics see no difference between actions/,
    );
    expect(said(gaussian, 'critic/sampleStddev', [1e-3, 1e-3], { others })).toEqual([]);
  });

  it('says nothing again after a run is resumed, and nothing about a space with one action', () => {
    const watch = new LearningWatch(gaussian);
    for (let i = 0; i < 2; i++) watch.observe({ 'policy/stddev': 0.05 }, 0.1);
    const resumed = new LearningWatch(gaussian, JSON.parse(JSON.stringify(watch.state)));
    expect([1, 2, 3].flatMap(() => resumed.observe({ 'policy/stddev': 0.05 }, 0.2))).toEqual([]);
    const single = watchedPolicy({ name: 'categorical' }, head, [1], earlier);
    expect(said(single, 'policy/entropy', [0, 0, 0])).toEqual([]);
  });
});
