import { expect, it } from 'vitest';
import { disagreement } from '../../../test/engine/agreement.js';
import { tinyConfig } from '../../../test/support/tiny-model.js';
import { fillIntegers, randomKey } from '../../core/random-keys.js';
import { createEngine } from '../../engine/create.js';
import type { NamedHostTensors } from '../../engine/tensors.js';
import { initTransformer } from '../../networks/transformer.js';
import { partsOf } from './parts.js';
import { createPretraining } from './pretraining.js';

it.each([
  [[32, 128], 8],
  [[64, 16], 2],
  [[1, 4096], 1],
  [[31, 128], 1],
  [[6, 256], 3],
  [[4, 8], 1],
] as const)('a batch of %o is split into %i parts', (shape, parts) => {
  expect(partsOf(shape)).toBe(parts);
});

it('an update in parts is the same, traced or operation by operation', async () => {
  const [B, T] = [16, 48];
  expect(partsOf([B, T])).toBe(2);
  const drawn = fillIntegers(randomKey(1), tinyConfig.vocabularySize, new Uint32Array(B * (T + 1)));
  const tokens = Int32Array.from(drawn);
  const lengths = Int32Array.from({ length: B }, (_, b) => 2 + ((b * 7) % T));
  const results: NamedHostTensors[] = [];
  for (const name of ['cpu', 'onnx'] as const) {
    const engine = await createEngine(name);
    const pretraining = createPretraining(engine, tinyConfig, initTransformer(randomKey(0), tinyConfig));
    const losses: number[] = [];
    for (let i = 0; i < 3; i++) losses.push(await pretraining.step({ tokens, lengths }, 0.01));
    results.push({
      ...(await pretraining.parameters()),
      losses: { shape: [3], data: Float32Array.from(losses) },
    });
    await engine.dispose();
  }
  expect(disagreement(results[0]!, results[1]!, 1e-4)).toBeUndefined();
});

it('an update in parts gives the same bits with any number of threads', async () => {
  // Products of these sizes are large enough for ONNX Runtime to divide them among its threads.
  const [B, T] = [32, 128];
  expect(partsOf([B, T])).toBe(8);
  const config = { ...tinyConfig, contextLength: T, width: 32, hidden: 96 };
  const drawn = fillIntegers(randomKey(1), config.vocabularySize, new Uint32Array(B * (T + 1)));
  const batch = { tokens: Int32Array.from(drawn), lengths: new Int32Array(B).fill(T + 1) };
  const found: NamedHostTensors[] = [];
  for (const threads of [1, 2, 3]) {
    const engine = await createEngine('onnx', { threads });
    const pretraining = createPretraining(engine, config, initTransformer(randomKey(0), config));
    await pretraining.step(batch, 0.01);
    found.push(await pretraining.parameters());
    await engine.dispose();
  }
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).toEqual(found[0]);
});
