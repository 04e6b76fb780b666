import type { JobKind } from '../core/job-kind.js';

export { type JobKind, jobKind } from '../core/job-kind.js';

/** The unit in which a job counts its steps. */
export type StepUnit = 'environment steps' | 'completions' | 'updates';

/** The name of the number by which a job's policy is judged. */
export type ScoreName = 'return' | 'reward';

/** The terms in which a job of one kind is described to people. */
export interface JobTerms {
  readonly stepUnit: StepUnit;
  /** The unit where there is little room: `40 steps/s`. */
  readonly steps: string;
  /** The axis over which the policy improves. */
  readonly stepsTitle: string;
  readonly scoreName: ScoreName;
  /** One thing that gets a score. */
  readonly episode: string;
  readonly episodes: string;
  /** How the policy acts while it is evaluated. */
  readonly evaluated: string;
  /** Whether its run ends with the policy as an ONNX model. */
  readonly hasPolicyFile: boolean;
}

export const jobTerms: Readonly<Record<JobKind, JobTerms>> = {
  control: {
    stepUnit: 'environment steps',
    steps: 'steps',
    stepsTitle: 'Environment steps',
    scoreName: 'return',
    episode: 'episode',
    episodes: 'episodes',
    evaluated: 'The policy takes the mode of its distribution.',
    hasPolicyFile: true,
  },
  offline: {
    stepUnit: 'updates',
    steps: 'updates',
    stepsTitle: 'Updates',
    scoreName: 'return',
    episode: 'episode',
    episodes: 'episodes',
    evaluated: 'The policy takes the mode of its distribution.',
    hasPolicyFile: true,
  },
  language: {
    stepUnit: 'completions',
    steps: 'completions',
    stepsTitle: 'Completions learned from',
    scoreName: 'reward',
    episode: 'completion',
    episodes: 'completions',
    evaluated: 'Completions of held-out prompts, sampled as in training.',
    hasPolicyFile: false,
  },
};

/** The word with its first letter in upper case, for the beginning of a line. */
export function capitalized(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}
