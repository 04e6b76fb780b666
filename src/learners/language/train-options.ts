import type { Engine } from '../../engine/engine.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { LanguageModel } from '../../language/language-model.js';
import type { Reward } from '../../language/rewards/reward.js';
import type { TrainableModel } from '../../language/trainable-model.js';
import type { Operator } from '../../operators/operator.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { LearnerObserver } from '../../run/observer.js';
import type { EvaluationRecord, LanguageEvaluation } from '../../run/records.js';
import type { BatchSource, Prompt } from './batch.js';
import type { LanguageLearnerConfig } from './config.js';

/** What a language job is given, and what it gives back. */

/** The models that sample: the reference to learn from, the policy to evaluate. One server may do both in turn. */
export interface Samplers {
  readonly reference: LanguageModel;
  readonly policy: LanguageModel;
  /**
   * Loads the reference's weights into `reference`.
   * @param changed whether the reference has changed since the last call.
   */
  publishReference(changed: boolean): Promise<void>;
  /** Loads the policy's weights into `policy`. */
  publishPolicy(): Promise<void>;
}

/**
 * Compares the completions of an evaluation with those of the model before training, on the same prompts and in the same order.
 * @returns metrics to record.
 * @throws PmpoError if the judge fails, which ends no training, and any error if it is stopped by the signal.
 */
export type HeldOutJudge = (
  policy: LanguageEvaluation,
  base: LanguageEvaluation,
  signal?: AbortSignal,
) => Promise<Readonly<Record<string, number>>>;

/** What `trainLanguage` needs. */
export interface TrainLanguageOptions {
  readonly config: LanguageLearnerConfig;
  /** Computes the operator's loss and its gradient, and owns the operator's state. */
  readonly engine: Engine;
  /** The model to improve. */
  readonly model: TrainableModel;
  readonly samplers: Samplers;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** The classifier's name in error messages; default: `custom`. */
  readonly classifierName?: string;
  /** The batches to learn from. If it samples completions, they must come from `samplers.reference`. */
  readonly source: BatchSource;
  /** Prompts for evaluations, and what evaluates their completions. Absent if nothing can (a data set of labels). */
  readonly heldOut?: {
    readonly prompts: readonly Prompt[];
    readonly reward: Reward;
    readonly judge?: HeldOutJudge;
  };
  /** Metrics of held-out data, which are recorded at each evaluation. */
  readonly heldOutMetrics?: () => Promise<Readonly<Record<string, number>>>;
  /** Receives metrics, evaluations, checkpoints and notices. */
  readonly observer: LanguageObserver;
  /** The checkpoint to resume from. Absent: the job starts from the model's initial weights. */
  readonly resume?: Checkpoint;
  /** When aborted, the job saves a checkpoint and returns. */
  readonly signal?: AbortSignal;
  /** Milliseconds from any starting point. */
  readonly clock: () => number;
}

/** Receives what a language learner reports, its held-out completions included. */
export interface LanguageObserver extends LearnerObserver {
  /** Keeps the completions of an evaluation. */
  completions(evaluation: LanguageEvaluation): Promise<void>;
  /** The completions of the evaluation after `updates` updates, if they were kept. */
  completionsAt(updates: number): Promise<LanguageEvaluation | undefined>;
  /** A name for the model of checkpoint number `index`. It is saved in the checkpoint, because a folder may be moved. */
  modelName(index: number): string;
  /** The folder of the model with that name. */
  modelFolder(name: string): string;
}

/** The outcome of `trainLanguage`. */
export interface TrainLanguageResult {
  /** Completions learned from. */
  readonly samples: number;
  readonly updates: number;
  readonly wallSeconds: number;
  /** The last evaluation; it has no scores if there was none. */
  readonly evaluation: EvaluationRecord;
  readonly interrupted: boolean;
}
