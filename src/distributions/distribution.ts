import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';

/** Letters: N samples, B contexts, A action dimensions, P network outputs per context, D size of a KL part. */

/**
 * π(·|x) for a batch of B contexts. Samples are actions in canonical units: each dimension's bounds are −1 and 1.
 * Everything is made of tensor operations and differentiable in the parameters.
 */
export interface Distribution {
  /** Samples [N, B, A] from noise [N, B, A] of the family's kind; no gradient flows through them. */
  sample(noise: Tensor3D): Tensor3D;
  /** The action taken in evaluation, [B, A]. */
  mode(): Tensor2D;
  /** log π(y|x), [N, B], of samples [N, B, A]; nats. */
  logProb(samples: Tensor3D): Tensor2D;
  /** Differential (or Shannon) entropy, [B]; nats. */
  entropy(): Tensor1D;
  /** KL(this ‖ other) in parts [B, D] that add up to it; nats. */
  kl(other: this): Record<string, Tensor2D>;
  /**
   * KL(this ‖ other) in parts as MPO constrains them, each with everything else held at `this` (arXiv 1812.02256); undefined
   * where there is one part, which is then the same as `kl`.
   */
  decoupledKl?(other: this): Record<string, Tensor2D>;
  /** How wide the distribution is, for the log: the mean over dimensions of the standard deviation, [B]. */
  spread(): Tensor1D;
  /** log-probs with all parts but one held at `reference`, by part, [N, B]; undefined where there is one part. */
  decoupledLogProb?(samples: Tensor3D, reference: this): Record<string, Tensor2D>;
  /** The parameters, [B, P], as the head was given them. */
  readonly parameters: Tensor2D;
}

/** A family of distributions and how a network's outputs become one: the policy's head. */
export interface DistributionFamily {
  readonly name: 'gaussian' | 'categorical';
  /** Which noise `sample` reads: standard normal, or uniform in (0, 1). */
  readonly noise: 'normal' | 'uniform';
  /** Whether samples can lie outside the action bounds, −1 … 1. */
  readonly exceedsBounds: boolean;
  /** P, the outputs that the network needs for A action dimensions. */
  parameterCount(actionDimensions: number): number;
  /** KL part name to D, for A action dimensions. */
  klParts(actionDimensions: number): Record<string, number>;
  /** The distribution of outputs [B, P]. */
  create(outputs: Tensor2D, actionDimensions: number): Distribution;
}
