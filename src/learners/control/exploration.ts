import { fillUniform, foldIn, type RandomKey } from '../../core/random-keys.js';
import type { HostTensor, NamedHostTensors } from '../../engine/tensors.js';
import { ActingNoise, type ExplorationNoise, noiseProcesses } from './acting-noise.js';
import { hasIntegers } from './action-units.js';
import { integerAction, randomActions } from './noise.js';

/**
 * How acting explores, beside the noise that the policy itself is sampled with: a share of the steps has random actions, in each
 * environment another one. Shapes: K environments, A action dimensions.
 */

/** The kinds of action dimensions, which explore in ways of their own. */
type ActionKind = 'integer' | 'continuous';

/**
 * ε of the first environment if the configuration does not set it, and the decline c of ε over the environments.
 *
 * Continuous actions have none by default. On `reacher`, where a policy that has come to rest beside a target never learns to reach it,
 * random pushes may help. On `cartpole_swingup` they gained nothing, and a walker falls by them (docs/mathematics.md).
 */
const ladders: Readonly<Record<ActionKind, { readonly epsilon: number; readonly decline: number }>> = {
  integer: { epsilon: 0.4, decline: 7 },
  continuous: { epsilon: 0, decline: 1 },
};

/**
 * The share of steps with random actions in each of K environments, [K]: ε_k = ε^(1 + c·k/(K−1)). c is 7 for integers, as in Ape-X
 * (arXiv 1803.00933, section 4.1). A policy soon takes few other actions than the best that it knows. Some environments that explore on
 * find what needs several unlikely actions in a row, while the others see what the policy leads to. Of continuous actions most random
 * ones change little, and c is 1.
 */
export function explorationEpsilons(
  setting: number | undefined,
  kind: ActionKind,
  numEnvs: number,
): number[] {
  const { epsilon, decline } = ladders[kind];
  return Array.from({ length: numEnvs }, (_, k) => {
    const place = numEnvs === 1 ? 0.5 : k / (numEnvs - 1);
    return (setting ?? epsilon) ** (1 + decline * place);
  });
}

/** The steps in which ε falls to each environment's own, as a multiple of the warm-up's. */
const annealedWarmUps = 3;

/**
 * ε of integers in each environment after `steps` steps of a policy, [K]: it falls linearly from 1, as in DQN, in three times as many
 * steps as the warm-up has. What needs several unlikely actions in a row is found while the policy is still undecided, or hardly ever.
 * The length of the run plays no part, so that ε stays where it is when a run is extended.
 */
export function annealedEpsilons(
  epsilons: readonly number[],
  steps: number,
  warmupSteps: number,
): readonly number[] {
  const window = annealedWarmUps * warmupSteps;
  if (steps >= window) return epsilons;
  return epsilons.map((epsilon) => (epsilon === 0 ? 0 : Math.max(epsilon, 1 - steps / window)));
}

/**
 * Canonical actions [K, A] in which environment k has, with probability ε_k, uniformly random values in place of all its integers.
 * @param epsilons [K]
 * @param actionValues the number of values of each dimension, 0 for a continuous one, [A]
 */
export function withRandomIntegers(
  actions: Float32Array,
  epsilons: readonly number[],
  actionValues: ArrayLike<number>,
  key: RandomKey,
): Float32Array {
  if (epsilons.every((epsilon) => epsilon === 0)) return actions;
  const explores = fillUniform(foldIn(key, 'explores'), new Float32Array(epsilons.length));
  const values = fillUniform(foldIn(key, 'values'), new Float32Array(actions.length));
  const size = actionValues.length;
  return actions.map((action, i) => {
    const k = Math.floor(i / size);
    const count = actionValues[i % size];
    return explores[k] < epsilons[k] && count > 0 ? integerAction(values[i], count) : action;
  });
}

/** The most steps for which a random push is held. */
const longestPush = 100;

/** P(n), the share of pushes that are held for n steps, proportional to 1/n², for n from 1 to `longestPush`. */
const pushShares = (() => {
  const weights = Array.from({ length: longestPush }, (_, i) => 1 / (i + 1) ** 2);
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
})();

/** Steps for which a push is held, on average. */
const meanPush = pushShares.reduce((sum, share, i) => sum + share * (i + 1), 0);

/** The number of steps n of which the distribution function first exceeds `u`, which is within [0, 1). */
function pushLength(u: number): number {
  let below = 0;
  const index = pushShares.findIndex((share) => {
    below += share;
    return u < below;
  });
  return index < 0 ? longestPush : index + 1;
}

/**
 * Random values of the continuous dimensions that are held for several steps (εz-greedy, Dabney et al., arXiv 2006.01782): a random
 * action of one step moves a mechanism hardly at all, and a policy that has come to rest undoes it. Most pushes are short, and some last
 * long enough to carry it somewhere else.
 */
export class RandomPushes {
  readonly #actionValues: ArrayLike<number>;
  readonly #key: RandomKey;
  /** The steps that each environment's push still lasts, [K]. */
  readonly #left: Float32Array;
  /** The values of the push, [K, A]. */
  readonly #held: Float32Array;

  /** @param actionValues the number of values of each dimension, 0 for a continuous one, [A] */
  constructor(numEnvs: number, actionValues: ArrayLike<number>, key: RandomKey) {
    this.#actionValues = actionValues;
    this.#key = key;
    this.#left = new Float32Array(numEnvs);
    this.#held = new Float32Array(numEnvs * actionValues.length);
  }

