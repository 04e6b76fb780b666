import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.js';
import { randomKey } from '../../core/random-keys.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import type { SampleRequest } from '../language-model.js';
import type { TokenSequence } from '../trainable-model.js';
import { VllmClient } from '../vllm-client.js';
import { createEmbeddedModel, type EmbeddedModel } from './embedded-model.js';
import { readModelFolder } from './model-folder.js';

const engines: Engine[] = [];
const models: EmbeddedModel[] = [];
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-embedded-'));
});
afterEach(async () => {
  for (const model of models.splice(0)) await model.close();
  for (const engine of engines.splice(0)) await engine.dispose();
  await rm(folder, { recursive: true });
});

async function start(base = tinyModel(1)): Promise<EmbeddedModel> {
  const engine = await createEngine('onnx');
  engines.push(engine);
  const model = await createEmbeddedModel({
    engine,
    base,
    name: 'tiny',
    key: randomKey(7),
    connect: (address) => VllmClient.connect({ address }),
    slots: 4,
  });
  models.push(model);
  return model;
}

const sequences: TokenSequence[] = [
  { prompt: Int32Array.of(1, 5), completion: Int32Array.of(9, 10, 11, 2) },
  { prompt: Int32Array.of(1, 6, 7), completion: Int32Array.of(12, 2) },
];
const request: SampleRequest = { prompt: Int32Array.of(1, 5), completions: 2, maxTokens: 8, seed: 3 };

async function train(model: EmbeddedModel, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    await model.forwardBackward(sequences, [
      { logProb: -1, kl: 0.1 },
      { logProb: 0.5, reverseKl: 0.2 },
    ]);
    await model.optimStep({ learningRate: 0.01, maxGradientNorm: 1 });
  }
}
const logProbs = async (model: EmbeddedModel) =>
  (await model.score(sequences, { policy: true, reference: true })).map(({ logProb, referenceLogProb }) => ({
    policy: [...logProb!],
    reference: [...referenceLogProb!],
  }));
const tokens = async (model: EmbeddedModel) =>
  (await model.sampler.sample(request)).map((completion) => [...completion.tokens]);
const sampledScore = (model: EmbeddedModel) =>
  model.sampler.score(sequences[0]!.prompt, sequences[0]!.completion);

describe('policy, reference and published weights', () => {
  it('are as in the beginning after a reset, and so is the optimizer', async () => {
    const [model, fresh] = [await start(), await start()];
    await train(model, 2);
    await model.copyReference();
    await model.publish('reference');
    // A gradient that has not been used yet.
    await model.forwardBackward(sequences, [{ logProb: 3 }, {}]);
    await model.reset();
    expect(model.info.steps).toBe(0);
    expect(await logProbs(model)).toEqual(await logProbs(fresh));
    expect(await sampledScore(model)).toEqual(await sampledScore(fresh));
    for (const each of [model, fresh]) await train(each, 2);
    expect(await logProbs(model)).toEqual(await logProbs(fresh));
  });

  it('are separate: training changes the policy, copying the reference, publishing the published weights', async () => {
    const model = await start();
    const before = await logProbs(model);
    expect(before[0]!.policy).toEqual(before[0]!.reference);
    await train(model, 3);
    expect(model.info.steps).toBe(3);
    const trained = await logProbs(model);
    expect(trained[0]!.policy[0]).toBeGreaterThan(before[0]!.policy[0]! + 0.01);
    expect(trained[0]!.reference).toEqual(before[0]!.reference);
    const sampled = await sampledScore(model);
    for (const [t, value] of sampled.entries()) expect(value).toBeCloseTo(before[0]!.policy[t]!, 4);

    await model.copyReference();
    expect((await logProbs(model))[0]!.reference).toEqual(trained[0]!.policy);
    expect(await sampledScore(model)).toEqual(sampled);
    await model.publish('reference');
    for (const [t, value] of (await sampledScore(model)).entries()) {
      expect(value).toBeCloseTo(trained[0]!.policy[t]!, 4);
    }
  });

  it('move toward the policy by a rate', async () => {
    const model = await start();
    await train(model, 3);
    await model.save(join(folder, 'before'));
    await model.copyReference(0.25);
    await model.save(join(folder, 'after'));
    const name = 'model.layers.0.mlp.up_proj.weight';
    const read = async (path: string) => (await readModelFolder(join(folder, path))).parameters[name]!.data;
    const [policy, reference, moved] = await Promise.all(
      ['before/policy', 'before/reference', 'after/reference'].map(read),
    );
    for (const [i, value] of moved!.entries()) {
      expect(value).toBeCloseTo(0.75 * reference![i]! + 0.25 * policy![i]!, 6);
    }
  });

  it('are published between completions: earlier requests are sampled with the old ones', async () => {
    const model = await start();
    const old = await tokens(model);
    await train(model, 5);
    const during: number[][] = [[], []];
    let after: Promise<number[][]> | undefined;
    let publishing: Promise<void> | undefined;
    for await (const piece of model.sampler.stream(request)) {
      during[piece.index]!.push(...piece.tokens);
      // Both are requested before the completions have ended.
      publishing ??= model.publish('policy');
      after ??= tokens(model);
    }
    expect(during).toEqual(old);
    await publishing;
    expect(await after).not.toEqual(old);
    expect(await tokens(model)).toEqual(await after);
  });
});

