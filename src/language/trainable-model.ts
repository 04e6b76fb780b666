import type { LanguageModel } from './language-model.js';

/**
 * A language model whose parameters can be improved: the policy, beside its reference. It knows no operator: a loss reaches it
 * as the factors by which the gradients of log-probs and divergences are multiplied (proto/pmpo/v1/trainer.proto). Letters: S
 * sequences, T_i tokens of the completion of sequence i, V vocabulary.
 */
export interface TrainableModel {
  readonly info: TrainableModelInfo;
  /** Samples from the weights that were last published: at first the reference's. */
  readonly sampler: LanguageModel;
  /** Changes nothing. @throws PmpoError when a sequence is longer than the context or a number is not finite. */
  score(sequences: readonly TokenSequence[], what: ScoreParts): Promise<readonly SequenceScore[]>;
  /**
   * Adds the gradient of Σ_i coefficient_i · term_i to what is accumulated.
   * @returns the scores at the parameters that the gradient was taken at: log-probs, and the divergences that have coefficients.
   */
  forwardBackward(
    sequences: readonly TokenSequence[],
    coefficients: readonly SequenceCoefficients[],
  ): Promise<readonly SequenceScore[]>;
  /** One step of Adam with the accumulated gradient, which is 0 afterwards. */
  optimStep(options: {
    readonly learningRate: number;
    readonly maxGradientNorm?: number;
  }): Promise<{ readonly gradientNorm: number }>;
  /** reference ← policy, or with a rate τ: reference ← (1 − τ) · reference + τ · policy. */
  copyReference(rate?: number): Promise<void>;
  /** From now on `sampler` has the reference's weights, or the policy's. */
  publish(which: 'reference' | 'policy'): Promise<void>;
  /** Writes the policy into a folder, as a model that others load. Folders of a trainer elsewhere are below its own. */
  exportPolicy(folder: string): Promise<void>;
  /** Writes policy, reference and optimizer into a folder, or reads them back. */
  save(folder: string): Promise<void>;
  load(folder: string): Promise<void>;
  /** Policy, reference, published weights, optimizer and count of steps as they were at the beginning. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export interface TrainableModelInfo {
  readonly name: string;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly vocabularyHash: string;
  readonly trainableParameters: number;
  /** Optimizer steps made. */
  readonly steps: number;
}

/** A prompt and a completion as tokens; neither is empty. */
export interface TokenSequence {
  readonly prompt: Int32Array;
  readonly completion: Int32Array;
}

export interface ScoreParts {
  readonly policy?: boolean;
  readonly reference?: boolean;
  readonly kl?: boolean;
  readonly reverseKl?: boolean;
}

/** Of one sequence, nats, [T_i] each; what was not asked for is absent. */
export interface SequenceScore {
  /** log π_θ(y_t | x, y_<t). */
  readonly logProb?: Float32Array;
  /** log π_ref(y_t | x, y_<t). */
  readonly referenceLogProb?: Float32Array;
  /** KL(π_ref ‖ π_θ) over the vocabulary at each token. */
  readonly kl?: Float32Array;
  /** KL(π_θ ‖ π_ref). */
  readonly reverseKl?: Float32Array;
}

/** By what each sequence's terms are multiplied: a number for all of its tokens, or [T_i]; absent: 0. */
export interface SequenceCoefficients {
  readonly logProb?: number | Float32Array;
  readonly kl?: number | Float32Array;
  readonly reverseKl?: number | Float32Array;
}

/** The name that operators know the KL between two sequence models by: it has this one part. */
export const sequenceKl = 'sequence';
