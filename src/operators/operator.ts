import type { z } from 'zod';
import type { Definition } from '../core/registry.js';
import type { HostTensor, NamedTensors, Scalar, Tensor1D, Tensor2D } from '../engine/tensors.js';

/**
 * What a policy improvement operator is: a pure function from log-probs and feedback to a loss. It does not know what a
 * sample is (an action, a completion), nor who computed the log-probs.
 *
 * Shapes: N samples per context, B contexts, D the size of one part of a KL (the A action dimensions for a Gaussian's mean,
 * 1 for a KL that does not divide).
 */

/** A KL between reference and policy, exact or estimated from the samples, in parts that add up to the whole. */
export interface KlEstimate {
  readonly exact: boolean;
  /** Name of a part (`mean`, `covariance`, `categorical`, `sequence`) to its values [B, D], in nats. */
  readonly parts: Readonly<Record<string, Tensor2D>>;
}

/** The fields of a batch that are planes [N, B], except `boundViolation`, which only policies of bounded actions have. */
export const batchPlanes = [
  'logProb',
  'referenceLogProb',
  'evaluation',
  'accept',
  'reject',
  'mask',
  'length',
  'mismatchedLogRatio',
] as const;

/**
 * What the caller of `Operator.loss` gives. Each plane is [N, B]; entries where `mask` is 0 may hold anything. A plane that the
 * operator does not need (see `OperatorNeeds`) may be left out.
 */
export interface OperatorBatch {
  /** log π_θ(y|x), nats, differentiable. */
  readonly logProb: Tensor2D;
  /** log π_ref(y|x), nats. */
  readonly referenceLogProb?: Tensor2D;
  /** f(x, y). */
  readonly evaluation?: Tensor2D;
  /** V(x), [B], over which operators take advantages. Default: the mean evaluation of the context's samples. */
  readonly baseline?: Tensor1D;
  /** Accept weights in [0, 1]. */
  readonly accept?: Tensor2D;
  /** Reject weights in [0, 1]. */
  readonly reject?: Tensor2D;
  /** 1 where a sample is present, 0 where its context has fewer than N. Default: every sample is present. */
  readonly mask?: Tensor2D;
  /** The number of tokens of each sample, at least 1, for operators that divide log-probs by it. Only sequences have one. */
  readonly length?: Tensor2D;
  /**
   * log π_θ(y′|x) − log π_ref(y′|x) of mismatched samples: in each place, y′ is a sample of another context. Without gradient, for KTO's
   * estimate of KL(policy ‖ reference). Only sequences have it: an action of another state says nothing.
   */
  readonly mismatchedLogRatio?: Tensor2D;
  /**
   * KL(reference ‖ policy), differentiable: its value, or a function that computes it. The function is called at most once,
   * and only by an operator that needs the KL.
   */
  readonly kl?: KlEstimate | (() => KlEstimate);
  /** KL(policy ‖ reference), in the same form, only for an operator that needs this direction. It must be exact. */
  readonly reverseKl?: KlEstimate | (() => KlEstimate);
  /**
   * Log-probs [N, B] by part, each under a policy whose other parts are held at the reference: MPO's decoupled M-step
   * (arXiv 1812.02256). Leave it out for a distribution that does not divide.
   */
  readonly decoupledLogProb?: () => Readonly<Record<string, Tensor2D>>;
  /** KL(reference ‖ policy) in parts, each with the other parts held at the reference. Leave it out where `kl` has one part. */
  readonly decoupledKl?: () => KlEstimate;
  /** Distance of each sample from the action bounds, at least 0, for MPO's action penalty. Leave it out without bounds. */
  readonly boundViolation?: Tensor2D;
  /**
   * The number P of problems that have nothing to do with each other, in the batch's contexts one after the other, B/P contexts each. The
   * operator has a state for each, and its loss is the mean of the losses of the problems by themselves. Only for an operator with
   * `independentContexts`. Default: 1.
   */
  readonly problems?: number;
}

/**
 * The batch as an `OperatorRule` sees it. Shapes are checked, planes that were left out are zeros (`mask` and `length`: ones), and `accept` and
 * `reject` are 0 outside the mask. The other planes may still hold anything outside the mask. `boundViolation` and the decoupled
 * terms are undefined if they were left out.
 */
export interface CheckedBatch
  extends Required<
    Omit<
      OperatorBatch,
      'kl' | 'reverseKl' | 'decoupledLogProb' | 'decoupledKl' | 'boundViolation' | 'baseline'
    >
  > {
  readonly baseline: OperatorBatch['baseline'];
  readonly kl: () => KlEstimate;
  readonly reverseKl: () => KlEstimate;
  readonly decoupledLogProb: OperatorBatch['decoupledLogProb'];
  readonly decoupledKl: OperatorBatch['decoupledKl'];
  readonly boundViolation: OperatorBatch['boundViolation'];
}

/** The outcome of `Operator.loss`. */
export interface OperatorResult {
  /** The loss, to be minimised in the policy's parameters and in the operator's state, if it has one. */
  readonly loss: Scalar;
  /** Scalars for the log, by their names in `metrics.jsonl`. */
  readonly metrics: Readonly<Record<string, Scalar>>;
}

