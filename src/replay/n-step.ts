import type { NamedHostTensors } from '../engine/tensors.js';

/**
 * Turns the steps of K interleaved environments into n-step transitions. Shapes: K environments, O observation size, A action
 * dimensions, n the length of a return.
 */

/**
 * Receives a transition (x_t, y_t, Σ_i w_i r_{t+i}, w_m, x_{t+m}) with m ≤ n and w_i = Π_{j<i} γ d_{t+j}, where d is the discount that
 * the environment gave with each reward. The arrays are valid only during the call.
 */
export type TransitionSink = (
  observation: Float32Array,
  action: Float32Array,
  nStepReturn: number,
  discount: number,
  nextObservation: Float32Array,
) => void;

export interface NStepShape {
  readonly numEnvs: number;
  readonly observationSize: number;
  readonly actionSize: number;
  /** n */
  readonly steps: number;
  /** γ */
  readonly discount: number;
}

/** What a step brought. */
export interface StepOutcome {
  readonly reward: number;
  /** d, the weight of what follows, which multiplies γ: 0 after a terminal state, unless the environment gives another. */
  readonly discount: number;
  /** Whether the episode ended with this step. */
  readonly ended: boolean;
  /** Whether the episode was lost in this step, so that there is no reward and no next observation. */
  readonly lost: boolean;
}

/** Windows of the last steps of each environment. A return is computed once n steps are known or the episode ends. */
export class NStepWindows {
  readonly #shape: NStepShape;
  readonly #observations: Float32Array;
  readonly #actions: Float32Array;
  readonly #rewards: Float32Array;
  readonly #discounts: Float32Array;
  readonly #lengths: Int32Array;

  constructor(shape: NStepShape) {
    this.#shape = shape;
    const entries = shape.numEnvs * shape.steps;
    this.#observations = new Float32Array(entries * shape.observationSize);
    this.#actions = new Float32Array(entries * shape.actionSize);
    this.#rewards = new Float32Array(entries);
    this.#discounts = new Float32Array(entries);
    this.#lengths = new Int32Array(shape.numEnvs);
  }

  /**
   * Records one step of one environment and passes every transition that it completes to `sink`. The end of an episode
   * completes all open transitions with the rewards so far: the value of the last observation counts by the discounts, whether the
   * state is terminal or not. No transition joins two episodes.
   *
   * @param env index of the environment.
   * @param observation the observation that the action was chosen on, [O].
   * @param nextObservation the observation that the step led to, [O]; not read when the step was lost.
   */
  step(
    env: number,
    observation: Float32Array,
    action: Float32Array,
    { reward, discount, ended, lost }: StepOutcome,
    nextObservation: Float32Array,
    sink: TransitionSink,
  ): void {
    if (lost) {
      // The last good step led to the observation that the lost action was chosen on.
      this.#flush(env, observation, sink);
      return;
    }
    this.#push(env, observation, action, reward, discount);
    if (ended) {
      this.#flush(env, nextObservation, sink);
    } else if (this.#lengths[env] === this.#shape.steps) {
      this.#emitOldest(env, nextObservation, sink);
      this.#dropOldest(env);
    }
  }

  /** Discards an environment's open steps. */
  clear(env: number): void {
    this.#lengths[env] = 0;
  }

  #push(
    env: number,
    observation: Float32Array,
    action: Float32Array,
    reward: number,
    discount: number,
  ): void {
    const { steps, observationSize, actionSize } = this.#shape;
    const entry = env * steps + this.#lengths[env];
    this.#observations.set(observation, entry * observationSize);
    this.#actions.set(action, entry * actionSize);
    this.#rewards[entry] = reward;
    this.#discounts[entry] = discount;
    this.#lengths[env] += 1;
  }

  #flush(env: number, lastObservation: Float32Array, sink: TransitionSink): void {
    while (this.#lengths[env] > 0) {
      this.#emitOldest(env, lastObservation, sink);
      this.#dropOldest(env);
    }
  }

  #emitOldest(env: number, next: Float32Array, sink: TransitionSink): void {
    const { steps, observationSize: o, actionSize: a, discount: gamma } = this.#shape;
    const first = env * steps;
    const length = this.#lengths[env];
    let nStepReturn = 0;
    let weight = 1;
    for (let i = length - 1; i >= 0; i--) {
      const factor = gamma * this.#discounts[first + i];
      nStepReturn = this.#rewards[first + i] + factor * nStepReturn;
      weight *= factor;
    }
    sink(
      this.#observations.subarray(first * o, (first + 1) * o),
      this.#actions.subarray(first * a, (first + 1) * a),
      nStepReturn,
      weight,
      next,
    );
  }

  #dropOldest(env: number): void {
    const { steps, observationSize: o, actionSize: a } = this.#shape;
    const [first, last] = [env * steps, (env + 1) * steps];
    this.#observations.copyWithin(first * o, (first + 1) * o, last * o);
    this.#actions.copyWithin(first * a, (first + 1) * a, last * a);
    this.#rewards.copyWithin(first, first + 1, last);
    this.#discounts.copyWithin(first, first + 1, last);
    this.#lengths[env] -= 1;
  }

  /** The open windows, for a checkpoint. */
  snapshot(): NamedHostTensors {
    const { numEnvs, steps, observationSize, actionSize } = this.#shape;
    return {
      observations: { shape: [numEnvs, steps, observationSize], data: this.#observations.slice() },
      actions: { shape: [numEnvs, steps, actionSize], data: this.#actions.slice() },
      rewards: { shape: [numEnvs, steps], data: this.#rewards.slice() },
      discounts: { shape: [numEnvs, steps], data: this.#discounts.slice() },
      lengths: { shape: [numEnvs], data: this.#lengths.slice() },
    };
  }

  /** Restores a snapshot, whose shapes the caller has checked. */
  restore(snapshot: NamedHostTensors): void {
    this.#observations.set(snapshot.observations.data);
    this.#actions.set(snapshot.actions.data);
    this.#rewards.set(snapshot.rewards.data);
    this.#discounts.set(snapshot.discounts.data);
    this.#lengths.set(snapshot.lengths.data);
  }
}
