import { PmpoError } from '../core/errors.js';

/** Where an environment's user stands: before the first reset, in an episode, or after one. */
export type EpisodePhase = 'fresh' | 'running' | 'ended';

/** @throws PmpoError where a step is out of place. */
export function requireRunning(phase: EpisodePhase, where: string): void {
  if (phase === 'running') return;
  const what = phase === 'fresh' ? 'a step before the first reset' : "a step after the episode's end";
  throw new PmpoError({ where, what, remedy: 'Call reset first' });
}
