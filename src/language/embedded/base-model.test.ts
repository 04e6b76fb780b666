import { afterAll, describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import { HuggingFaceTokenizer } from '../hugging-face-tokenizer.js';
import { type BaseModelOptions, pretrainBaseModel, scheduledRate } from './base-model.js';
import { makeReviews, reviewPrompts } from './reviews.js';

const engines: Engine[] = [];
afterAll(async () => {
  for (const engine of engines) await engine.dispose();
});

const settings = {
  layers: 1,
  width: 16,
  heads: 2,
  keyValueHeads: 1,
  hidden: 32,
  vocabularySize: 512,
  contextLength: 64,
  pretraining: { steps: 12, batchSize: 4, learningRate: 0.02 },
};
const { training, heldOut } = reviewPrompts(randomKey(1));
const documents = makeReviews(randomKey(2), training, 500).map(
  ({ prompt, completion }) => prompt + completion,
);

async function pretrain(more: Partial<BaseModelOptions> = {}) {
  const engine = await createEngine('onnx', { threads: 1 });
  engines.push(engine);
  return pretrainBaseModel({ engine, key: randomKey(1), documents, settings, ...more });
}

describe('pretrainBaseModel', () => {
  it('lowers the cross-entropy, and gives the same model for the same key', async () => {
    const run = async () => {
      const losses: number[] = [];
      const model = await pretrain({
        onStep: (step, crossEntropy) => {
          expect(step).toBe(losses.length);
          losses.push(crossEntropy);
        },
      });
      return { losses, model };
    };
    const { losses, model } = await run();
    expect(losses).toHaveLength(12);
    // At first, all tokens are equally likely.
    expect(losses[0]).toBeCloseTo(Math.log(512), 0);
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.5);
    expect(await run()).toEqual({ losses, model });
  });

  it('stops when the signal is aborted', async () => {
    const controller = new AbortController();
    const stop = () => controller.abort(new Error('enough'));
    await expect(pretrain({ signal: controller.signal, onStep: stop })).rejects.toThrow('enough');
  });

  it('makes a tokenizer that encodes a prompt in the same way whatever follows it', async () => {
    const none = { ...settings.pretraining, steps: 0 };
    const { tokenizerFiles, config } = await pretrain({ settings: { ...settings, pretraining: none } });
    const tokenizer = new HuggingFaceTokenizer(tokenizerFiles);
    expect(config.vocabularySize).toBe(tokenizer.vocabularySize);
    for (const { prompt, completion } of makeReviews(randomKey(5), heldOut, 20)) {
      const apart = [...tokenizer.encode(prompt), ...tokenizer.encode(completion, { begin: false })];
      expect([...tokenizer.encode(prompt + completion)]).toEqual(apart);
      expect(apart.length).toBeLessThan(64);
    }
  });
});

it('the learning rate rises to its peak and falls to a tenth of it', () => {
  const schedule = { steps: 400, learningRate: 3e-3 };
  const rates = Array.from({ length: 400 }, (_, step) => scheduledRate(step, schedule));
  expect(Math.max(...rates)).toBeCloseTo(3e-3, 8);
  expect(rates[0]).toBeCloseTo(3e-3 / 20, 8);
  expect(rates.at(-1)).toBeCloseTo(3e-4, 5);
});
