import { mean } from '../../core/statistics.js';
import type { FinishReason } from '../../language/language-model.js';
import type { HeldOutJudge } from '../../learners/language/train-options.js';
import type { LanguageEvaluation } from '../../run/records.js';
import { type JudgedPrompt, judgePairs } from './judge-pairs.js';
import type { PairJudge } from './judges.js';
import { tally } from './tally.js';

/**
 * A judge of the evaluations of a training run. It records `evaluation/judgeWinRate`, the share of held-out completions that it
 * prefers to those of the model before training on the same prompts, ties half; a judge that is a reward also `evaluation/judgeReward`,
 * its mean reward. Equal texts are ties, and the judge is not asked about them. Both are NaN if it answers nothing.
 * @param prompts the held-out prompts; every evaluation has the same number of completions of each, in order.
 */
export function heldOutJudge(judge: PairJudge, prompts: readonly JudgedPrompt[]): HeldOutJudge {
  return async (policy, base, signal) => {
    const each = policy.completions.length / prompts.length;
    const all = policy.completions.map((_, i) => i);
    const promptOf = (i: number) => prompts[Math.floor(i / each)]!;
    const textOf = ({ completions }: LanguageEvaluation, i: number) => completions[i]!.completion;
    const isTied = (i: number) => textOf(policy, i) === textOf(base, i);
    // The mean reward needs every completion of the policy, those that are equal to the base model's included.
    const asked = judge.isReward ? all : all.filter((i) => !isTied(i));
    const completionsOf = (evaluation: LanguageEvaluation) =>
      asked.map((i) => ({
        text: textOf(evaluation, i),
        finishReason: evaluation.completions[i]!.finishReason as FinishReason,
      }));
    const rewards: number[] = [];
    const verdicts = await judgePairs(
      judge,
      asked.map(promptOf),
      { a: completionsOf(policy), b: completionsOf(base) },
      { signal, onRewards: (_, [own]) => rewards.push(own) },
    );
    const { wins, losses, ties } = tally(verdicts);
    const tied = ties + all.length - asked.length;
    const judgeWinRate = (wins + tied / 2) / (wins + losses + tied);
    return { 'evaluation/judgeWinRate': judgeWinRate, 'evaluation/judgeReward': mean(rewards) };
  };
}
