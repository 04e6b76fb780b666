/** `pmpo/distributions`: policies π(·|x) as distributions of tensors, with sampling, log-probs, KL and entropy. */

export { categoricalFamily } from './categorical.js';
export { createFamily, type HeadSettings } from './create.js';
export type { Distribution, DistributionFamily } from './distribution.js';
export { type GaussianSettings, gaussian, gaussianFamily } from './gaussian.js';
