import { describe, expect, it } from 'vitest';
import { randomKey } from '../../random/keys.js';
import { HuggingFaceTokenizer } from '../hugging-face-tokenizer.js';
import { baseModelDefaults, encodeReviews, pretrainBaseModel, scheduledRate } from './base-model.js';
import { makeReviews, reviewPrompts } from './reviews.js';

const settings = {
  layers: 1,
  width: 16,
  heads: 2,
  keyValueHeads: 1,
  hidden: 32,
  steps: 12,
  batch: 4,
  learningRate: 0.02,
};

describe('pretraining', () => {
  it('lowers the cross-entropy, and is the same for the same key', async () => {
    const run = async () => {
      const losses: number[] = [];
      const model = await pretrainBaseModel({
        key: randomKey(1),
        settings,
        onStep: (step, crossEntropy) => {
          expect(step).toBe(losses.length);
          losses.push(crossEntropy);
        },
      });
      return { losses, model };
    };
    const { losses, model } = await run();
    expect(losses).toHaveLength(12);
    // The first is that of any token.
    expect(losses[0]).toBeCloseTo(Math.log(512), 0);
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.5);
    expect(await run()).toEqual({ losses, model });
  });

  it('stops when it is told to', async () => {
    const controller = new AbortController();
    const running = pretrainBaseModel({
      key: randomKey(1),
      settings,
      signal: controller.signal,
      onStep: () => controller.abort(new Error('enough')),
    });
    await expect(running).rejects.toThrow('enough');
  });
});

it('the learning rate rises to its highest and falls to a tenth', () => {
  const rates = Array.from({ length: 400 }, (_, step) => scheduledRate(step, baseModelDefaults));
  expect(Math.max(...rates)).toBeCloseTo(3e-3, 8);
  expect(rates[0]).toBeCloseTo(3e-3 / 20, 8);
  expect(rates.at(-1)).toBeCloseTo(3e-4, 5);
});

describe('reviews as tokens', () => {
  it('are prompt and completion between begin and end, padded to one length', async () => {
    const { tokenizerFiles } = await pretrainBaseModel({
      key: randomKey(1),
      settings: { ...settings, steps: 0 },
    });
    const tokenizer = new HuggingFaceTokenizer(tokenizerFiles);
    const reviews = makeReviews(randomKey(5), reviewPrompts(randomKey(1)).heldOut, 20);
    const { tokens, lengths } = encodeReviews(reviews, tokenizer, 64);
    const width = tokens.length / 20;
    expect((width - 1) % 16).toBe(0);
    for (const [i, { prompt, completion }] of reviews.entries()) {
      const row = tokens.subarray(i * width, i * width + lengths[i]!);
      // A prompt's tokens do not depend on what follows it: sampling begins where the texts did.
      const encoded = [...tokenizer.encode(prompt), ...tokenizer.encode(completion, { begin: false }), 2];
      expect([...row]).toEqual(encoded);
      expect(encoded.length).toBeLessThan(64);
    }
  });
});
