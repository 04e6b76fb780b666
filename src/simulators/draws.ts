import { bitGenerator, fillNormal, foldIn, type RandomKey } from '../core/random-keys.js';

/** `size` numbers from the standard normal distribution. */
export function normals(key: RandomKey, size: number): Float32Array {
  return fillNormal(key, new Float32Array(size));
}

/** One number drawn uniformly between `low` and `high`; `label` keeps the draws of one key apart. */
export function uniform(key: RandomKey, label: string, low: number, high: number): number {
  const next = bitGenerator(foldIn(key, label));
  return low + (high - low) * ((next() + 0.5) / 2 ** 32);
}
