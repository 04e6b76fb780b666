import { randomKey } from '../../src/core/random-keys.js';
import type { ModelFolder } from '../../src/language/embedded/model-folder.js';
import { trainTokenizer } from '../../src/language/embedded/tokenizer-training.js';
import type { TransformerConfig } from '../../src/networks/transformer.js';
import { initTransformer } from '../../src/networks/transformer.js';

/** For tests of the embedded language model: a tiny model with random weights. */

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

/** The configuration of the model in test/references/llama_transformers.py. */
export const referenceConfig: TransformerConfig = { ...tinyConfig, vocabularySize: 19, contextLength: 32 };

export function tinyModel(seed: number, config = tinyConfig): ModelFolder {
  const texts = ['The soup was warm.', 'The soup was cold, and the bread was warm.'];
  const { contextLength, vocabularySize } = config;
  return {
    config,
    parameters: Object.fromEntries(
      // Larger embeddings than for training, so that the next-token distribution is far from uniform.
      Object.entries(initTransformer(randomKey(seed), config)).map(([name, { shape, data }]) => [
        name,
        { shape, data: name.includes('embed') ? Float32Array.from(data, (x) => 20 * x) : data },
      ]),
    ),
    tokenizerFiles: trainTokenizer(texts, { vocabularySize, contextLength }),
  };
}
