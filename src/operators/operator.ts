import type { Definition } from '../core/registry.js';
import type { NamedTensors, Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';

/**
 * Letters: N samples per context, B contexts, D the size of one part of a KL (action dimensions A for a Gaussian's mean;
 * 1 where a KL does not divide).
 */

/** KL(reference ‖ policy), exact or estimated from the samples, in parts that add up to the whole. */
export interface KlEstimate {
  readonly exact: boolean;
  /** Part name (`mean`, `covariance`, `categorical`, `sequence`) to [B, D], nats. */
  readonly parts: Readonly<Record<string, Tensor2D>>;
}

/** What an operator is given: every tensor is [N, B]; where `mask` is 0 the other entries mean nothing. */
export interface OperatorBatch {
  /** log π_θ(y|x), differentiable. */
  readonly logProb: Tensor2D;
  /** log π_ref(y|x). */
  readonly referenceLogProb: Tensor2D;
  /** f(x, y). */
  readonly evaluation: Tensor2D;
  /** Accept weights in [0, 1]. */
  readonly accept: Tensor2D;
  /** Reject weights in [0, 1]. */
  readonly reject: Tensor2D;
  /** 1 where a sample is present, 0 where this context has fewer than N. */
  readonly mask: Tensor2D;
  /** KL(reference ‖ policy), differentiable. Called at most once, and only by operators that need it. */
  readonly kl: () => KlEstimate;
  /**
   * Log-probs under the policy with all parts but one held at the reference (MPO's decoupled M-step): part name to
   * [N, B]. Absent where the distribution does not divide.
   */
  readonly decoupledLogProb?: () => Readonly<Record<string, Tensor2D>>;
  /** KL(reference ‖ policy) in parts, each with all others held at the reference; absent where `kl` has one part. */
  readonly decoupledKl?: () => KlEstimate;
  /** How far each sample lies outside the action bounds, [N, B], ≥ 0, for action penalisation; absent without bounds. */
  readonly boundViolation?: Tensor2D;
}

export interface OperatorResult {
  /** The loss to minimise in the policy's parameters and, where the operator has any, in its state. */
  readonly loss: Scalar;
  /** Scalars for the log, names as in `metrics.jsonl`. */
  readonly metrics: Readonly<Record<string, Scalar>>;
}

/** What a configuration must supply. Checked before anything runs. */
export interface OperatorNeeds {
  /** Which feedback the operator reads. `pairs` needs at least one accept and one reject in a context. */
  readonly feedback: 'none' | 'accepts' | 'rejects' | 'either' | 'both' | 'pairs';
  /** True when it reads `evaluation` as numbers (MPO), not only through feedback. */
  readonly evaluation: boolean;
  /** True when the KL must come exact from a distribution, not from samples. */
  readonly exactKl: boolean;
}

/** What an operator may know of the policy when its state is made. */
export interface PolicyShape {
  /** KL part name to D. */
  readonly klParts: Readonly<Record<string, number>>;
}

/**
 * A policy improvement operator: from log-probs and feedback to a loss. Pure: the same batch and state give the same
 * result, and nothing is kept between calls. It does not know what a sample is.
 */
export interface Operator {
  readonly needs: OperatorNeeds;
  /**
   * The state that is trained with the loss by gradient (MPO's temperature, KL duals), as plain named arrays; {} for
   * most operators. The learner owns it, trains it, and saves it in checkpoints.
   */
  initialState(
    policy: PolicyShape,
  ): Record<string, { readonly shape: number[]; readonly data: Float32Array }>;
  loss(batch: OperatorBatch, state: NamedTensors): OperatorResult;
  /** Brings the state back into its domain after a gradient step; identity when absent. */
  projectState?(state: NamedTensors): NamedTensors;
  /** Plain sentences about settings that are legal and risky, shown before a run starts. */
  warnings?(context: OperatorContext): string[];
}

/** What is known of the feedback before a run, for `warnings`. */
export interface OperatorContext {
  /** The share of samples that the classifier rejects, where it is known beforehand (top-k: worst / N). */
  readonly rejectShare?: number;
  readonly samples: number;
}

export interface OperatorDefinition<S = Record<string, unknown>> extends Definition {
  /** N, the samples per context, when the config does not say. */
  readonly defaultSamples: number;
  create(settings: S): Operator;
  /** The parts of the KL to which these settings give a weight or a bound of their own; absent when settings cannot name parts. */
  klParts?(settings: S): readonly string[];
}

export type { NamedTensors, Scalar, Tensor1D, Tensor2D };
