import { ConnectionLostError, OutOfStepError, RequestFailedError, StoppedError } from '../../core/errors.js';
import type { ObservationFlattener } from '../../environments/observation-layout.js';
import { FeedbackError } from '../../feedback/checked-host.js';
import type { TransitionShape } from '../../replay/transition-shape.js';
import type { Checkpoint } from '../../run/checkpoints.js';

/**
 * Where a learner's experience comes from: environments in its own process (local-actors.ts) or actors elsewhere
 * (remote-actors.ts). The learner knows neither: it asks for more, learns while more is gathered, and records what arrives.
 */
export interface Experience {
  readonly shape: ExperienceShape;
  /** Whether a checkpoint must exist before anything is gathered, because others keep experience for it from then on. */
  readonly needsCheckpointAtStart: boolean;
  /** Starts from the beginning, or where a checkpoint left off. */
  begin(resume?: Checkpoint): Promise<void>;
  /** Starts gathering more, and resolves as soon as it has started; updates run meanwhile. */
  gather(progress: LearnerProgress): Promise<PendingExperience>;
  /**
   * Resolves once everything recorded is known to be right, as far as this process can find out.
   * @throws OutOfStepError if it cannot be trusted.
   */
  verify(): Promise<void>;
  /** Number of updates that may have been made in all once `environmentSteps` steps have been recorded. */
  updatesAllowed(environmentSteps: number): number;
  /** Number of updates due by the end of a run of `environmentSteps` steps. */
  updatesDue(environmentSteps: number): number;
  /** What is needed to resume from here. Call it between recording and gathering. */
  snapshot(): ExperienceSnapshot;
  /** Counts over the whole run, as metrics. */
  totals(): Readonly<Record<string, number>>;
  /** Called when the last snapshot is safe on the disk. */
  saved(): Promise<void>;
  /** Called when the run needs no more experience and its last checkpoint is safe. */
  end(): Promise<void>;
  close(): Promise<void>;
}

/** Experience that is being gathered. */
export interface PendingExperience {
  /** Resolves once the experience can be recorded, or at once if nothing has arrived. */
  readonly arrived: Promise<RecordExperience>;
}

/** Puts experience that has arrived into the replay. @returns the number of environment steps in it: 0 if nothing arrived. */
export type RecordExperience = () => number;

/** Sizes and units of transitions. Shapes: A action dimensions. */
export interface ExperienceShape extends TransitionShape {
  readonly observationLayout: Pick<ObservationFlattener, 'parts'>;
  /** The values of −1 and of 1 in each action dimension, in the environment's units, [A]. */
  readonly actionMinimum: Float32Array;
  readonly actionMaximum: Float32Array;
  /** Number of values that each action dimension takes, 0 for a continuous one, [A]. */
  readonly actionValues: Int32Array;
  /** Environment steps for which each action is held. */
  readonly actionRepeat: number;
}

/** How far the learner has come. */
export interface LearnerProgress {
  /** Environment steps recorded. */
  readonly environmentSteps: number;
  readonly updates: number;
}

/** The experience's part of a checkpoint: tensors, and JSON values beside the learner's own counters and metadata. */
export interface ExperienceSnapshot {
  readonly tensors: Checkpoint['tensors'];
  readonly counters: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Whether the simulators have failed, so that the learner is intact and a checkpoint is worth saving. */
export const isOfSimulators = (error: unknown): boolean =>
  error instanceof ConnectionLostError || error instanceof RequestFailedError;

/** Whether an update ended without a change because its classifier, which is plain code, failed or was stopped. */
export const isOfClassifier = (error: unknown): boolean =>
  error instanceof FeedbackError || error instanceof StoppedError;

/** Says of an error after which nothing can be trusted that it was not saved. */
export function unsaved(error: unknown): unknown {
  if (!(error instanceof OutOfStepError)) return error;
  const what = `${error.details.what}. What was learned since the last checkpoint may be wrong and is not saved`;
  return new OutOfStepError({ ...error.details, what, cause: error });
}
