import { PmpoError } from '../core/errors.js';

/** How `tolerance` falls off outside its bounds. */
export type Falloff = 'gaussian' | 'linear' | 'quadratic';

export interface ToleranceOptions {
  /** Inclusive bounds within which the value is 1; both 0 by default. */
  readonly lower?: number;
  readonly upper?: number;
  /** Distance from the bounds over which the value falls to `valueAtMargin`; 0 (the default): a step. */
  readonly margin?: number;
  readonly falloff?: Falloff;
  /** In (0, 1) for `gaussian`, [0, 1) for the others. */
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
 * 1 when `x` lies within [lower, upper], and between 1 and 0 outside: at `margin` away from the nearer bound it is
 * `valueAtMargin`. The shaping function of the DM Control suite (Tassa et al., arXiv 1801.00690, section 3).
 *
 * @throws PmpoError for bounds in the wrong order, a negative margin or a `valueAtMargin` that the fall-off cannot take.
 */
export function tolerance(
  x: number,
  { lower = 0, upper = 0, margin = 0, falloff = 'gaussian', valueAtMargin = 0.1 }: ToleranceOptions = {},
): number {
  if (!(lower <= upper))
    throw new PmpoError({ what: `lower bound ${lower} above upper bound ${upper}`, where: 'tolerance' });
  if (!(margin >= 0))
    throw new PmpoError({ what: `the margin is ${margin}, it must not be negative`, where: 'tolerance' });
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
