import type { Environment, NamedSpecs, Step } from '../../src/environments/environment.js';

/** A world for tests of what surrounds worlds: it counts, and does wrong what it is told to do wrong. */
export interface CountingWorldOptions {
  /** Steps of an episode. */
  readonly length?: number;
  readonly end?: 'terminated' | 'truncated';
  /** Changes an observation on its way out. */
  readonly observe?: (count: number) => number;
  readonly reward?: (count: number) => number;
  readonly specs?: NamedSpecs;
  readonly onClose?: () => void;
}

/** Its observation is (seed of the episode, steps since the reset, sum of the actions). */
export function countingWorld({
  length = 5,
  end = 'truncated',
  observe = (count) => count,
  reward = (count) => count,
  specs = { state: { name: 'state', shape: [3], dtype: 'float32' } },
  onClose = () => {},
}: CountingWorldOptions = {}): Environment {
  let seed = 0;
  let count = 0;
  let sum = 0;
  const observation = () => ({
    state: { dtype: 'float32' as const, shape: [3], data: Float32Array.of(seed, observe(count), sum) },
  });
  return {
    observationSpec: specs,
    actionSpec: { push: { name: 'push', shape: [1], dtype: 'float32', minimum: -1, maximum: 1 } },
    async reset(options = {}) {
      seed = options.seed ?? -1;
      count = 0;
      sum = 0;
      return { observation: observation(), info: {} };
    },
    async step(action): Promise<Step> {
      count += 1;
      sum += Number(action.push.data[0]);
      const over = count === length;
      return {
        observation: observation(),
        reward: reward(count),
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