describe('a checkpoint', () => {
  it('resumes as if training had never stopped, bit for bit', async () => {
    const first = await start();
    await train(first, 2);
    await first.save(join(folder, 'checkpoint'));
    await train(first, 2);
    const second = await start(tinyModel(2));
    await second.load(join(folder, 'checkpoint'));
    expect(second.info.steps).toBe(2);
    await train(second, 2);
    expect(await logProbs(second)).toEqual(await logProbs(first));
    expect(await tokens(second)).toEqual(await tokens(first));
  });

  it('replaces the previous one as a whole, and is found when the program ended in between', async () => {
    const model = await start();
    const path = join(folder, 'checkpoint');
    await model.save(path);
    await train(model, 1);
    await model.save(path);
    expect(await readdir(folder)).toEqual(['checkpoint']);
    await rename(path, `${path}.before`);
    await model.load(path);
    expect(model.info.steps).toBe(1);
  });

  it('that is missing, broken or of another model is refused, and changes nothing', async () => {
    const model = await start();
    const before = await logProbs(model);
    await expect(model.load(join(folder, 'none'))).rejects.toThrow(/config.json.*there is no such file/);
    const path = join(folder, 'checkpoint');
    await train(model, 1);
    await model.save(path);
    const config = join(path, 'policy/config.json');
    const text = await readFile(config, 'utf8');
    await writeFile(config, text.replace('"vocab_size": 270', '"vocab_size": 271'));
    await expect(model.load(path)).rejects.toThrow(
      /'model.embed_tokens.weight' is F32 with the shape \[270,16\]/,
    );
    await writeFile(config, text.replace('"model_type": "llama"', '"model_type": "gemma3"'));
    await expect(model.load(path)).rejects.toThrow(/model_type/);
    await writeFile(config, text);
    for (const name of ['policy/model', 'reference/model', 'optimizer']) {
      const file = join(path, `${name}.safetensors`);
      const bytes = await readFile(file);
      const flipped = Buffer.from(bytes);
      flipped[bytes.length - 3] ^= 4;
      await writeFile(file, flipped);
      await expect(model.load(path)).rejects.toThrow(
        `${file}: the file is damaged: its content does not have the checksum that it was saved with`,
      );
      await writeFile(file, bytes);
    }
    await writeFile(join(path, 'optimizer.safetensors'), 'nonsense');
    await expect(model.load(path)).rejects.toThrow(/optimizer.safetensors/);
    expect((await logProbs(model))[0]!.reference).toEqual(before[0]!.reference);
  });
});

describe('parameters that are not finite', () => {
  it('are reported by training and by sampling', async () => {
    const model = await start();
    await model.forwardBackward(sequences, [{ logProb: 1e30 }, {}]);
    await expect(model.optimStep({ learningRate: 1 })).rejects.toThrow(/the step was skipped/);
    expect((await logProbs(model))[0]!.policy.every(Number.isFinite)).toBe(true);
    await expect(model.optimStep({ learningRate: Number.NaN })).rejects.toThrow(/learning rate is NaN/);

    const base = tinyModel(1);
    base.parameters['model.norm.weight']!.data[0] = Number.NaN;
    const diverged = await start(base);
    await expect(diverged.score(sequences, { policy: true })).rejects.toThrow(/the parameters have diverged/);
    await expect(diverged.sampler.sample(request)).rejects.toThrow(/not finite/);
  });
});
