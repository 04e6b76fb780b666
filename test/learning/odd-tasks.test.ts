import { describe, expect, it } from 'vitest';
import { mean } from '../../src/core/statistics.js';
import type { Environment, NamedSpecs } from '../../src/environments/environment.js';
import { trainByDefault } from '../support/train-by-default.js';

/** What the default settings make of tasks of unusual sizes and scales. */

interface Task {
  readonly actions: NamedSpecs[string];
  /** The best action in context c = −1 or 1, in each dimension. */
  readonly best: (context: number) => number;
  /** The distance from the best action at which the reward is 0. */
  readonly width: number;
  readonly observationScale?: number;
  readonly rewardScale?: number;
  readonly length?: number;
}

/** Shows a context c beside a constant. The reward of a step is 1 − mean_d ((y_d − best(c))/width)², scaled. */
function contexts(task: Task): Environment {
  const { actions, best, width, observationScale = 1, rewardScale = 1, length = 5 } = task;
  let [random, context, steps] = [0, 1, 0];
  const show = () => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    context = random < 2 ** 31 ? -1 : 1;
    const data = Float32Array.of(observationScale * context, observationScale * 7);
    return { context: { dtype: 'float32' as const, shape: [2], data } };
  };
  return {
    observationSpec: { context: { name: 'context', shape: [2], dtype: 'float32' } },
    actionSpec: { y: actions },
    async reset({ seed = 0 } = {}) {
      [random, steps] = [seed >>> 0, 0];
      return { observation: show(), info: {} };
    },
    async step({ y }) {
      const errors = Array.from(
        y.data as Float32Array,
        (value) => ((Number(value) - best(context)) / width) ** 2,
      );
      const reward = rewardScale * (1 - errors.reduce((sum, error) => sum + error, 0) / errors.length);
      steps += 1;
      return { observation: show(), reward, terminated: steps === length, truncated: false, info: {} };
    },
    async close() {},
  };
}

const push = (size: number): Task['actions'] => ({
  name: 'y',
  shape: [size],
  dtype: 'float32',
  minimum: -1,
  maximum: 1,
});
const choice = (count: number): Task['actions'] => ({
  name: 'y',
  shape: [],
  dtype: 'int32',
  minimum: 0,
  maximum: count - 1,
});
const continuous: Task = { actions: push(1), best: (c) => c / 2, width: 1 };

const tasks: readonly (readonly [string, Task])[] = [
  ['episodes of one step', { ...continuous, length: 1 }],
  ['observations of scale 1e6, one of them constant', { ...continuous, observationScale: 1e6 }],
  ['observations of scale 1e-6', { ...continuous, observationScale: 1e-6 }],
  ['rewards of scale 1e6', { ...continuous, rewardScale: 1e6 }],
  ['rewards of scale 1e-6', { ...continuous, rewardScale: 1e-6 }],
  ['five action dimensions', { ...continuous, actions: push(5) }],
  ['1,000 discrete actions', { actions: choice(1000), best: (c) => 500 + 250 * c, width: 500 }],
  ['one action', { actions: choice(1), best: () => 0, width: 1 }],
];

/** The mean reward of a step after training, over its scale. */
async function meanReward(task: Task): Promise<number> {
  const { length = 5, rewardScale = 1 } = task;
  const scores = await trainByDefault({
    connect: async () => contexts(task),
    steps: 2500,
    overrides: [
      'policy.hidden=[32, 32]',
      'critic.hidden=[32, 32]',
      'learner.warmupSteps=300',
      'learner.batchSize=64',
      'learner.stepsPerUpdate=2',
    ],
  });
  return mean(scores) / length / rewardScale;
}

describe('the default settings learn', () => {
  // The best constant action scores 0.75, a random one much less.
  it.each(tasks)('a task with %s', { timeout: 120_000 }, async (_, task) => {
    expect(await meanReward(task)).toBeGreaterThan(0.9);
  });
});
