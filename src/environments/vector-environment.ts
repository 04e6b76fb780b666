/**
 * K worlds, flattened and scaled for a learner: observations become one float32 vector (the spec's names
 * in sorted order), actions are canonical (−1 … 1 in each dimension, clipped, scaled to the spec's bounds).
 * Letters: K worlds, O observation size, A action dimensions.
 */
export interface VectorEnvironment {
  /** K */
  readonly numEnvs: number;
  readonly observationSize: number;
  readonly actionSize: number;
  /** Bounds of each action dimension in the environment's own units, [A]: what −1 and 1 stand for. */
  readonly actionMinimum: Float32Array;
  readonly actionMaximum: Float32Array;
  /** How many values each action dimension takes, equally far apart; 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
  /** Starts episode 0 of every world; returns observations [K, O]. */
  reset(): Promise<Float32Array>;
  /**
   * Steps every world with actions [K, A]; worlds whose episode ends are reset at once. Where the worlds do not go in
   * lockstep, only those that are not under way are given their action, and half of the worlds suffice to return.
   * @throws PmpoError naming world, episode and step for NaN or infinity, for a spec that changed, for a connection that stays lost.
   */
  step(actions: Float32Array): Promise<VectorStep>;
  /** What is needed to come back to this very point: the open episodes. Call between steps. */
  state(): OpenEpisode[];
  /** Comes back to it: resets with the recorded seeds and replays the recorded actions. Returns observations [K, O]. */
  restore(episodes: readonly OpenEpisode[]): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Fresh arrays at each step: the caller may keep them. */
export interface VectorStep {
  /**
   * 1 where the world has answered. What stands at the others means nothing, and the next action given for them is not
   * sent: they are still at the one before. Always 1 in lockstep. [K]
   */
  readonly ready: Uint8Array;
  /** The canonical actions that these are the results of, [K, A]. */
  readonly actions: Float32Array;
  /** What the next action is chosen on: after an episode's end, the first observation of the next. [K, O] */
  readonly observations: Float32Array;
  /** The observation that this step led to: differs from `observations` only where an episode ended. [K, O] */
  readonly finalObservations: Float32Array;
  /** [K] */
  readonly rewards: Float32Array;
  /** 1 where the episode ended in a terminal state. [K] */
  readonly terminated: Uint8Array;
  /** 1 where it was cut. [K] */
  readonly truncated: Uint8Array;
  /**
   * 1 where the connection was lost in this step: there is no transition (reward and final observation mean nothing), the
   * episode before it counts as truncated at its last good step, and `observations` starts a fresh one. [K]
   */
  readonly lost: Uint8Array;
}

export interface OpenEpisode {
  /** How many episodes this world has begun before this one. */
  readonly episode: number;
  readonly seed: number;
  /** Canonical actions since the reset, [steps, A]. */
  readonly actions: Float32Array;
}
