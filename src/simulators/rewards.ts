import { PmpoError } from '../core/errors.js';

/** The shape of `tolerance` outside its bounds. */
export type Falloff = 'gaussian' | 'linear' | 'quadratic';

/** Options of `tolerance`. */
export interface ToleranceOptions {
  /** The inclusive bounds within which the value is 1; both 0 by default. */
  readonly lower?: number;
  readonly upper?: number;
  /** The distance from the bounds at which the value is `valueAtMargin`; 0, the default, makes it a step. */
  readonly margin?: number;
  readonly falloff?: Falloff;
  /** In (0, 1) for `gaussian`, in [0, 1) for the others; default: 0.1. */
  readonly valueAtMargin?: number;
}

function fallOff(distance: number, falloff: Falloff, valueAtMargin: number): number {
  switch (falloff) {
    case 'gaussian':
      return Math.exp(distance * distance * Math.log(valueAtMargin));
    case 'linear':
      return Math.max(0, 1 - distance * (1 - valueAtMargin));
    case 'quadratic':
      return Math.max(0, 1 - distance * distance * (1 - valueAtMargin));
  }
}

/**
 * 1 for `x` within [lower, upper], falling to `valueAtMargin` at the distance `margin` from the nearer bound. This is the
 * shaping function of the DM Control suite (Tassa et al., arXiv 1801.00690, section 3).
 *
 * @throws PmpoError for bounds in the wrong order, a negative margin, or a `valueAtMargin` out of range for the fall-off.
 */
export function tolerance(
  x: number,
  { lower = 0, upper = 0, margin = 0, falloff = 'gaussian', valueAtMargin = 0.1 }: ToleranceOptions = {},
): number {
  if (!(lower <= upper))
    throw new PmpoError({
      what: `the lower bound ${lower} is above the upper bound ${upper}`,
      where: 'tolerance',
    });
  if (!(margin >= 0)) throw new PmpoError({ what: `the margin ${margin} is negative`, where: 'tolerance' });
  if (!(valueAtMargin >= 0 && valueAtMargin < 1) || (falloff === 'gaussian' && valueAtMargin === 0)) {
    throw new PmpoError({
      what: `valueAtMargin ${valueAtMargin} is out of range for ${falloff}`,
      where: 'tolerance',
    });
  }
  if (x >= lower && x <= upper) return 1;
  if (margin === 0) return 0;
  return fallOff((x < lower ? lower - x : x - upper) / margin, falloff, valueAtMargin);
}
