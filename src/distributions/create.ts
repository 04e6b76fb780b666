import { PmpoError } from '../errors.js';
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

/** Beyond this a choice is no choice but a number, and wants another encoding. */
const mostValues = 4096;

/**
 * The distribution family that `policy.head` names, for actions of A dimensions.
 *
 * @param actionValues how many values each dimension takes, 0 for a continuous one, [A]. `auto` means the categorical head
 *   where some dimension is not continuous; there, continuous ones are discretised in `bins`.
 * @throws PmpoError for a Gaussian over dimensions that are not continuous, and for more values than a head can hold.
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
  const tooMany = values.findIndex((count) => count > mostValues);
  if (tooMany >= 0) {
    throw new PmpoError({
      where: `action dimension ${tooMany}`,
      what: `it takes ${values[tooMany]} values; a categorical head holds ${mostValues} at most`,
      remedy: 'Have the server offer it as a floating-point action',
    });
  }
  if (!discrete && settings.head !== 'categorical') return gaussianFamily(settings);
  return categoricalFamily({ bins: values.map((count) => count || settings.bins) });
}
