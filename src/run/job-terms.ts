/** What is counted and reached, in the words of each kind of job. */
export interface JobWords {
  /** The axis over which a job learns: environment steps, of a language model completions. */
  readonly stepsTitle: string;
  readonly steps: string;
  /** What its evaluations are the mean of. */
  readonly return: string;
  readonly episode: string;
  readonly episodes: string;
  /** How the policy acts when it is evaluated. */
  readonly evaluated: string;
}

export type JobKind = 'control' | 'language';

export const jobWords: Readonly<Record<JobKind, JobWords>> = {
  control: {
    stepsTitle: 'Environment steps',
    steps: 'steps',
    return: 'return',
    episode: 'episode',
    episodes: 'episodes',
    evaluated: 'The policy acts by its mode.',
  },
  language: {
    stepsTitle: 'Completions learned from',
    steps: 'completions',
    return: 'reward',
    episode: 'completion',
    episodes: 'completions',
    evaluated: 'Completions of held-out prompts, sampled as in training.',
  },
};

/** `Return`, `Reward`: at the beginning of a line. */
export function capital(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}
