import type { RandomKey } from '../../random/keys.js';
/** Placeholder until the corpus is merged. */
export function reviews(_key: RandomKey): string[] {
  return ['the food was good .', 'the food was bad .'];
}
