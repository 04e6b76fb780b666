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

/**
 * Checks that an operator can work with what a classifier produces, and with the KL of the job.
 * @throws ConfigError with the reason if it cannot.
 */
export function checkNeeds(
  operatorName: string,
  needs: OperatorNeeds,
  feedbackName: string,
  provides: FeedbackProvides,
  kl: 'exact' | 'sampled' = 'exact',
): void {
  if (needs.kl === 'exact' && kl === 'sampled') {
    throw new ConfigError({
      where: 'operator',
      what: `'${operatorName}' needs the exact KL, and this job estimates it from samples`,
      remedy: 'Set language.kl to exact, or use an operator that takes either',
    });
  }
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
