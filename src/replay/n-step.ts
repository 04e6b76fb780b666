import type { NamedHostTensors } from '../engine/tensors.js';

/**
 * Turns the steps of K interleaved worlds into n-step transitions. Letters: K worlds, O observation size, A action
 * dimensions, n the length of a return.
 */

/** (x_t, y_t, Σ_i γ^i r_{t+i}, γ^m or 0, x_{t+m}) with m ≤ n. The arrays are only valid during the call. */
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
  readonly steps: number;
  readonly discount: number;
}

/** How a world's step ended; `lost` means that there was no step: the connection broke. */
export interface StepEnd {
  readonly terminated: boolean;
  readonly truncated: boolean;
  readonly lost: boolean;
}

/** Windows of the last steps of each world, from which returns are made once n steps are known or the episode ends. */
export class NStepWindows {
  readonly #shape: NStepShape;
  readonly #observations: Float32Array;
  readonly #actions: Float32Array;
  readonly #rewards: Float32Array;
  readonly #lengths: Int32Array;

  constructor(shape: NStepShape) {
    this.#shape = shape;
    const entries = shape.numEnvs * shape.steps;
    this.#observations = new Float32Array(entries * shape.observationSize);
    this.#actions = new Float32Array(entries * shape.actionSize);
    this.#rewards = new Float32Array(entries);
    this.#lengths = new Int32Array(shape.numEnvs);
  }

  /**
   * Takes in one step of one world and hands over every transition that it completes. At an episode's end the open ones
   * are completed with what there is: a terminal state's value is 0, that of a cut episode's last observation still
   * counts. No transition joins two episodes.
   *
   * @param observation the one acted on, [O]
   * @param nextObservation the one reached, [O]; not read when the step was lost
   */
  step(
    world: number,
    observation: Float32Array,
    action: Float32Array,
    reward: number,
    nextObservation: Float32Array,
    { terminated, truncated, lost }: StepEnd,
    sink: TransitionSink,
  ): void {
    if (lost) {
      // The last good step led to the observation that the lost action was chosen on.
      this.#flush(world, observation, false, sink);
      return;
    }
    this.#push(world, observation, action, reward);
    if (terminated || truncated) {
      this.#flush(world, nextObservation, terminated, sink);
    } else if (this.#lengths[world] === this.#shape.steps) {
      this.#emitOldest(world, nextObservation, false, sink);
      this.#dropOldest(world);
    }
  }

  /** Forgets a world's open steps. */
  clear(world: number): void {
    this.#lengths[world] = 0;
  }

  #push(world: number, observation: Float32Array, action: Float32Array, reward: number): void {
    const { steps, observationSize, actionSize } = this.#shape;
    const entry = world * steps + this.#lengths[world];
    this.#observations.set(observation, entry * observationSize);
    this.#actions.set(action, entry * actionSize);
    this.#rewards[entry] = reward;
    this.#lengths[world] += 1;
  }

  #flush(world: number, lastObservation: Float32Array, terminated: boolean, sink: TransitionSink): void {
    while (this.#lengths[world] > 0) {
      this.#emitOldest(world, lastObservation, terminated, sink);
      this.#dropOldest(world);
    }
  }

  #emitOldest(world: number, next: Float32Array, terminated: boolean, sink: TransitionSink): void {
    const { steps, observationSize: o, actionSize: a, discount } = this.#shape;
    const first = world * steps;
    const length = this.#lengths[world];
    let nStepReturn = 0;
    for (let i = length - 1; i >= 0; i--) nStepReturn = this.#rewards[first + i] + discount * nStepReturn;
    sink(
      this.#observations.subarray(first * o, (first + 1) * o),
      this.#actions.subarray(first * a, (first + 1) * a),
      nStepReturn,
      terminated ? 0 : discount ** length,
      next,
    );
  }

  #dropOldest(world: number): void {
    const { steps, observationSize: o, actionSize: a } = this.#shape;
    const [first, last] = [world * steps, (world + 1) * steps];
    this.#observations.copyWithin(first * o, (first + 1) * o, last * o);
    this.#actions.copyWithin(first * a, (first + 1) * a, last * a);
    this.#rewards.copyWithin(first, first + 1, last);
    this.#lengths[world] -= 1;
  }

  /** The open windows, for a checkpoint. */
  snapshot(): NamedHostTensors {
    const { numEnvs, steps, observationSize, actionSize } = this.#shape;
    return {
      observations: { shape: [numEnvs, steps, observationSize], data: this.#observations.slice() },
      actions: { shape: [numEnvs, steps, actionSize], data: this.#actions.slice() },
      rewards: { shape: [numEnvs, steps], data: this.#rewards.slice() },
      lengths: { shape: [numEnvs], data: this.#lengths.slice() },
    };
  }

  /** Takes a snapshot back; its shapes have been checked by the caller. */
  restore(snapshot: NamedHostTensors): void {
    this.#observations.set(snapshot.observations.data);
    this.#actions.set(snapshot.actions.data);
    this.#rewards.set(snapshot.rewards.data);
    this.#lengths.set(snapshot.lengths.data);
  }
}
