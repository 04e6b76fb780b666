import { describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { checkNeeds, type FeedbackProvides, type JobProvides } from './needs.js';
import type { OperatorNeeds } from './operator.js';

const gives: Record<string, FeedbackProvides> = {
  both: { accepts: true, rejects: true },
  'accepts only': { accepts: true, rejects: false },
  'rejects only': { accepts: false, rejects: true },
  nothing: { accepts: false, rejects: false },
};

function refusal(feedback: OperatorNeeds['feedback'], provides: FeedbackProvides): ConfigError | undefined {
  try {
    checkNeeds('mine', { feedback, evaluation: false }, 'theirs', provides);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return error as ConfigError;
  }
}

describe('an operator', () => {
  // Which of both, accepts only, rejects only and nothing will do.
  it.each<[OperatorNeeds['feedback'], string[]]>([
    ['none', ['both', 'accepts only', 'rejects only', 'nothing']],
    ['accepts', ['both', 'accepts only']],
    ['rejects', ['both', 'rejects only']],
    ['either', ['both', 'accepts only', 'rejects only']],
    ['both', ['both']],
    ['pairs', ['both']],
  ])('that needs %s works with %s', (needs, enough) => {
    for (const [name, provides] of Object.entries(gives)) {
      expect(refusal(needs, provides) === undefined, name).toBe(enough.includes(name));
    }
  });

  it('that needs pairs says why accepted samples alone will not do, and what will', () => {
    const error = refusal('pairs', gives['accepts only']);
    expect(error?.message).toBe(
      "operator: 'mine' compares an accepted with a rejected sample of the same context, and the feedback 'theirs', as set, gives accepted samples only. Use a feedback that gives both, or operator pmpo, which learns from either",
    );
  });
});

describe('a job', () => {
  const refusal = (needs: Partial<OperatorNeeds>, job: Partial<JobProvides>) => {
    const given = { kl: 'exact', sequences: true, samples: 4, contexts: 2, ...job } as const;
    try {
      checkNeeds('mine', { feedback: 'none', evaluation: true, ...needs }, 'theirs', gives.both!, given);
      return 'accepted';
    } catch (error) {
      return (error as Error).message;
    }
  };

  it('whose samples are actions refuses an operator that divides by the number of tokens', () => {
    expect(refusal({ length: true }, {})).toBe('accepted');
    expect(refusal({ length: true }, { sequences: false })).toBe(
      "operator: 'mine', as set, divides log-probs by the number of tokens, and actions have none. Use it in a language job, or set operator.perToken to false if the operator has that setting",
    );
  });

  it('that estimates the KL refuses an operator that needs the other direction', () => {
    expect(refusal({ reverseKl: true }, {})).toBe('accepted');
    expect(refusal({ reverseKl: true }, { kl: 'sampled' })).toBe(
      "operator: 'mine', as set, needs KL(policy ‖ reference), which samples of the reference do not estimate. Set language.kl to exact, or operator.reverseKl to false",
    );
  });

  it('of actions, or with one prompt for a batch, refuses an operator that needs mismatched pairs', () => {
    expect(refusal({ mismatched: true }, {})).toBe('accepted');
    expect(refusal({ mismatched: true }, { sequences: false })).toContain(
      'and this job has actions. Set operator.referencePoint to kl, which is exact for actions',
    );
    expect(refusal({ mismatched: true }, { contexts: 1 })).toContain(
      'and a batch has 1 prompt. Set learner.batchSize to 2 or more',
    );
  });

  it('with one sample for each context refuses an operator that compares samples', () => {
    expect(refusal({ comparesSamples: true }, { samples: 2 })).toBe('accepted');
    expect(refusal({ comparesSamples: true }, { samples: 1 })).toBe(
      "operator: 'mine' compares the samples of a context, and there is 1. Set learner.samples to 2 or more, or use another operator",
    );
  });
});
