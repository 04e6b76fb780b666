import { mean } from '../../core/statistics.js';
import { textDiversity } from '../../core/text-diversity.js';
import type { LanguageEvaluation } from '../../run/records.js';
import type { LanguageBatch } from './batch.js';

/** Evaluations of the policy on held-out prompts. */

/** The record of an evaluation after `updates` updates. */
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

/** The evaluations of all completions that could be evaluated. */
export function evaluations({ completions }: LanguageEvaluation): number[] {
  return completions.flatMap(({ evaluation }) => evaluation ?? []);
}

/**
 * The share of completions that are evaluated higher than the base model's on the same prompts; ties count half. NaN if no
 * prompt was evaluated in both evaluations.
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

/** How long and how diverse the completions of an evaluation are, as metrics; see core/text-diversity.ts. NaN where nothing can be said. */
export function textMetrics({ completions }: LanguageEvaluation): Readonly<Record<string, number>> {
  const diversity = textDiversity(completions.map(({ completion }) => completion));
  return Object.fromEntries(Object.entries(diversity).map(([name, value]) => [`evaluation/${name}`, value]));
}
