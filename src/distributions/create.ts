import { categoricalFamily } from './categorical.js';
import type { DistributionFamily } from './distribution.js';
import { gaussianFamily } from './gaussian.js';

/** The settings of `policy:` that choose and shape the head. */
export interface HeadSettings {
  readonly head: 'gaussian' | 'categorical';
  readonly bins: number;
  readonly minStddev: number;
  readonly initialStddev: number;
}

/** The distribution family that `policy.head` names. */
export function createFamily(settings: HeadSettings): DistributionFamily {
  return settings.head === 'gaussian' ? gaussianFamily(settings) : categoricalFamily(settings);
}