  /**
   * Advances to acting step `step`, and returns `actions` [K, A] with the pushes of this step in place of continuous values.
   * @param epsilons the share of steps that are part of a push, [K]
   */
  apply(actions: Float32Array, epsilons: readonly number[], step: number): Float32Array {
    const key = foldIn(this.#key, step);
    const size = this.#actionValues.length;
    const draws = fillUniform(key, new Float32Array(2 * epsilons.length));
    const values = fillUniform(foldIn(key, 'values'), new Float32Array(actions.length));
    for (const [k, epsilon] of epsilons.entries()) {
      // Between two pushes lie 1/p − 1 steps on average, where p is the probability that a push begins.
      const begins = epsilon / (epsilon + (1 - epsilon) * meanPush);
      if (this.#left[k] > 0 || draws[2 * k] >= begins) continue;
      this.#left[k] = pushLength(draws[2 * k + 1]);
      for (let i = k * size; i < (k + 1) * size; i++) this.#held[i] = 2 * values[i] - 1;
    }
    const pushed = actions.map((action, i) =>
      this.#left[Math.floor(i / size)] > 0 && this.#actionValues[i % size] === 0 ? this.#held[i] : action,
    );
    for (let k = 0; k < epsilons.length; k++) this.#left[k] = Math.max(0, this.#left[k] - 1);
    return pushed;
  }

  /** The state that `restore` continues from: the steps left and the values of each push, [K, 1 + A]. */
  snapshot(): HostTensor {
    const size = this.#actionValues.length;
    const data = new Float32Array(this.#left.length * (1 + size));
    this.#left.forEach((left, k) => {
      data[k * (1 + size)] = left;
      data.set(this.#held.subarray(k * size, (k + 1) * size), k * (1 + size) + 1);
    });
    return { shape: [this.#left.length, 1 + size], data };
  }

  restore({ data }: HostTensor): void {
    const size = this.#actionValues.length;
    this.#left.forEach((_, k) => {
      this.#left[k] = data[k * (1 + size)];
      this.#held.set((data as Float32Array).subarray(k * (1 + size) + 1, (k + 1) * (1 + size)), k * size);
    });
  }
}

/** The settings of exploration. */
export interface ExplorationSettings extends ExplorationNoise {
  readonly warmupSteps: number;
  /** ε of the first environment; absent: the default of each kind of action. */
  readonly explorationEpsilon?: number;
}

/** The exploration of K environments: the noise of the policy, and random actions. */
export class Exploration {
  readonly #warmupSteps: number;
  readonly #actionValues: ArrayLike<number>;
  readonly #noise: ActingNoise;
  /** ε of integers in each environment, [K]: 0 if there are none. */
  readonly #integerEpsilons: readonly number[];
  readonly #integerKey: RandomKey;
  /** ε of continuous actions in each environment, [K]. */
  readonly #pushEpsilons: readonly number[];
  /** Absent if no continuous action is ever random. */
  readonly #pushes?: RandomPushes;

  constructor(
    settings: ExplorationSettings,
    numEnvs: number,
    actionValues: ArrayLike<number>,
    key: RandomKey,
  ) {
    const { warmupSteps, explorationEpsilon } = settings;
    this.#warmupSteps = warmupSteps;
    this.#actionValues = actionValues;
    this.#noise = new ActingNoise(numEnvs, noiseProcesses(settings, actionValues), key);
    this.#integerEpsilons = explorationEpsilons(
      hasIntegers(actionValues) ? explorationEpsilon : 0,
      'integer',
      numEnvs,
    );
    this.#integerKey = foldIn(key, 'epsilon');
    this.#pushEpsilons = explorationEpsilons(explorationEpsilon, 'continuous', numEnvs);
    if (Array.from(actionValues).includes(0) && this.#pushEpsilons.some((epsilon) => epsilon > 0)) {
      this.#pushes = new RandomPushes(numEnvs, actionValues, foldIn(key, 'pushes'));
    }
  }

  /**
   * The canonical actions of an acting step, [K, A].
   * @param index the step's number, which determines its randomness.
   * @param steps environment steps that count towards the warm-up, during which all actions are random.
   * @param act the policy's actions [K, A] for standard normal noise z [K, A].
   */
  async actions(
    index: number,
    steps: number,
    act: (z: Float32Array) => Promise<Float32Array>,
  ): Promise<Float32Array> {
    const z = this.#noise.advance(index);
    const policySteps = steps - this.#warmupSteps;
    if (policySteps < 0) return randomActions(z, this.#actionValues);
    const epsilons = annealedEpsilons(this.#integerEpsilons, policySteps, this.#warmupSteps);
    const key = foldIn(this.#integerKey, index);
    const actions = withRandomIntegers(await act(z), epsilons, this.#actionValues, key);
    return this.#pushes?.apply(actions, this.#pushEpsilons, index) ?? actions;
  }

  /** The state that `restore` continues from. */
  snapshot(): NamedHostTensors {
    return { noise: this.#noise.snapshot(), ...(this.#pushes && { pushes: this.#pushes.snapshot() }) };
  }

  /** @param tensors of the names and shapes of `snapshot`. */
  restore({ noise, pushes }: NamedHostTensors): void {
    this.#noise.restore(noise);
    this.#pushes?.restore(pushes);
  }
}