/** What a batch must hold. A configuration is checked against it before a run starts. */
export interface OperatorNeeds {
  /**
   * Which feedback the operator learns from: accepted samples, rejected samples, either kind (or both), both kinds in the batch
   * though not in each context, or pairs, that is, an accepted and a rejected sample of the same context. A batch holds `accept`
   * and `reject` for all but the first two.
   */
  readonly feedback: 'none' | 'accepts' | 'rejects' | 'either' | 'both' | 'pairs';
  /** Whether it reads the values of `evaluation` (MPO), and not only the feedback or an order of samples. */
  readonly evaluation: boolean;
  /** Whether it reads log π_ref(y|x). Default: true. */
  readonly referenceLogProb?: boolean;
  /**
   * Whether it reads KL(reference ‖ policy). `exact` means exact over the actions or, for sequences, over the vocabulary at each token of the sampled
   * completions, and excludes an estimate from the log-probs of samples. Default: `any`.
   */
  readonly kl?: 'none' | 'any' | 'exact';
  /**
   * Whether it reads KL(policy ‖ reference), which must be exact: it is an expectation under the policy, and samples of the reference
   * estimate it badly. Default: false.
   */
  readonly reverseKl?: boolean;
  /** Whether it reads log-ratios of mismatched samples. Default: false. */
  readonly mismatched?: boolean;
  /** Whether it divides log-probs by the number of tokens, which only sequences have. Default: false. */
  readonly length?: boolean;
  /**
   * Whether a sample is judged against the other samples of its context, so that nothing is learned where there is one alone. Default:
   * false.
   */
  readonly comparesSamples?: boolean;
  /** Whether it compares them with `baseline` where the batch has one, so that a single sample will do. Default: false. */
  readonly readsBaseline?: boolean;
  /**
   * Whether it raises the likelihood of all samples of a context whose evaluations are equal. Of a data set's labels it would then learn
   * completions that were rejected, where no other of their prompt was accepted. Default: false.
   */
  readonly imitatesUnranked?: boolean;
  /**
   * Whether the KL bounds its loss only where rejected samples are the reference's own, because it lowers their log-probs without end
   * (PMPO). Where samples come from elsewhere, as in a data set, a rejected one is then pushed down to a floor only. Default: false.
   */
  readonly rejectsReferenceSamples?: boolean;
}

/** What an operator must know of the policy to make its initial state. */
export interface PolicyShape {
  /** Name of each part of the policy's KL to its D. */
  readonly klParts: Readonly<Record<string, number>>;
  /** `problems` of the batches. Default: 1. */
  readonly problems?: number;
}

/** What is known before a run, for `warnings`. */
export interface OperatorContext {
  /** The names of the parts of the policy's KL, if they are known. */
  readonly klParts?: readonly string[];
  /** The share of samples that the classifier rejects, if it is fixed (top-k: worst / N). */
  readonly rejectShare?: number;
  /** N, samples per context. */
  readonly samples: number;
}

interface OperatorTraits {
  readonly needs: OperatorNeeds;
  /**
   * Whether the loss is a mean over contexts (or those that have a pair), to which each context contributes by itself and by the state:
   * then one batch may hold several problems. Default: false.
   */
  readonly independentContexts?: boolean;
  /**
   * The initial values, by name, of the variables that are trained with the policy by the same loss: MPO's temperature, the duals
   * of KL constraints. {} for most operators. The learner owns, trains and saves them.
   */
  initialState(policy: PolicyShape): Readonly<Record<string, HostTensor>>;
  /** Brings the state back into its domain after a gradient step. Left out: the identity. */
  projectState?(state: NamedTensors): NamedTensors;
  /** Sentences about settings that are allowed but risky, shown before a run starts. */
  warnings?(context: OperatorContext): string[];
  /**
   * What keeps a policy from losing its exploration, with the setting's key: a sentence without a full stop, shown when a run has lost it.
   * @param klPart the part of the KL that measures the change of the spread: `covariance` or `categorical`.
   */
  explorationRemedy?(klPart: string): string;
}

/**
 * A policy improvement operator. Pure: the same batch and state give the same result, and nothing is kept between calls.
 */
export interface Operator extends OperatorTraits {
  readonly name: string;
  /**
   * The loss of a batch, differentiable in `logProb`, in whatever `kl` depends on, and in `state`. Shapes are checked; in a
   * compiled function that happens when it is traced, at no cost for each update.
   *
   * @param state the operator's state, which starts as `initialState`; may be left out for an operator that has none.
   * @throws PmpoError naming the field, its shape and what would be right.
   */
  readonly loss: (batch: OperatorBatch, state?: NamedTensors) => OperatorResult;
}

/** An operator as its author writes it: `defineOperator` adds the checks that make it an `Operator`. */
export interface OperatorRule extends OperatorTraits {
  loss(batch: CheckedBatch, state: NamedTensors): OperatorResult;
}

/** An operator by name, with the schema of its settings. Plugins register such definitions. */
export interface OperatorDefinition<S extends z.ZodObject = z.ZodObject> extends Definition {
  readonly settings: S;
  /** N, samples per context, unless the configuration says otherwise. Default: 4. */
  readonly defaultSamples?: number;
  /** The operator with the given settings, which have passed the schema. */
  create(settings: z.output<S>): OperatorRule;
  /**
   * Fills in the settings whose defaults depend on the kind of policy. Left out: none do.
   * @param klParts the names of the parts that the policy's KL can have: `sequence` for a language model.
   */
  complete?(settings: z.output<S>, klParts: readonly string[]): z.output<S>;
  /** The parts of the KL for which these settings set a separate weight or bound. Left out: none can be named. */
  klParts?(settings: z.output<S>): readonly string[];
}

/** A registered operator: `create` takes any settings and checks them by the schema. */
export interface RegisteredOperator extends Definition {
  readonly defaultSamples: number;
  /**
   * The operator with the given settings, defaults filled in.
   * @throws ConfigError naming each setting that is unknown or out of range.
   */
  create(settings?: unknown): Operator;
  /** The given settings with every default filled in, those that depend on the kind of policy included. @throws ConfigError as `create`. */
  complete(settings: unknown, klParts: readonly string[]): Record<string, unknown>;
  /** The parts of the KL that the given settings name. @throws ConfigError as `create`. */
  klParts(settings?: unknown): readonly string[];
}
