import { ConfigError } from '../core/errors.js';
import type { OperatorNeeds } from './operator.js';

/** Which feedback a classifier can produce. */
export interface FeedbackProvides {
  readonly accepts: boolean;
  readonly rejects: boolean;
}

/** Why an operator cannot work with this feedback; undefined if it can. */
function unmet(needs: OperatorNeeds['feedback'], { accepts, rejects }: FeedbackProvides): string | undefined {
  switch (needs) {
    case 'none':
      return undefined;
    case 'accepts':
      return accepts ? undefined : 'learns from accepted samples';
    case 'rejects':
      return rejects ? undefined : 'learns from rejected samples';
    case 'either':
      return accepts || rejects ? undefined : 'learns from accepted or rejected samples';
    case 'both':
      return accepts && rejects ? undefined : 'needs accepted and rejected samples';
    case 'pairs':
      return accepts && rejects
        ? undefined
        : 'compares an accepted with a rejected sample of the same context';
  }
}

function described({ accepts, rejects }: FeedbackProvides): string {
  if (accepts && rejects) return 'accepted and rejected samples';
  if (accepts) return 'accepted samples only';
  if (rejects) return 'rejected samples only';
  return 'neither accepted nor rejected samples';
}

/** What a job gives to its operator, besides feedback. */
export interface JobProvides {
  /** Whether the KL is exact, or estimated from samples. */
  readonly kl: 'exact' | 'sampled';
  /** Whether samples are sequences of tokens, which have a length. */
  readonly sequences: boolean;
  /** N, samples per context, or the most that a context has. */
  readonly samples: number;
  /** B, contexts per batch. */
  readonly contexts: number;
  /** Whether it gives V(x), so that a sample need not be compared with others of its context. Default: false. */
  readonly baseline?: boolean;
  /** How a context gets more samples, for messages; default: by learner.samples. */
  readonly samplesRemedy?: string;
}

/** @throws ConfigError if the job lacks something that the operator reads. */
function checkJob(operatorName: string, needs: OperatorNeeds, job: JobProvides): void {
  const refuse = (where: string, what: string, remedy: string): never => {
    throw new ConfigError({ where, what: `'${operatorName}'${what}`, remedy });
  };
  if (needs.length === true && !job.sequences) {
    refuse(
      'operator',
      ', as set, divides log-probs by the number of tokens, and actions have none',
      'Use it in a language job, or set operator.perToken to false if the operator has that setting',
    );
  }
  if (needs.kl === 'exact' && job.kl === 'sampled') {
    refuse(
      'operator',
      ' needs the exact KL, and this job estimates it from samples',
      'Set language.kl to exact, or use an operator that takes either',
    );
  }
  if (needs.reverseKl === true && job.kl === 'sampled') {
    refuse(
      'operator',
      ', as set, needs KL(policy ‖ reference), which samples of the reference do not estimate',
      'Set language.kl to exact, or operator.reverseKl to false',
    );
  }
  if (needs.mismatched === true && !job.sequences) {
    refuse(
      'operator',
      ', as set, reads the log-probs of completions of other prompts, and this job has actions',
      'Set operator.referencePoint to kl, which is exact for actions',
    );
  }
  if (needs.mismatched === true && job.contexts < 2) {
    refuse(
      'operator',
      ', as set, reads the log-probs of completions of other prompts, and a batch has 1 prompt',
      'Set learner.batchSize to 2 or more, or operator.referencePoint to kl',
    );
  }
  if (needs.feedback === 'pairs' && job.samples < 2) {
    refuse(
      'operator',
      ' compares an accepted with a rejected sample of the same context, and there is 1',
      `${job.samplesRemedy ?? 'Set learner.samples to 2 or more'}, or use another operator`,
    );
  }
  const hasBaseline = needs.readsBaseline === true && job.baseline === true;
  if (needs.comparesSamples === true && job.samples < 2 && !hasBaseline) {
    refuse(
      'operator',
      ' compares the samples of a context, and there is 1',
      `${job.samplesRemedy ?? 'Set learner.samples to 2 or more'}, or use another operator`,
    );
  }
}

/**
 * Checks that an operator can work with what a classifier produces, and with what the job gives.
 * @throws ConfigError with the reason if it cannot.
 */
export function checkNeeds(
  operatorName: string,
  needs: OperatorNeeds,
  feedbackName: string,
  provides: FeedbackProvides,
  job: JobProvides = { kl: 'exact', sequences: true, samples: 2, contexts: 2 },
): void {
  checkJob(operatorName, needs, job);
  const reason = unmet(needs.feedback, provides);
  if (reason === undefined) return;
  throw new ConfigError({
    where: 'operator',
    what: `'${operatorName}' ${reason}, and the feedback '${feedbackName}', as set, gives ${described(provides)}`,
    remedy:
      needs.feedback === 'pairs' || needs.feedback === 'both'
        ? `Use a feedback that gives both, or operator pmpo, which learns from either`
        : `Change the settings of feedback, or of the operator`,
  });
}
