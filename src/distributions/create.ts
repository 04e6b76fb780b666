import { PmpoError } from '../core/errors.js';
import { categoricalFamily } from './categorical.js';
import type { DistributionFamily } from './distribution.js';
import { gaussianFamily } from './gaussian.js';

/** The settings that choose a policy's head. */
export interface HeadSettings {
  /** `auto` means categorical if any action dimension is discrete, Gaussian otherwise. */
  readonly head: 'auto' | 'gaussian' | 'categorical';
  /** Number of values into which a categorical head divides a continuous dimension. */
  readonly bins: number;
  /** Share of the uniform distribution in a categorical policy; see CategoricalSettings. */
  readonly uniformShare: number;
  /** Floor of a Gaussian's standard deviation. */
  readonly minStddev: number;
  /** Standard deviation of a Gaussian for network outputs of 0. */
  readonly initialStddev: number;
}

/**
 * The head that the settings name, for actions of A dimensions.
 *
 * @param actionValues the number of values of each dimension, 0 for a continuous one, [A]. A categorical head divides
 *   continuous dimensions into `bins` values.
 * @throws PmpoError for a Gaussian over discrete dimensions.
 */
export function createFamily(settings: HeadSettings, actionValues: ArrayLike<number>): DistributionFamily {
  const values = Array.from(actionValues);
  const discrete = values.some((count) => count > 0);
  if (settings.head === 'gaussian' && discrete) {
    throw new PmpoError({
      where: 'policy.head',
      what: "a Gaussian cannot represent the environment's integer actions",
      remedy: 'Set policy.head to auto or categorical',
    });
  }
  if (!discrete && settings.head !== 'categorical') return gaussianFamily(settings);
  return categoricalFamily({
    bins: values.map((count) => count || settings.bins),
    uniformShare: settings.uniformShare,
  });
}
