import { createEngine } from '../../engine/create.js';
import { initTransformer, type TransformerConfig, transformerDefaults } from '../../networks/transformer.js';
import { foldIn, type RandomKey } from '../../random/keys.js';
import { HuggingFaceTokenizer } from '../hugging-face-tokenizer.js';
import type { Tokenizer } from '../tokenizer.js';
import { lengthBucket } from './batches.js';
import type { ModelFolder } from './model-folder.js';
import { createPretraining, type PretrainingBatch } from './pretraining.js';
import { makeReviews, type Review, reviewPrompts } from './reviews.js';
import { trainTokenizer } from './tokenizer-training.js';

/** Makes the base model of the embedded example: a tokenizer and a transformer that has learnt to write reviews. */

export interface BaseModelSettings {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly hidden: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
  /** Steps of Adam, and the reviews in each. */
  readonly steps: number;
  readonly batch: number;
  /** At its highest; it rises over the first twentieth of the steps and falls to a tenth along a cosine. */
  readonly learningRate: number;
}

/** About a minute on two cores. */
export const baseModelDefaults: BaseModelSettings = {
  layers: 3,
  width: 128,
  heads: 4,
  keyValueHeads: 2,
  hidden: 352,
  vocabularySize: 512,
  contextLength: 64,
  steps: 700,
  batch: 32,
  learningRate: 3e-3,
};

export interface BaseModelOptions {
  readonly key: RandomKey;
  readonly settings?: Partial<BaseModelSettings>;
  /** Told after each step; the cross-entropy is in nats per token. */
  readonly onStep?: (step: number, crossEntropy: number) => void;
  readonly signal?: AbortSignal;
}

/** The learning rate of a step in [0, steps): linear warm-up, then a cosine down to a tenth. */
export function scheduledRate(step: number, { steps, learningRate }: BaseModelSettings): number {
  const warmUp = Math.max(1, steps / 20);
  if (step < warmUp) return (learningRate * (step + 1)) / warmUp;
  const done = (step - warmUp) / Math.max(1, steps - warmUp);
  return learningRate * (0.1 + 0.45 * (1 + Math.cos(Math.PI * done)));
}

/** Reviews as tokens between begin and end, in rows of equal length. */
export function encodeReviews(
  reviews: readonly Review[],
  tokenizer: Tokenizer,
  contextLength: number,
): PretrainingBatch {
  const rows = reviews.map(({ prompt, completion }) => {
    const tokens = tokenizer.encode(prompt + completion, { begin: true });
    return [...tokens, tokenizer.endToken!].slice(0, contextLength + 1);
  });
  const length = 1 + lengthBucket(Math.max(...rows.map((row) => row.length)) - 1, contextLength);
  const tokens = new Int32Array(rows.length * length);
  for (const [i, row] of rows.entries()) tokens.set(row, i * length);
  return { tokens, lengths: Int32Array.from(rows, (row) => row.length) };
}

/**
 * The same key and settings give the same model.
 * @throws PmpoError when the settings do not fit together; the signal's reason when it is aborted.
 */
export async function pretrainBaseModel(options: BaseModelOptions): Promise<ModelFolder> {
  const { key, onStep, signal } = options;
  const settings: BaseModelSettings = { ...baseModelDefaults, ...options.settings };
  const { training: prompts } = reviewPrompts(key);
  const sample = makeReviews(foldIn(key, 'tokenizer'), prompts, 2000);
  const tokenizerFiles = trainTokenizer(
    sample.map(({ prompt, completion }) => prompt + completion),
    settings,
  );
  const tokenizer = new HuggingFaceTokenizer(tokenizerFiles);
  const { steps, batch, learningRate: _, ...shape } = settings;
  const config: TransformerConfig = {
    ...transformerDefaults,
    ...shape,
    // The tokenizer may have found nothing more to merge.
    vocabularySize: tokenizer.vocabularySize,
  };
  const engine = await createEngine('auto');
  try {
    const pretraining = createPretraining(engine, config, initTransformer(foldIn(key, 'parameters'), config));
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted();
      const reviews = makeReviews(foldIn(foldIn(key, 'reviews'), step), prompts, batch);
      const encoded = encodeReviews(reviews, tokenizer, config.contextLength);
      const crossEntropy = await pretraining.step(encoded, scheduledRate(step, settings));
      onStep?.(step, crossEntropy);
    }
    return { config, parameters: await pretraining.parameters(), tokenizerFiles };
  } finally {
    await engine.dispose();
  }
}
