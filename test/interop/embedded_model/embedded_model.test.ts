import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { randomKey } from '../../../src/core/random-keys.js';
import { createEngine } from '../../../src/engine/create.js';
import type { Engine } from '../../../src/engine/engine.js';
import { createEmbeddedModel, type EmbeddedModel } from '../../../src/language/embedded/embedded-model.js';
import { VllmClient } from '../../../src/language/vllm-client.js';
import { tinyModel } from '../../support/tiny-model.js';

interface Answer {
  readonly class: string;
  readonly tokens: readonly (readonly number[])[];
  readonly texts: readonly string[];
  readonly special: readonly number[];
  readonly logProbs: readonly (readonly number[])[];
  readonly greedy: readonly number[];
}

let folder: string;
let engine: Engine;
let model: EmbeddedModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-embedded-'));
  engine = await createEngine('onnx');
  model = await createEmbeddedModel({
    engine,
    base: tinyModel(3),
    name: 'tiny',
    key: randomKey(0),
    connect: (address) => VllmClient.connect({ address }),
    slots: 2,
  });
});
afterAll(async () => {
  await model.close();
  await engine.dispose();
  await rm(folder, { recursive: true });
});

it('transformers loads a saved policy as the same model with the same tokenizer', async () => {
  await model.save(folder);
  const texts = ['The soup was warm.', '', '  naïve 🥣\n\tcold,  bread!', 'tokens of <none> of them'];
  const sequences = [
    [1, 5, 9, 30, 31, 7, 2],
    [1, 200, 201, 269, 3],
  ];
  const prompt = [1, 40, 41];
  const newTokens = 20;
  const answer = JSON.parse(
    execFileSync(process.env.PMPO_PYTHON_TRANSFORMERS!, [
      fileURLToPath(new URL('transformers_peer.py', import.meta.url)),
      join(folder, 'policy'),
      JSON.stringify({ texts, sequences, prompt, newTokens }),
    ]).toString(),
  ) as Answer;
  const { tokenizer } = model.sampler;
  expect(answer.class).toBe('LlamaForCausalLM');
  expect(answer.special).toEqual([0, 1, 2]);
  expect(answer.tokens).toEqual(texts.map((text) => [...tokenizer.encode(text)]));
  expect(answer.texts).toEqual(texts);
  const scores = await model.score(
    sequences.map(([first, ...rest]) => ({
      prompt: Int32Array.of(first!),
      completion: Int32Array.from(rest),
    })),
    { policy: true },
  );
  for (const [i, { logProb }] of scores.entries()) {
    for (const [t, value] of logProb!.entries()) expect(value).toBeCloseTo(answer.logProbs[i]![t]!, 4);
  }
  const [greedy] = await model.sampler.sample({
    prompt: Int32Array.from(prompt),
    completions: 1,
    temperature: 0,
    minTokens: newTokens,
    maxTokens: newTokens,
  });
  expect([...greedy!.tokens]).toEqual(answer.greedy);
}, 240_000);
