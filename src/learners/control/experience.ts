import type { Checkpoint } from '../../run/checkpoints.js';

/**
 * Where a learner's experience comes from: worlds of its own (own-worlds.ts), or actors elsewhere (remote-actors.ts). The
 * learner knows neither; it asks for more, learns while more is on its way, and takes it in.
 */
export interface Experience {
  readonly shape: ExperienceShape;
  /** Whether a checkpoint must exist before anything is gathered: for experience that others hold on to from then on. */
  readonly needsCheckpointAtStart: boolean;
  /** Starts afresh, or where a checkpoint left off. */
  begin(resume?: Checkpoint): Promise<void>;
  /**
   * Sets more on its way, resolving as soon as it is; updates run meanwhile. `arrived` resolves with a function that puts
   * what has come into the replay, and returns how many environment steps it was: 0 when there is nothing yet.
   */
  gather(progress: LearnerProgress): Promise<{ readonly arrived: Promise<() => number> }>;
  /** How many updates may have been made in all once `environmentSteps` steps have been taken in. */
  updatesAllowed(environmentSteps: number): number;
  /** How many belong to them when the run ends. */
  updatesDue(environmentSteps: number): number;
  /** What is needed to go on from here. Call between taking in and gathering. */
  snapshot(): ExperienceSnapshot;
  /** The last snapshot is safe on the disk. */
  saved(): Promise<void>;
  /** The run has all the experience that it wants, and a checkpoint with it. */
  end(): Promise<void>;
  close(): Promise<void>;
}

/** Letters: O observation size, A action dimensions. */
export interface ExperienceShape {
  readonly observationSize: number;
  readonly actionSize: number;
  /** What −1 and 1 of each action dimension stand for, [A]. */
  readonly actionMinimum: Float32Array;
  readonly actionMaximum: Float32Array;
  /** How many values each takes, 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
}

export interface LearnerProgress {
  readonly environmentSteps: number;
  readonly updates: number;
}

/** Parts of a checkpoint: tensors, and JSON values beside the learner's own counters and facts. */
export interface ExperienceSnapshot {
  readonly tensors: Checkpoint['tensors'];
  readonly counters: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}
