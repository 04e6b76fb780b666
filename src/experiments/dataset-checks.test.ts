import { describe, expect, it } from 'vitest';
import type { EvaluatedContext } from '../learners/language/batch.js';
import { createOperatorRegistry } from '../operators/registry.js';
import { checkDataset, type DatasetUse } from './dataset-checks.js';

const context = (...evaluations: number[]): EvaluatedContext => ({
  prompt: { text: 'p', tokens: Int32Array.of(1), row: {} },
  completions: evaluations.map((evaluation, i) => ({
    text: `${i}`,
    tokens: Int32Array.of(1),
    finishReason: 'stop',
    evaluation,
  })),
});

const operators = createOperatorRegistry();
const label = { name: 'label', readsLabels: true };
const topK = { name: 'top-k' };
const threshold = { name: 'threshold' };

/** Checks contexts for an operator. @returns the contexts that are left, and the notices. */
function check(
  operator: string | { readonly name: string; readonly [setting: string]: unknown },
  contexts: readonly EvaluatedContext[],
  {
    feedback = label,
    evaluations = 'labels',
    rejectedFloor = 0.1,
  }: Partial<Pick<DatasetUse, 'feedback' | 'evaluations' | 'rejectedFloor'>> = {},
) {
  const { name, ...settings } = typeof operator === 'string' ? { name: operator } : operator;
  const { needs, warnings } = operators.get(name).create(settings);
  const notices: string[] = [];
  const use = {
    source: 'f.jsonl',
    operator: { name, needs, warnings },
    feedback,
    evaluations,
    rejectedFloor,
  };
  const kept = checkDataset(contexts, use, (message) => notices.push(message));
  return { kept: kept.length, notices: notices.join('\n') };
}

describe('rejected completions alone', () => {
  const rejects = [context(-1, -1), context(-1, -1)];

  it.each(['mpo', 'v-mpo', 'awr', { name: 'crr', filter: 'exponential' }])(
    'are refused by %j, which would raise their likelihood',
    (operator) => {
      expect(() => check(operator, rejects)).toThrow(
        /f\.jsonl: every prompt has rejected completions only, and the operator '.*' raises the likelihood.*\{name: pmpo, alpha: 0/,
      );
    },
  );

  it.each(['behavior-cloning', 'rejection-sampling', { name: 'pmpo', alpha: 1 }])(
    'are refused by %j, which learns from accepted ones',
    (operator) => {
      expect(() => check(operator, rejects)).toThrow(/learns from accepted completions, but there are none/);
    },
  );

  it.each(['dpo', 'ipo', 'cpo', 'simpo', 'orpo'])('are refused by %s, which needs pairs', (operator) => {
    expect(() => check(operator, rejects)).toThrow(/learns from paired completions, but there are none/);
  });

  it.each(['pmpo', 'kto'])('are learned from by %s, with a warning', (operator) => {
    expect(check(operator, rejects).notices).toMatch(/Warning: f\.jsonl has no accepted completions/);
  });

  it.each(['grpo', 'reinforce'])('change nothing for %s, whose advantages are 0', (operator) => {
    expect(check(operator, rejects)).toEqual({ kept: 2, notices: '' });
  });

  it('are left out where other prompts have accepted ones', () => {
    const { kept, notices } = check('mpo', [context(1, -1), context(-1, -1), context(1, 1)]);
    expect(kept).toBe(2);
    expect(notices).toMatch(
      /f\.jsonl has prompts with rejected completions only: 1 of 3\. They are left out, because the operator 'mpo'/,
    );
  });
});

describe('completions that an operator does not read', () => {
  it.each([
    [
      'behavior-cloning',
      [context(1, -1, -1)],
      /learns from accepted completions only\. The 2 rejected completions of f\.jsonl are not used/,
    ],
    [{ name: 'pmpo', alpha: 0 }, [context(1, -1)], /The 1 accepted completions of f\.jsonl are not used/],
    ['dpo', [context(1, -1), context(1)], /The 1 rows with one side of f\.jsonl are not used/],
  ] as const)('are said for %j', (operator, contexts, notice) => {
    expect(check(operator, contexts).notices).toMatch(notice);
  });
});

it.each(['pmpo', 'behavior-cloning', 'dpo'])(
  'labels that are all 0 teach %s nothing, which is said',
  (operator) => {
    expect(() => check(operator, [context(0, 0), context(0)])).toThrow(
      /f\.jsonl: all labels are 0, which says of no completion that it is accepted or rejected/,
    );
  },
);

describe('scores', () => {
  const scored = [context(3.5, 1), context(4, 0.5)];
  const asScores = { evaluations: 'scores' as const };

  it.each(['pmpo', 'behavior-cloning', 'dpo', 'kto'])('are no labels for %s', (operator) => {
    expect(() => check(operator, scored, asScores)).toThrow(
      /f\.jsonl: the completions have scores and no labels.*Set feedback: \{name: threshold, value: …\}.*or feedback: \{name: top-k\}/,
    );
  });

  it('are what threshold and top-k read, and what MPO weighs', () => {
    for (const feedback of [threshold, topK]) {
      expect(check('pmpo', scored, { ...asScores, feedback })).toEqual({ kept: 2, notices: '' });
    }
    expect(check('mpo', scored, asScores)).toEqual({ kept: 2, notices: '' });
  });

  it.each([topK, threshold, { name: 'median' }])('are not what labels are to $name', (feedback) => {
    expect(() => check('pmpo', [context(1, -1)], { feedback })).toThrow(
      `the rows have labels, but the feedback '${feedback.name}' reads scores. Set feedback: {name: label}`,
    );
  });

  it('and labels are what a plugin makes of them, which is said', () => {
    const feedback = { name: 'mine', plugin: 'mine.mjs' };
    expect(check('pmpo', [context(1, -1)], { feedback })).toEqual({
      kept: 1,
      notices: expect.stringMatching(
        /f\.jsonl has labels\. The feedback 'mine' gets 1 for an accepted/,
      ) as string,
    });
  });
});

it('an operator that compares completions needs two of a prompt', () => {
  expect(() => check('mpo', [context(1), context(-1)])).toThrow(/every prompt has one/);
  expect(() => check('dpo', [context(1), context(-1)])).toThrow(/0 contexts with both/);
});

describe('the smallest share of rejected completions', () => {
  const contexts = [context(-1), context(1, 1, 1, -1)];
  const operator = { name: 'pmpo', alpha: 0.5, beta: 1 };

  it('is told with the weight that bounds the loss, where there is no floor', () => {
    expect(check(operator, contexts, { rejectedFloor: 0 }).notices).toBe(
      'Warning: in the prompts of f.jsonl with the smallest share of rejected completions, operator.beta = 1 with operator.alpha = 0.5 and a share of 0.25 rejected: the weight on rejected samples is -0.25 < 0, so that their likelihood falls without end. operator.beta ≥ 2 bounds it',
    );
    expect(check(operator, contexts).notices).toBe('');
  });

  it('is found among 200,000 contexts', () => {
    const many = Array.from({ length: 200_000 }, () => contexts[1]!);
    expect(check(operator, many, { rejectedFloor: 0 }).notices).toMatch(/a share of 0\.25 rejected/);
  });
});
