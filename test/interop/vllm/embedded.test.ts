import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { randomKey } from '../../../src/core/random-keys.js';
import { createEngine } from '../../../src/engine/create.js';
import type { Engine } from '../../../src/engine/engine.js';
import { createEmbeddedModel, type EmbeddedModel } from '../../../src/language/embedded/embedded-model.js';
import type { SamplingSettings } from '../../../src/language/language-model.js';
import { VllmClient } from '../../../src/language/vllm-client.js';
import { tinyConfig, tinyModel } from '../../support/tiny-model.js';
import { killAll, startVllm } from './server.js';

// vLLM serves the folder of an embedded model exactly as the embedded server does.

const python = process.env.PMPO_PYTHON_VLLM!;
if (python === undefined) throw new Error('run this with `npm run test:interop vllm`');
/** A head size that vLLM's CPU kernels support. */
const config = { ...tinyConfig, width: 64, heads: 2, keyValueHeads: 1, hidden: 96 };
const testMs = 240_000;

let folder: string;
let engine: Engine;
let model: EmbeddedModel;
let client: VllmClient;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-vllm-embedded-'));
  engine = await createEngine('onnx');
  model = await createEmbeddedModel({
    engine,
    base: tinyModel(3, config),
    name: 'tiny',
    key: randomKey(0),
    connect: (address) => VllmClient.connect({ address }),
  });
  await model.exportPolicy(join(folder, 'policy'));
  const { address } = await startVllm(python, join(folder, 'policy'));
  client = await VllmClient.connect({ address, deadlineSeconds: testMs / 1000 });
}, 560_000);
afterAll(async () => {
  await client?.close();
  await killAll();
  await model?.close();
  await engine?.dispose();
  await rm(folder, { recursive: true, force: true });
});

it('is the same model, with the same tokenizer', () => {
  const { name: _, ...info } = model.sampler.info;
  expect(client.info).toMatchObject(info);
  expect(client.tokenizer.vocabularyHash).toBe(model.sampler.tokenizer.vocabularyHash);
  const text = 'The soup was cold 🥣';
  expect([...client.tokenizer.encode(text)]).toEqual([...model.sampler.tokenizer.encode(text)]);
});

it(
  'gives the same log-probs',
  async () => {
    const prompt = client.tokenizer.encode('The soup');
    const sampled = await client.sample({ prompt, completions: 4, maxTokens: 20, seed: 3, ignoreEnd: true });
    for (const { tokens, logProbs } of sampled) {
      const own = await model.sampler.score(prompt, tokens);
      for (const [t, value] of own.entries()) expect(Math.abs(value - logProbs![t]!)).toBeLessThan(1e-3);
    }
    expect(new Set(sampled.map(({ tokens }) => String(tokens))).size).toBeGreaterThan(1);
  },
  testMs,
);

it(
  'chooses the same tokens with any penalties',
  async () => {
    const prompt = client.tokenizer.encode('The soup was warm, and');
    const settings: Partial<SamplingSettings>[] = [
      {},
      { repetitionPenalty: 1.5 },
      { presencePenalty: 1.5 },
      { frequencyPenalty: 0.8 },
      { presencePenalty: -0.5, frequencyPenalty: 0.8, repetitionPenalty: 1.2 },
    ];
    const chosen = new Set<string>();
    for (const own of settings) {
      const request = { prompt, completions: 1, maxTokens: 24, temperature: 0, ignoreEnd: true, ...own };
      const [[here], [there]] = await Promise.all([model.sampler.sample(request), client.sample(request)]);
      expect([...there!.tokens], JSON.stringify(own)).toEqual([...here!.tokens]);
      chosen.add(String(here!.tokens));
    }
    expect(chosen.size).toBeGreaterThan(3);
    // minP 1 leaves only the most likely token.
    const mostLikely = { prompt, completions: 2, maxTokens: 8, minP: 1, ignoreEnd: true, seed: 1 };
    const [ours, theirs] = await Promise.all([model.sampler.sample(mostLikely), client.sample(mostLikely)]);
    expect(theirs.map(({ tokens }) => [...tokens])).toEqual(ours.map(({ tokens }) => [...tokens]));
  },
  testMs,
);
