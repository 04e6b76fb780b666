import { drawInTurn, foldIn, type RandomKey } from '../../core/random-keys.js';
import type { Engine } from '../../engine/engine.js';
import { initTransformer, type TransformerConfig, transformerDefaults } from '../../networks/transformer.js';
import { HuggingFaceTokenizer } from '../hugging-face-tokenizer.js';
import { lengthBucket } from './batches.js';
import type { ModelFolder } from './model-folder.js';
import { createPretraining, type PretrainingBatch } from './pretraining.js';
import { trainTokenizer } from './tokenizer-training.js';

/** Pretrains a base model from documents: a tokenizer and a transformer. */

/** The size of the embedded transformer, and how it is pretrained. Sizes are numbers of layers, units, heads or tokens. */
export interface BaseModelSettings {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly hidden: number;
  /** The maximum vocabulary size; it is smaller if no pair of tokens is left to merge. */
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly pretraining: {
    /** The number of steps of Adam. */
    readonly steps: number;
    /** The number of documents in each step. */
    readonly batchSize: number;
    /** The peak learning rate; see `scheduledRate`. */
    readonly learningRate: number;
  };
}

/** The settings, documents and engine of `pretrainBaseModel`. The same key and documents give the same model. */
export interface BaseModelOptions {
  readonly engine: Engine;
  readonly key: RandomKey;
  /** Texts; the part of each that fits the context is used. */
  readonly documents: readonly string[];
  readonly settings: BaseModelSettings;
  /** Called after each step with the cross-entropy in nats per token. */
  readonly onStep?: (step: number, crossEntropy: number) => void;
  readonly signal?: AbortSignal;
}

/** The learning rate of a step in [0, steps): linear warm-up over the first twentieth, then cosine decay to a tenth of the peak. */
export function scheduledRate(
  step: number,
  { steps, learningRate }: Pick<BaseModelSettings['pretraining'], 'steps' | 'learningRate'>,
): number {
  const warmUp = Math.max(1, steps / 20);
  if (step < warmUp) return (learningRate * (step + 1)) / warmUp;
  const decayed = (step - warmUp) / Math.max(1, steps - warmUp);
  return learningRate * (0.1 + 0.45 * (1 + Math.cos(Math.PI * decayed)));
}

/** Documents as padded rows; batches have only a few different lengths. */
function batchOf(documents: readonly Int32Array[], contextLength: number): PretrainingBatch {
  const rows = documents.map((tokens) => tokens.subarray(0, contextLength + 1));
  const length = 1 + lengthBucket(Math.max(...rows.map((row) => row.length)) - 1, contextLength);
  const tokens = new Int32Array(rows.length * length);
  for (const [i, row] of rows.entries()) tokens.set(row, i * length);
  return { tokens, lengths: Int32Array.from(rows, (row) => row.length) };
}

/**
 * Trains a tokenizer and a transformer. The same key, documents and settings give the same model.
 * @throws PmpoError when the settings do not fit together.
 * @throws the reason of the signal when it is aborted.
 */
export async function pretrainBaseModel(options: BaseModelOptions): Promise<ModelFolder> {
  const { engine, key, settings, onStep, signal } = options;
  const { pretraining: schedule, ...shape } = settings;
  const tokenizerFiles = trainTokenizer(options.documents, settings);
  const tokenizer = new HuggingFaceTokenizer(tokenizerFiles);
  const { endToken } = tokenizer;
  const documents = options.documents.map((text) =>
    Int32Array.from([...tokenizer.encode(text, { begin: true }), endToken!]),
  );
  const config: TransformerConfig = {
    ...transformerDefaults,
    ...shape,
    vocabularySize: tokenizer.vocabularySize,
  };
  const pretraining = createPretraining(engine, config, initTransformer(foldIn(key, 'parameters'), config));
  const { steps, batchSize } = schedule;
  for (let step = 0; step < steps; step++) {
    signal?.throwIfAborted();
    const batch = drawInTurn(documents, step * batchSize, batchSize, foldIn(key, 'order'));
    onStep?.(
      step,
      await pretraining.step(batchOf(batch, config.contextLength), scheduledRate(step, schedule)),
    );
  }
  return { config, parameters: await pretraining.parameters(), tokenizerFiles };
}
