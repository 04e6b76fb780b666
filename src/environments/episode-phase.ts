import { PmpoError } from '../core/errors.js';

/** The phase of an environment: before its first reset, in an episode, or after one. */
export type EpisodePhase = 'fresh' | 'running' | 'ended';

/** @throws PmpoError if a step is not allowed in this phase. */
export function requireRunning(phase: EpisodePhase, where: string): void {
  if (phase === 'running') return;
  const what =
    phase === 'fresh' ? 'step called before the first reset' : 'step called after the episode ended';
  throw new PmpoError({ where, what, remedy: 'Call reset first' });
}
