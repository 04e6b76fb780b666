import type { LanguageModel } from './language-model.js';

/**
 * A language model that can be trained: a policy and its reference. It does not know the operator: a loss reaches it as the
 * coefficients of the gradients of log-probs and KL divergences (proto/pmpo/v1/trainer.proto).
 * Shapes: S sequences, T_i tokens of the completion of sequence i, V vocabulary.
 */
export interface TrainableModel {
  readonly info: TrainableModelInfo;
  /** Samples from the weights that were published last; initially the reference's. */
  readonly sampler: LanguageModel;
  /**
   * Log-probs and KL divergences of S sequences, without changing anything.
   * @throws PmpoError if a sequence is longer than the context or a result is not finite.
   */
  score(sequences: readonly TokenSequence[], what: ScoreParts): Promise<readonly SequenceScore[]>;
  /**
   * Adds the gradient of Σ_i Σ_t coefficient_it · term_it to the accumulated gradient.
   * @returns the scores at the parameters of the gradient: log-probs, and the KL divergences that have coefficients.
   */
  forwardBackward(
    sequences: readonly TokenSequence[],
    coefficients: readonly SequenceCoefficients[],
  ): Promise<readonly SequenceScore[]>;
  /** Makes one Adam step with the accumulated gradient, and sets that to 0. @returns the gradient's norm before clipping. */
  optimStep(options: {
    readonly learningRate: number;
    readonly maxGradientNorm?: number;
  }): Promise<{ readonly gradientNorm: number }>;
  /** Copies the policy into the reference; with a rate τ: reference ← (1 − τ) · reference + τ · policy. */
  copyReference(rate?: number): Promise<void>;
  /** Gives `sampler` the weights of the reference or the policy. */
  publish(which: 'reference' | 'policy'): Promise<void>;
  /** Writes the policy as a Hugging Face model folder. With a remote trainer the folder is below the trainer's `--folder`. */
  exportPolicy(folder: string): Promise<void>;
  /** Writes policy, reference and optimizer to a folder. */
  save(folder: string): Promise<void>;
  /** Reads what `save` wrote. */
  load(folder: string): Promise<void>;
  /** Resets policy, reference, published weights, optimizer and step count to their initial state. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** Facts about a trainable model. */
export interface TrainableModelInfo {
  readonly name: string;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly vocabularyHash: string;
  /** Number of parameters that are trained. */
  readonly trainableParameters: number;
  /** Number of optimizer steps so far. */
  readonly steps: number;
}

/** The tokens of a prompt and of a completion; neither is empty. */
export interface TokenSequence {
  readonly prompt: Int32Array;
  readonly completion: Int32Array;
}

/** The parts of a score to compute. */
export interface ScoreParts {
  readonly policy?: boolean;
  readonly reference?: boolean;
  readonly kl?: boolean;
  readonly reverseKl?: boolean;
}

/** Score of one sequence: each part is [T_i], in nats, and undefined if not requested. */
export interface SequenceScore {
  /** log π_θ(y_t | x, y_<t). */
  readonly logProb?: Float32Array;
  /** log π_ref(y_t | x, y_<t). */
  readonly referenceLogProb?: Float32Array;
  /** KL(π_ref ‖ π_θ) of the next-token distributions at each token. */
  readonly kl?: Float32Array;
  /** KL(π_θ ‖ π_ref). */
  readonly reverseKl?: Float32Array;
}

/** Coefficients of one sequence's terms: one number for all tokens, or one for each, [T_i]; omitted: 0. */
export interface SequenceCoefficients {
  readonly logProb?: number | Float32Array;
  readonly kl?: number | Float32Array;
  readonly reverseKl?: number | Float32Array;
}

/** The name that operators know the KL between two sequence models by: it has this one part. */
export const sequenceKl = 'sequence';
