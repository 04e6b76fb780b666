import { foldIn, randomKey, randomSeed } from '../core/random-keys.js';

/** An episode of a run. */
export interface RunEpisode {
  /** The run's seed. */
  readonly seed: number;
  /** `acting`, `evaluation`, … Environments for different purposes play different episodes. */
  readonly purpose: string;
  /** The number of the environment. */
  readonly index: number;
  /** The number of the episode in this environment. */
  readonly episode: number;
}

/** The seed with which an episode of a run is reset. */
export function episodeSeed({ seed, purpose, index, episode }: RunEpisode): number {
  const key = foldIn(foldIn(randomKey(seed), 'episodes'), purpose);
  return randomSeed(foldIn(foldIn(key, index), episode));
}
