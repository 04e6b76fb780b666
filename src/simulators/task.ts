import type { RandomKey } from '../core/random-keys.js';
import type { Physics } from './physics.js';

/** Named observations, each a vector: the length is fixed by the first one. */
export type Observations = Readonly<Record<string, readonly number[] | Float64Array>>;

/** What a model is asked to do, bound to one `Physics`. Holds no state of its own beyond indices into the model. */
export interface Task {
  /** Sets the first state of an episode from `key` alone; `physics` has just been reset. */
  initialize(key: RandomKey): void;
  observe(): Observations;
  /** In [0, 1], of the state that the last step led to and the controls that led there. */
  reward(): number;
}

/** A model and a task on it. */
export interface TaskDefinition {
  readonly name: string;
  readonly description: string;
  /** The model, MJCF. */
  readonly mjcf: string;
  /** Physics timesteps for each control step. */
  readonly substeps: number;
  /** Binds the task to a model loaded from `mjcf`. */
  bind(physics: Physics): Task;
}
