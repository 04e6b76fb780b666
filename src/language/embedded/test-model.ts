import type { TransformerConfig } from '../../networks/transformer.js';
import { initTransformer } from '../../networks/transformer.js';
import { randomKey } from '../../random/keys.js';
import type { ModelFolder } from './model-folder.js';
import { trainTokenizer } from './tokenizer-training.js';

/** What this folder's tests share: a model small enough to be made in a moment, of random weights. */

export const tinyConfig: TransformerConfig = {
  vocabularySize: 270,
  contextLength: 48,
  layers: 2,
  width: 16,
  heads: 4,
  keyValueHeads: 2,
  hidden: 24,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
};

export function tinyModel(seed: number): ModelFolder {
  const texts = ['The soup was warm.', 'The soup was cold, and the bread was warm.'];
  const { contextLength, vocabularySize } = tinyConfig;
  return {
    config: tinyConfig,
    parameters: Object.fromEntries(
      // Larger than for training, so that the next token is far from being any.
      Object.entries(initTransformer(randomKey(seed), tinyConfig)).map(([name, { shape, data }]) => [
        name,
        { shape, data: name.includes('embed') ? Float32Array.from(data, (x) => 20 * x) : data },
      ]),
    ),
    tokenizerFiles: trainTokenizer(texts, { vocabularySize, contextLength }),
  };
}
