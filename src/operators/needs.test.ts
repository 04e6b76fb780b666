import { describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { checkNeeds, type FeedbackProvides } from './needs.js';
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
