import type { ActionScaler } from './flatten.js';
import type { ByteRange, ObservationFlattener } from './observation-layout.js';

/**
 * K environments of one kind, flattened and scaled for a learner: the observation of each becomes one float32 vector
 * (`flattenObservations`), and actions are canonical, −1 … 1 in each dimension (`scaleActions`).
 * Shapes: K environments, O observation size, A action dimensions.
 */
export interface VectorEnvironment {
  /** K */
  readonly numEnvs: number;
  /** O */
  readonly observationSize: number;
  /** The named observations in the order of the vector, and what people should know of them. */
  readonly observationLayout: Pick<ObservationFlattener, 'parts' | 'notes'>;
  /** Where the vector of an observation holds bytes, in ascending order. */
  readonly byteRanges: readonly ByteRange[];
  /** The named actions in the order of the vector; absent where they are not known. */
  readonly actionLayout?: ActionScaler['parts'];
  /** A */
  readonly actionSize: number;
  /** The action that canonical −1 means in each dimension, in the environment's own units, [A]. */
  readonly actionMinimum: Float32Array;
  /** The action that canonical 1 means, [A]. */
  readonly actionMaximum: Float32Array;
  /** The number of values in each action dimension, evenly spaced; 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
  /** The simulator steps for which an action is held; the steps of `VectorStep` are its repetitions together. */
  readonly actionRepeat: number;
  /** Starts episode 0 of every environment, or the first one after it that is not over at its reset. */
  reset(): Promise<VectorReset>;
  /**
   * Steps every environment with actions [K, A], each held for `actionRepeat` simulator steps or until the episode ends, and resets
   * those whose episode ends. Without lockstep, an environment that is still busy with its last step ignores its action, and the
   * call returns as soon as half of the environments have answered.
   * @throws PmpoError naming environment, episode and step, for an observation, a reward or a discount that cannot be learned from;
   *   PmpoError for specs that changed after a reconnection; ConnectionLostError when a connection cannot be restored;
   *   RequestFailedError when the simulator fails again and again; OutOfStepError for a server that sends surplus answers.
   */
  step(actions: Float32Array): Promise<VectorStep>;
  /** Verifies all steps so far; see `Environment.verifySteps`. @throws OutOfStepError if one cannot be trusted. */
  verifySteps(): Promise<void>;
  /**
   * The open episodes: all that `restore` needs to come back to this point. Call it between steps.
   * @param without the last step, if it is not to count: the episodes are then those before it.
   */
  state(without?: VectorStep): OpenEpisode[];
  /** Resets with the recorded seeds and replays the recorded actions. Returns observations [K, O]. */
  restore(episodes: readonly OpenEpisode[]): Promise<Float32Array>;
  /** Closes all environments. */
  close(): Promise<void>;
}

/** The result of a reset. */
export interface VectorReset {
  /** [K, O] */
  readonly observations: Float32Array;
  /** The episodes that were over at their reset, before the one that has begun. [K] */
  readonly emptyEpisodes: Int32Array;
}

/** The result of a step. Each step makes new arrays, which the caller may keep. */
export interface VectorStep {
  /**
   * 1 for an environment that has answered; always 1 in lockstep. For the others, which are still busy with an earlier step,
   * the entries below mean nothing. [K]
   */
  readonly ready: Uint8Array;
  /** The canonical actions that led to these results, [K, A]. */
  readonly actions: Float32Array;
  /** The observations to act on next: at the end of an episode, the first observation of the next. [K, O] */
  readonly currentObservations: Float32Array;
  /** s_{t+1}: the observations that this step led to. They differ from `currentObservations` only at the end of an episode. [K, O] */
  readonly nextObservations: Float32Array;
  /** The undiscounted sum of the rewards of the repeated action. [K] */
  readonly rewards: Float64Array;
  /** d: the product of the discounts of the repeated action; see `Step.discount`. [K] */
  readonly discounts: Float64Array;
  /** 1 if the episode ended in a terminal state. [K] */
  readonly terminated: Uint8Array;
  /** 1 if the episode was cut off. [K] */
  readonly truncated: Uint8Array;
  /**
   * 1 if the connection was lost in this step, or the simulator failed. There is then no transition: reward and next observation
   * mean nothing, the open episode counts as truncated at its last good step, and `currentObservations` is the first one of a
   * fresh episode. [K]
   */
  readonly lost: Uint8Array;
  /** Failures of the simulator in this step and in the resets after it. [K] */
  readonly failures: Int32Array;
  /** The simulator steps that were taken: `actionRepeat`, unless the episode has ended before. [K] */
  readonly simulatorSteps: Int32Array;
  /** After the end of an episode: the episodes that were over at their reset, before the one that has begun. [K] */
  readonly emptyEpisodes: Int32Array;
}

/** An episode as far as it has been played. */
export interface OpenEpisode {
  /** The number of this environment's earlier episodes. */
  readonly episode: number;
  readonly seed: number;
  /** Canonical actions since the reset, [steps, A]. */
  readonly actions: Float32Array;
}
