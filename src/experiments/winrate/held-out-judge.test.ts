import { describe, expect, it } from 'vitest';
import type { LanguageEvaluation } from '../../run/records.js';
import { heldOutJudge } from './held-out-judge.js';
import type { Decision, PairJudge } from './judges.js';

const evaluation = (updates: number, ...texts: readonly string[]): LanguageEvaluation => ({
  updates,
  completions: texts.map((completion) => ({ prompt: 'p', completion, finishReason: 'stop' })),
});

const prompts = ['one', 'two'].map((text) => ({ text, row: { prompt: text } }));

/** A judge that decides by what `decide` returns, and the questions that it was asked. */
function judgeOf(decide: (first: string, second: string) => Decision, isReward = false) {
  const asked: string[] = [];
  const judge: PairJudge = {
    bothOrders: !isReward,
    isReward,
    identity: 'test',
    decide: async ({ prompt, first, second }) => {
      asked.push(`${prompt}: ${first} or ${second}`);
      return decide(first, second);
    },
    close: async () => {},
  };
  return { judge, asked };
}

const lengthDecision = (first: string, second: string): Decision => ({
  better: first.length > second.length ? 'first' : first.length < second.length ? 'second' : 'tie',
  answer: '',
  rewards: [first.length, second.length],
});

describe('heldOutJudge', () => {
  it('counts preferences over the base model, and the mean of a reward', async () => {
    const { judge, asked } = judgeOf(lengthDecision, true);
    const metrics = await heldOutJudge(judge, prompts)(
      evaluation(10, 'longer', 'same', 'x', 'five5'),
      evaluation(0, 'long', 'same', 'xy', 'four'),
    );
    expect(metrics).toEqual({ 'evaluation/judgeWinRate': 2.5 / 4, 'evaluation/judgeReward': 16 / 4 });
    // Two completions of each prompt.
    expect(asked).toEqual(['one: longer or long', 'one: same or same', 'two: x or xy', 'two: five5 or four']);
  });

  it('asks a judge that compares in both orders, and not about equal texts', async () => {
    const { judge, asked } = judgeOf(() => ({ better: 'first', answer: 'A' }));
    const metrics = await heldOutJudge(judge, prompts)(evaluation(10, 'a', 'b'), evaluation(0, 'a', 'c'));
    expect(asked.toSorted()).toEqual(['two: b or c', 'two: c or b']);
    expect(metrics['evaluation/judgeWinRate']).toBe(0.5);
    expect(metrics['evaluation/judgeReward']).toBeNaN();
  });

  it('leaves out what the judge does not answer', async () => {
    const { judge } = judgeOf((first, second) =>
      [first, second].includes('b')
        ? { better: 'unanswered', answer: '?' }
        : { better: first === 'a' ? 'first' : 'second', answer: '' },
    );
    const judged = heldOutJudge(judge, prompts);
    expect((await judged(evaluation(1, 'a', 'b'), evaluation(0, 'x', 'y')))['evaluation/judgeWinRate']).toBe(
      1,
    );
    expect(
      (await judged(evaluation(1, 'b', 'b'), evaluation(0, 'x', 'y')))['evaluation/judgeWinRate'],
    ).toBeNaN();
  });
});
