import type { RandomKey } from '../core/random-keys.js';
import type { Physics } from './physics.js';

/** Named observations. Each is a vector, whose length never changes. */
export type Observations = Readonly<Record<string, readonly number[] | Float64Array>>;

/** A task bound to one `Physics`. It has no state beyond indices into the model. */
export interface Task {
  /** Sets the first state of an episode, which depends on `key` alone. `physics` has just been reset. */
  initialize(key: RandomKey): void;
  /** The observations of the current state. */
  observe(): Observations;
  /** The reward in [0, 1] of the current state and of the controls that led to it. */
  reward(): number;
}

/** A model and a task for it. */
export interface TaskDefinition {
  readonly name: string;
  readonly description: string;
  /** The model, in MJCF. */
  readonly mjcf: string;
  /** Physics timesteps per control step. */
  readonly substeps: number;
  /** Binds the task to a model loaded from `mjcf`. */
  bind(physics: Physics): Task;
}
