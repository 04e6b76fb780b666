import type { HostTensor, Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';

/**
 * Policies as distributions over actions.
 *
 * Shapes: N samples per context, B contexts, A action dimensions, P network outputs per context, D the size of one part of a KL.
 */

/**
 * π(·|x) for a batch of B contexts, in tensor operations that are differentiable in the parameters. Samples are canonical
 * actions: the bounds of each dimension are −1 and 1.
 */
export interface Distribution {
  /** Samples [N, B, A] from noise [N, B, A] of the family's kind; no gradient flows through them. */
  sample(noise: Tensor3D): Tensor3D;
  /** The action to take in an evaluation, [B, A]. */
  mode(): Tensor2D;
  /** log π(y|x) of samples [N, B, A]; [N, B], nats. */
  logProb(samples: Tensor3D): Tensor2D;
  /** The entropy (differential, if actions are continuous), [B], nats. */
  entropy(): Tensor1D;
  /** KL(this ‖ other) in parts [B, D] that add up to the whole, nats. */
  kl(other: this): Record<string, Tensor2D>;
  /**
   * KL(this ‖ reference), the divergence of `reverseKl`, in the parts of `kl`. At `reference` it is 0, and so is its gradient; everywhere
   * else it is positive.
   */
  reverseKl(reference: this): Record<string, Tensor2D>;
  /**
   * KL(this ‖ other) in the parts that MPO constrains, each with the other parts held at `this` (arXiv 1812.02256, section
   * 4.2.1). Undefined for a KL of one part.
   */
  decoupledKl?(other: this): Record<string, Tensor2D>;
  /** The standard deviation, averaged over the action dimensions, [B]; a metric of exploration. */
  spread(): Tensor1D;
  /** Log-probs [N, B] by part, each with the other parts held at `reference`. Undefined for a KL of one part. */
  decoupledLogProb?(samples: Tensor3D, reference: this): Record<string, Tensor2D>;
  /** The network outputs from which the distribution was made, [B, P]. */
  readonly parameters: Tensor2D;
}

/** A policy head: it turns the outputs of a network into a distribution. */
export interface DistributionFamily {
  readonly name: 'gaussian' | 'categorical';
  /** The noise that `sample` reads: standard normal, or uniform in (0, 1). */
  readonly noise: 'normal' | 'uniform';
  /** Whether samples can lie outside the action bounds, −1 … 1. */
  readonly exceedsBounds: boolean;
  /** P, the number of network outputs for A action dimensions. */
  parameterCount(actionDimensions: number): number;
  /** Name of each part of the KL to its D, for A action dimensions. */
  klParts(actionDimensions: number): Record<string, number>;
  /** Every action there is as canonical actions [M, A]; undefined if M is above `limit` or actions are continuous. */
  allActions(limit: number): HostTensor | undefined;
  /** The distributions that network outputs [B, P] define. */
  create(outputs: Tensor2D, actionDimensions: number): Distribution;
}
