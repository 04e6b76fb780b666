import type { SamplingSettings } from '../../language/language-model.js';
import type { CopyRule } from '../schedule.js';

/** The settings of a language learner: plain data without defaults. */
export interface LanguageLearnerConfig {
  /** Determines everything random in the job, except what samplers draw by themselves. */
  readonly seed: number;
  /** KL(reference ‖ policy): exact over the vocabulary, or the mean of log π_ref − log π_θ over the samples. */
  readonly kl: 'exact' | 'sampled';
  /**
   * The share of its probability under the reference at which a rejected completion is pushed down no further, for completions that the
   * reference has not drawn, and an operator whose needs say that it rejects the reference's own samples. Absent: there is no floor.
   */
  readonly rejectedFloor?: number;
  /** How completions of held-out prompts are sampled. Completions to learn from come from the batch source. */
  readonly sampling: SamplingSettings;
  /** How the reference follows the policy: copied every `period` updates, a moving average, or never. */
  readonly reference: CopyRule | 'initial';
  readonly learner: {
    /** Updates of the whole job. */
    readonly updates: number;
    /** N, the largest number of completions of a prompt. */
    readonly samples: number;
    /** Learning rate of the model's Adam. */
    readonly learningRate: number;
    /** Learning rate of the operator's state. */
    readonly stateLearningRate: number;
    /** Share of the job after which the learning rate falls linearly, to a twentieth at the end; 1: never. */
    readonly decayFrom: number;
    /** The mean KL(reference ‖ policy) of a batch, nats, beyond which the job ends with a checkpoint; absent: it goes on. */
    readonly maxKl?: number;
    /** Gradients are scaled down to this norm. */
    readonly maxGradientNorm: number;
    /** Whether to sample the next batch during an update after which the reference stays the same. */
    readonly overlap: boolean;
  };
  readonly evaluation: {
    /** Updates between evaluations. One more is made at the start and one at the end. */
    readonly every: number;
    /** Completions of each held-out prompt. */
    readonly completions: number;
  };
  readonly checkpoint: {
    /** Updates between checkpoints. */
    readonly every: number;
  };
}
