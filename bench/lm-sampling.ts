/**
 * Compares tokens per second of the embedded model with its cache, through its gRPC server and client, with `generate` of
 * transformers with its cache: 32 completions of 96 tokens for prompts of 16 tokens, the same model, two threads each.
 *
 *     npm run bench lm-sampling [-- --rounds N]
 */

import { fillIntegers, foldIn, randomKey } from '../src/core/random-keys.js';
import { createEngine } from '../src/engine/create.js';
import { createEmbeddedModel } from '../src/language/embedded/embedded-model.js';
import { makeReviews, reviewPrompts } from '../src/language/embedded/reviews.js';
import { trainTokenizer } from '../src/language/embedded/tokenizer-training.js';
import { VllmClient } from '../src/language/vllm-client.js';
import { initTransformer } from '../src/networks/transformer.js';
import { compare, config, type Side, threads, timed, transformersSide } from './support/language-model.js';
import { load, machine } from './support/machine.js';

const [batch, promptLength, newTokens] = [32, 16, 96];
const at = process.argv.indexOf('--rounds');
const rounds = at < 0 ? 7 : Number(process.argv[at + 1]);

async function embedded(): Promise<Side> {
  const { training } = reviewPrompts(randomKey(3));
  const reviews = makeReviews(randomKey(4), training, 1000);
  const texts = reviews.map(({ prompt, completion }) => prompt + completion);
  const engine = await createEngine('onnx', { threads });
  const model = await createEmbeddedModel({
    engine,
    base: {
      config,
      parameters: initTransformer(randomKey(0), config),
      tokenizerFiles: trainTokenizer(texts, config),
    },
    name: 'bench',
    key: randomKey(1),
    connect: (address) => VllmClient.connect({ address }),
    slots: batch,
  });
  const prompts = Array.from({ length: batch }, (_, i) => {
    const drawn = fillIntegers(
      foldIn(randomKey(2), i),
      config.vocabularySize - 3,
      new Uint32Array(promptLength),
    );
    return Int32Array.from(drawn, (token) => token + 3);
  });
  const settings = { completions: 1, minTokens: newTokens, maxTokens: newTokens, ignoreEnd: true };
  return {
    name: 'embedded',
    time: (count) =>
      timed(count, async () => {
        await Promise.all(prompts.map((prompt, seed) => model.sampler.sample({ ...settings, prompt, seed })));
      }),
    close: async () => {
      await model.close();
      await engine.dispose();
    },
  };
}

const loadBefore = load();
const sides = [
  await embedded(),
  await transformersSide('sample', { batch, length: promptLength, promptLength, newTokens }),
];
const { sides: milliseconds, ratio } = await compare(sides, rounds, () => 1);
const perSecond = (name: string) => Math.round((1000 * batch * newTokens) / milliseconds[name]!.median);
console.log(
  JSON.stringify(
    {
      benchmark: 'lm-sampling',
      machine: machine(loadBefore),
      ...config,
      batch,
      promptLength,
      newTokens,
      threads,
      rounds,
      milliseconds,
      tokensPerSecond: { embedded: perSecond('embedded'), transformers: perSecond('transformers') },
      timesTransformers: ratio('embedded', 'transformers'),
    },
    undefined,
    2,
  ),
);
