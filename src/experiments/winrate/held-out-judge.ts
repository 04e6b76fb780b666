import { mean } from '../../core/statistics.js';
import { conversationOf } from '../../datasets/prompts.js';
import type { FinishReason } from '../../language/language-model.js';
import type { HeldOutJudge } from '../../learners/language/train-options.js';
import type { LanguageEvaluation } from '../../run/records.js';
import { askAll, type JudgedPrompt, judgePairs } from './judge-pairs.js';
import type { PairJudge } from './judges.js';
import { tally } from './tally.js';

const stopped = { where: 'evaluation.judge', what: 'stopped' };

type Rewards = (number | undefined)[];

/**
 * A judge of the evaluations of a training run. It records `evaluation/judgeWinRate`, the share of held-out completions that it
 * prefers to those of the model before training on the same prompts. Equal texts are ties, and ties count half. A judge that is a reward
 * also records `evaluation/judgeReward`, its mean reward of the completions that it could judge. Each is NaN if there is nothing to
 * count; if the judge is not a reward, the second always is.
 * @param prompts the held-out prompts; every evaluation has the same number of completions of each, in order.
 */
export function heldOutJudge(judge: PairJudge, prompts: readonly JudgedPrompt[]): HeldOutJudge {
  const { rewardsOf } = judge;
  const promptOf = ({ completions }: LanguageEvaluation, i: number) =>
    prompts[Math.floor(i / (completions.length / prompts.length))]!;
  const completionOf = ({ completions }: LanguageEvaluation, i: number) => ({
    text: completions[i]!.completion,
    finishReason: completions[i]!.finishReason as FinishReason,
  });
  const indicesOf = ({ completions }: LanguageEvaluation) => completions.map((_, i) => i);

  if (rewardsOf === undefined) {
    return async (policy, base, signal) => {
      const all = indicesOf(policy);
      const changed = all.filter((i) => completionOf(policy, i).text !== completionOf(base, i).text);
      const verdicts = await judgePairs(
        judge,
        changed.map((i) => promptOf(policy, i)),
        { a: changed.map((i) => completionOf(policy, i)), b: changed.map((i) => completionOf(base, i)) },
        { stopped, signal },
      );
      const { wins, losses, ties } = tally(verdicts);
      const tied = ties + all.length - changed.length;
      const judgeWinRate = (wins + tied / 2) / (wins + losses + tied);
      return { 'evaluation/judgeWinRate': judgeWinRate, 'evaluation/judgeReward': Number.NaN };
    };
  }

  /** Asks for the rewards of an evaluation that `rewards` lacks. They stay in the order of the completions, whichever comes first. */
  const fill = (rewards: Rewards, evaluation: LanguageEvaluation, signal?: AbortSignal) => {
    const ask = async (i: number) => {
      const { text: completion, finishReason } = completionOf(evaluation, i);
      const prompt = promptOf(evaluation, i);
      const { text, row } = prompt;
      const input = { prompt: text, conversation: conversationOf(prompt), completion, finishReason, row };
      [rewards[i]] = await rewardsOf([input], signal);
    };
    const missing = indicesOf(evaluation).filter((i) => rewards[i] === undefined);
    return askAll(missing, ask, { stopped, signal });
  };
  // The base model's rewards are asked for once.
  let known: { readonly base: LanguageEvaluation; readonly rewards: Rewards } | undefined;
  return async (policy, base, signal) => {
    if (known?.base !== base) known = { base, rewards: [] };
    const theirs = known.rewards;
    const own: Rewards = policy === base ? theirs : [];
    await fill(own, policy, signal);
    if (policy !== base) await fill(theirs, base, signal);
    const outcomes = indicesOf(policy).flatMap((i) => {
      const [one, other] = [own[i], theirs[i]];
      if (completionOf(policy, i).text === completionOf(base, i).text) return 0.5;
      if (one === undefined || other === undefined) return [];
      return one > other ? 1 : one === other ? 0.5 : 0;
    });
    return {
      'evaluation/judgeWinRate': mean(outcomes),
      'evaluation/judgeReward': mean(own.flatMap((reward) => reward ?? [])),
    };
  };
}
