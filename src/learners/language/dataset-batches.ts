import { ConfigError } from '../../core/errors.js';
import { drawInTurn, foldIn, permutation, type RandomKey } from '../../core/random-keys.js';
import { mean } from '../../core/statistics.js';
import { promptKey } from '../../datasets/prompts.js';
import type { TokenSequence, TrainableModel } from '../../language/trainable-model.js';
import type { BatchSource, EvaluatedContext, LanguageBatch } from './batch.js';

/** Batches from a data set: every context once before any comes again. From a context with more than N completions, N are drawn. */
export class DatasetBatches implements BatchSource {
  readonly #contexts: readonly EvaluatedContext[];
  readonly #batchSize: number;
  readonly #samples: number;
  readonly #withAccepted: boolean;
  readonly #key: RandomKey;

  /**
   * @param options `withAccepted`: whether one of the completions that are drawn must be accepted, if the context has such, for operators
   *   that would imitate rejected completions which are drawn alone. Default: false.
   */
  constructor(
    contexts: readonly EvaluatedContext[],
    {
      batchSize,
      samples,
      withAccepted = false,
    }: { readonly batchSize: number; readonly samples: number; readonly withAccepted?: boolean },
    key: RandomKey,
  ) {
    this.#contexts = contexts;
    this.#batchSize = batchSize;
    this.#samples = samples;
    this.#withAccepted = withAccepted;
    this.#key = key;
  }

  async batch(index: number): Promise<LanguageBatch> {
    const from = index * this.#batchSize;
    const drawn = drawInTurn(this.#contexts, from, this.#batchSize, foldIn(this.#key, 'order'));
    return drawn.map(({ prompt, completions }, b) => {
      if (completions.length <= this.#samples) return { prompt, completions };
      const order = permutation(foldIn(foldIn(this.#key, 'completions'), from + b), completions.length);
      const chosen = order.slice(0, this.#samples);
      const isAccepted = (i: number) => (completions[i].evaluation ?? 0) > 0;
      if (this.#withAccepted && !chosen.some(isAccepted)) {
        const accepted = order.find(isAccepted);
        if (accepted !== undefined) chosen[0] = accepted;
      }
      chosen.sort();
      return { prompt, completions: Array.from(chosen, (i) => completions[i]) };
    });
  }
}

/**
 * Splits contexts into those that are learned from and those that are only evaluated on. Contexts with the same prompt stay together, so
 * that no prompt that is held out is learned from.
 * @param share of the prompts to hold out.
 * @throws ConfigError when no context is left to learn from.
 */
export function holdOut(
  contexts: readonly EvaluatedContext[],
  share: number,
  key: RandomKey,
): { readonly training: readonly EvaluatedContext[]; readonly heldOut: readonly EvaluatedContext[] } {
  const prompts = [...new Set(contexts.map(({ prompt }) => promptKey(prompt)))];
  const count = Math.round(prompts.length * share);
  if (count >= prompts.length) {
    throw new ConfigError({
      where: 'language.dataset.heldOut',
      what: `holding out ${share} of ${prompts.length} prompts leaves none to learn from`,
      remedy: 'Hold out fewer',
    });
  }
  const order = permutation(key, prompts.length);
  const held = new Set(Array.from(order.subarray(0, count), (i) => prompts[i]));
  const isHeld = ({ prompt }: EvaluatedContext) => held.has(promptKey(prompt));
  return {
    training: contexts.filter((context) => !isHeld(context)),
    heldOut: contexts.filter(isHeld),
  };
}

const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);

/** log π_θ(y_t | x, y_<t) for each token of S sequences, nats, [S] × [T]; in portions, so that no call is too large. */
async function logProbs(model: TrainableModel, sequences: readonly TokenSequence[]): Promise<Float32Array[]> {
  const portion = 32;
  const scores: Float32Array[] = [];
  for (let i = 0; i < sequences.length; i += portion) {
    const part = await model.score(sequences.slice(i, i + portion), { policy: true });
    scores.push(...part.map(({ logProb }) => logProb!));
  }
  return scores;
}

/** The completions of a context on the better or worse side: by their labels, or the best and the worst by their scores. */
function sideOf({ completions }: EvaluatedContext, sign: 1 | -1, evaluations: 'labels' | 'scores') {
  if (evaluations === 'labels') return completions.filter(({ evaluation = 0 }) => evaluation * sign > 0);
  const values = completions.map(({ evaluation = 0 }) => evaluation * sign);
  const [best, worst] = [Math.max(...values), Math.min(...values)];
  return best === worst ? [] : completions.filter((_, i) => values[i] === best);
}

const sideNames = { labels: ['accepted', 'rejected'], scores: ['best', 'worst'] } as const;

/**
 * Metrics of a policy on held-out completions: the mean of log π_θ(y|x) over the accepted and over the rejected ones, nats; of scored
 * completions, over the best and the worst of each context. A side without completions has no metric.
 */
export async function heldOutLogProbs(
  model: TrainableModel,
  contexts: readonly EvaluatedContext[],
  evaluations: 'labels' | 'scores',
): Promise<Record<string, number>> {
  const metrics: Record<string, number> = {};
  for (const [i, sign] of ([1, -1] as const).entries()) {
    const sequences = contexts.flatMap((context) =>
      sideOf(context, sign, evaluations).map(({ tokens }) => ({
        prompt: context.prompt.tokens,
        completion: tokens,
      })),
    );
    if (sequences.length === 0) continue;
    metrics[`heldOut/logProb/${sideNames[evaluations][i]}`] = mean(
      (await logProbs(model, sequences)).map(sum),
    );
  }
  return metrics;
}

/** Perplexity of texts: exp of the mean negative log-prob of a token, given the first token of each text. */
export async function perplexity(model: TrainableModel, texts: readonly Int32Array[]): Promise<number> {
  const scores = await logProbs(
    model,
    texts.map((tokens) => ({ prompt: tokens.slice(0, 1), completion: tokens.slice(1) })),
  );
  const tokens = scores.reduce((count, { length }) => count + length, 0);
  return Math.exp(-scores.reduce((total, own) => total + sum(own), 0) / tokens);
}
