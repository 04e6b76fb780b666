import type { Engine } from '../../engine/engine.js';
import type { EpisodeRecorder } from '../../environments/episode-recorder.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { Operator } from '../../operators/operator.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { LearnerObserver } from '../../run/observer.js';
import type { BestEvaluation, EvaluationRecord } from '../../run/records.js';
import type { ControlLearnerConfig } from './config.js';
import type { TrainedPolicy } from './policy.js';
import type { RemoteReplay } from './remote-actors.js';

/** What a control job is given, and what it gives back. */

/** What every job is given that learns a policy of actions. */
export interface PolicyJobOptions {
  /** Runs all numerical work, and owns the parameters. */
  readonly engine: Engine;
  /** Records an episode of each evaluation, which the observer receives. It has wrapped one of the evaluation's environments. */
  readonly recorder?: EpisodeRecorder;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** The classifier's name in error messages; default: `custom`. */
  readonly classifierName?: string;
  /** Receives metrics, evaluations, checkpoints and notices. */
  readonly observer: LearnerObserver;
  /** The checkpoint to resume from. Absent: the job starts from the beginning. */
  readonly resume?: Checkpoint;
  /** When aborted, the job saves a checkpoint and returns. */
  readonly signal?: AbortSignal;
  /** Milliseconds from any starting point. */
  readonly clock: () => number;
}

interface ControlJobOptions extends PolicyJobOptions {
  readonly config: ControlLearnerConfig;
  /** The environments in which the policy is evaluated. They stay open. */
  readonly evaluationEnvironment: VectorEnvironment;
}

/** The source of experience: one of the two. */
type ExperienceOptions =
  | {
      /** The K environments to learn in. They are closed at the end. */
      readonly environment: VectorEnvironment;
      readonly remote?: undefined;
    }
  | {
      readonly environment?: undefined;
      /** The transitions of actors in other processes, from environments like `evaluationEnvironment`. */
      readonly remote: RemoteReplay;
    };

/** What `trainControl` needs. */
export type TrainControlOptions = ControlJobOptions & ExperienceOptions;

/** What every job gives back that learns a policy of actions. */
export interface PolicyJobResult {
  readonly updates: number;
  readonly wallSeconds: number;
  /** The last evaluation; it has no returns without an environment, or if the job was interrupted before it. */
  readonly evaluation: EvaluationRecord;
  readonly interrupted: boolean;
  /** The policy as it is at the end, on the job's engine. */
  readonly policy: TrainedPolicy;
  /** The best evaluation; absent before the first one. */
  readonly best?: BestEvaluation;
  /** The policy that had the best evaluation, on the job's engine; absent if there was none or the job was interrupted. */
  readonly bestPolicy?: TrainedPolicy;
}

/** The outcome of `trainControl`. */
export interface TrainControlResult extends PolicyJobResult {
  readonly environmentSteps: number;
}
