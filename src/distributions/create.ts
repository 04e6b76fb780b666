import { PmpoError } from '../core/errors.js';
import { categoricalFamily } from './categorical.js';
import type { DistributionFamily } from './distribution.js';
import { gaussianFamily } from './gaussian.js';

/** The settings of `policy:` that choose and shape the head. */
export interface HeadSettings {
  readonly head: 'auto' | 'gaussian' | 'categorical';
  readonly bins: number;
  readonly minStddev: number;
  readonly initialStddev: number;
}

/**
 * The distribution family that `policy.head` names, for actions of A dimensions.
 *
 * @param actionValues how many values each dimension takes, 0 for a continuous one, [A]. `auto` means the categorical head
 *   where some dimension is not continuous; there, continuous ones are discretised in `bins`.
 * @throws PmpoError for a Gaussian over dimensions that are not continuous.
 */
export function createFamily(settings: HeadSettings, actionValues: ArrayLike<number>): DistributionFamily {
  const values = Array.from(actionValues);
  const discrete = values.some((count) => count > 0);
  if (settings.head === 'gaussian' && discrete) {
    throw new PmpoError({
      where: 'policy.head',
      what: "a Gaussian has no meaning for the environment's integer actions",
      remedy: 'Set policy.head to auto or categorical',
    });
  }
  if (!discrete && settings.head !== 'categorical') return gaussianFamily(settings);
  return categoricalFamily({ bins: values.map((count) => count || settings.bins) });
}
