import { mean } from '../../core/statistics.js';
import type { LanguageEvaluation } from '../../run/records.js';
import type { LanguageBatch } from './batch.js';

/** What the policy writes on prompts that it never learns from. */

export function evaluated(updates: number, batch: LanguageBatch): LanguageEvaluation {
  return {
    updates,
    completions: batch.flatMap(({ prompt, completions }) =>
      completions.map(({ text, finishReason, evaluation }) => ({
        prompt: prompt.messages ?? prompt.text,
        completion: text,
        finishReason,
        ...(evaluation === undefined ? {} : { evaluation }),
      })),
    ),
  };
}

/** The evaluations of those that have one. */
export function evaluations({ completions }: LanguageEvaluation): number[] {
  return completions.flatMap(({ evaluation }) => evaluation ?? []);
}

/**
 * The share of completions that are evaluated higher than those of the base model on the same prompts, of equal ones half.
 * NaN where no prompt was judged in both.
 */
export function winRate(policy: LanguageEvaluation, base: LanguageEvaluation): number {
  return mean(
    policy.completions.flatMap(({ evaluation }, i) => {
      const other = base.completions[i]?.evaluation;
      if (evaluation === undefined || other === undefined) return [];
      return evaluation > other ? 1 : evaluation === other ? 0.5 : 0;
    }),
  );
}
