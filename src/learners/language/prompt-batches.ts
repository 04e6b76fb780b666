import { PmpoError } from '../../core/errors.js';
import { drawInTurn, foldIn, type RandomKey, randomSeed } from '../../core/random-keys.js';
import { conversationOf } from '../../datasets/prompts.js';
import type { Completion, LanguageModel, SamplingSettings } from '../../language/language-model.js';
import type { Reward, RewardInput } from '../../language/rewards/reward.js';
import type { BatchSource, EvaluatedContext, EvaluatedSample, LanguageBatch, Prompt } from './batch.js';

/** Batches of completions that are sampled and evaluated. Shapes: B contexts, N samples for each. */

/** What samples completions and what evaluates them. */
export interface SampleAndEvaluateOptions {
  readonly sampler: LanguageModel;
  readonly reward: Reward;
  readonly sampling: SamplingSettings;
}

/** Seeds have 31 bits, because servers accept no more. */
const seedOf = (key: RandomKey) => randomSeed(key) >>> 1;

/**
 * Samples N completions of each prompt and evaluates them. Each prompt has its own seed, so that its completions do not depend on
 * the other prompts of the batch.
 * @throws PmpoError from the sampler and the reward, and when more than half of the completions cannot be evaluated.
 */
export async function sampleAndEvaluate(
  prompts: readonly Prompt[],
  completions: number,
  key: RandomKey,
  { sampler, reward, sampling }: SampleAndEvaluateOptions,
  signal?: AbortSignal,
): Promise<LanguageBatch> {
  const sampled = await Promise.all(
    prompts.map(({ tokens, stopTokens = [] }, b) =>
      sampler.sample({
        ...sampling,
        stopTokens: [...(sampling.stopTokens ?? []), ...stopTokens],
        prompt: tokens,
        completions,
        seed: seedOf(foldIn(key, b)),
        signal,
      }),
    ),
  );
  const questions = prompts.flatMap((prompt, b) =>
    sampled[b].map(
      ({ text, finishReason }): RewardInput => ({
        prompt: prompt.text,
        conversation: conversationOf(prompt),
        completion: text,
        finishReason,
        row: prompt.row,
      }),
    ),
  );
  const values = await reward.evaluate(questions, signal);
  const missing = values.filter((value) => value === undefined).length;
  if (missing > values.length / 2) {
    throw new PmpoError({
      where: 'language.reward',
      what: `${missing} of ${values.length} completions could not be evaluated`,
      remedy: 'The notices show what was wrong with the answers',
    });
  }
  let next = 0;
  return prompts.map(
    (prompt, b): EvaluatedContext => ({
      prompt,
      completions: sampled[b].map((completion) => toSample(completion, values[next++])),
    }),
  );
}

function toSample(
  { tokens, text, finishReason, logProbs }: Completion,
  evaluation: number | undefined,
): EvaluatedSample {
  return {
    text,
    tokens,
    finishReason,
    // An empty completion has no log-prob to learn from.
    ...(evaluation === undefined || tokens.length === 0 ? {} : { evaluation }),
    ...(logProbs === undefined ? {} : { samplerLogProbs: logProbs }),
  };
}

/** Batches of prompts with sampled and evaluated completions: every prompt once before any comes again. */
export class PromptBatches implements BatchSource {
  readonly #prompts: readonly Prompt[];
  readonly #options: SampleAndEvaluateOptions & { readonly batchSize: number; readonly samples: number };
  readonly #key: RandomKey;

  constructor(
    prompts: readonly Prompt[],
    options: SampleAndEvaluateOptions & { readonly batchSize: number; readonly samples: number },
    key: RandomKey,
  ) {
    this.#prompts = prompts;
    this.#options = options;
    this.#key = key;
  }

  batch(index: number, signal?: AbortSignal): Promise<LanguageBatch> {
    const { batchSize, samples } = this.#options;
    const chosen = drawInTurn(this.#prompts, index * batchSize, batchSize, foldIn(this.#key, 'order'));
    const key = foldIn(foldIn(this.#key, 'samples'), index);
    return sampleAndEvaluate(chosen, samples, key, this.#options, signal);
  }
}
