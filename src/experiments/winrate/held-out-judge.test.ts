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
function judgeOf(decide: (first: string, second: string) => Decision) {
  const asked: string[] = [];
  const judge: PairJudge = {
    bothOrders: true,
    identity: 'test',
    decide: async ({ prompt, first, second }) => {
      asked.push(`${prompt}: ${first} or ${second}`);
      return decide(first, second);
    },
    close: async () => {},
  };
  return { judge, asked };
}

/** A judge that is a reward, and the completions whose rewards it was asked for. */
function rewardOf(reward: (completion: string) => number | undefined) {
  const asked: string[] = [];
  const judge: PairJudge = {
    bothOrders: false,
    identity: 'test',
    rewardsOf: async (inputs) => {
      asked.push(...inputs.map(({ prompt, completion }) => `${prompt}: ${completion}`));
      const { completion } = inputs[0]!;
      // Short texts take longer, so that the answers come in another order than the questions.
      for (let turn = 0; turn < 40 - completion.length; turn++) await Promise.resolve();
      return inputs.map((input) => reward(input.completion));
    },
    decide: async () => {
      throw new Error('a reward is not asked to compare');
    },
    close: async () => {},
  };
  return { judge, asked };
}

describe('heldOutJudge', () => {
  it('counts greater rewards than the base model, and the mean of the own ones', async () => {
    const { judge, asked } = rewardOf(({ length }) => length);
    const base = evaluation(0, 'long', 'same', 'xy', 'four');
    const judged = heldOutJudge(judge, prompts);
    const metrics = await judged(evaluation(10, 'longer', 'same', 'x', 'five5'), base);
    expect(metrics).toEqual({ 'evaluation/judgeWinRate': 2.5 / 4, 'evaluation/judgeReward': 16 / 4 });
    // Two completions of each prompt.
    const own = ['one: longer', 'one: same', 'two: x', 'two: five5'];
    expect(asked).toEqual([...own, 'one: long', 'one: same', 'two: xy', 'two: four']);
  });

  it("asks for the base model's rewards once", async () => {
    const { judge, asked } = rewardOf(({ length }) => length);
    const base = evaluation(0, 'a', 'bb');
    const judged = heldOutJudge(judge, prompts);
    expect((await judged(base, base))['evaluation/judgeWinRate']).toBe(0.5);
    expect(asked).toEqual(['one: a', 'two: bb']);
    expect((await judged(evaluation(1, 'ccc', 'd'), base))['evaluation/judgeWinRate']).toBe(0.5);
    expect(asked).toEqual(['one: a', 'two: bb', 'one: ccc', 'two: d']);
  });

  it('counts equal texts as ties, however noisy a reward is', async () => {
    let calls = 0;
    const { judge } = rewardOf(() => (calls++) ** 2);
    const metrics = await heldOutJudge(judge, prompts)(evaluation(1, 'a', 'b'), evaluation(0, 'a', 'b'));
    expect(metrics['evaluation/judgeWinRate']).toBe(0.5);
  });

  it("keeps the policy's reward where the base model's is missing", async () => {
    const { judge } = rewardOf((text) => (text === '?' ? undefined : text.length));
    const metrics = await heldOutJudge(judge, prompts)(evaluation(1, 'aa', 'bbb'), evaluation(0, '?', 'b'));
    expect(metrics).toEqual({ 'evaluation/judgeWinRate': 1, 'evaluation/judgeReward': 2.5 });
  });

  it('adds rewards in the order of the completions, whichever comes first', async () => {
    const rewards: Record<string, number> = {
      a: 1,
      'a longer text': 1e16,
      'the longest of all texts': -1e16,
    };
    const { judge } = rewardOf((text) => rewards[text] ?? 0);
    const one = [{ text: 'one', row: { prompt: 'one' } }];
    const base = evaluation(0, '-', '-', '-');
    const metrics = await heldOutJudge(judge, one)(evaluation(1, ...Object.keys(rewards)), base);
    expect(metrics['evaluation/judgeReward']).toBe((1 + 1e16 - 1e16) / 3);
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
