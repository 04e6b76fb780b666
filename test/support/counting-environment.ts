import type { Environment, NamedSpecs, Step } from '../../src/environments/environment.js';

/** Options of an environment that counts its steps, and can misbehave. */
export interface CountingEnvironmentOptions {
  /** The steps of an episode. */
  readonly length?: number;
  readonly end?: 'terminated' | 'truncated';
  /** Changes the step count in an observation. */
  readonly observe?: (count: number) => number;
  /** Whether the seed and the sum of the actions are 0 in every observation. */
  readonly showsOnlyCount?: boolean;
  readonly reward?: (count: number) => number;
  /** The discount of each step; undefined: none is given. */
  readonly discount?: (count: number) => number | undefined;
  /** Whether the episode of a seed is over at its reset. */
  readonly isEmpty?: (seed: number) => boolean;
  /** The error, if any, that a step raises; step 0 is the reset. */
  readonly fail?: (seed: number, count: number) => Error | undefined;
  readonly specs?: NamedSpecs;
  readonly onClose?: () => void;
}

/** An environment whose observation is (seed of the episode, steps since the reset, sum of the actions). */
export function countingEnvironment({
  length = 5,
  end = 'truncated',
  observe = (count) => count,
  showsOnlyCount = false,
  reward = (count) => count,
  discount = () => undefined,
  isEmpty = () => false,
  fail = () => undefined,
  specs = { state: { name: 'state', shape: [3], dtype: 'float32' } },
  onClose = () => {},
}: CountingEnvironmentOptions = {}): Environment {
  let seed = 0;
  let count = 0;
  let sum = 0;
  const observation = () => {
    const data = Float32Array.of(showsOnlyCount ? 0 : seed, observe(count), showsOnlyCount ? 0 : sum);
    return { state: { dtype: 'float32' as const, shape: [3], data } };
  };
  return {
    observationSpec: specs,
    actionSpec: { push: { name: 'push', shape: [1], dtype: 'float32', minimum: -1, maximum: 1 } },
    async reset(options = {}) {
      seed = options.seed ?? -1;
      count = 0;
      sum = 0;
      const error = fail(seed, 0);
      if (error !== undefined) throw error;
      return { observation: observation(), info: {}, terminated: isEmpty(seed) };
    },
    async step(action): Promise<Step> {
      count += 1;
      const error = fail(seed, count);
      if (error !== undefined) throw error;
      sum += Number(action.push.data[0]);
      const over = count === length;
      return {
        observation: observation(),
        reward: reward(count),
        discount: discount(count),
        terminated: over && end === 'terminated',
        truncated: over && end === 'truncated',
        info: {},
      };
    },
    async close() {
      onClose();
    },
  };
}
