import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import { referenceConfig as config } from '../../test/support/tiny-model.js';
import { randomKey } from '../core/random-keys.js';
import { createEngine } from '../engine/create.js';
import type { Engine } from '../engine/engine.js';
import type { NamedHostTensors, NamedVariables } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import {
  applyTransformer,
  initTransformer,
  stepTransformer,
  transformerRows,
  transformerShapes,
} from './transformer.js';

interface Fixture {
  readonly lengths: readonly number[];
  readonly parameters: Readonly<Record<string, Numbers>>;
  readonly tokens: readonly (readonly number[])[];
  readonly next: readonly (readonly number[])[];
  readonly mask: Numbers;
  readonly logits: readonly (readonly (readonly number[])[])[];
  readonly crossEntropy: number;
  readonly crossEntropyGradients: Readonly<Record<string, Numbers>>;
}
const fixture = readFixture<Fixture>('llama_transformers');
const [B, T] = [fixture.tokens.length, fixture.tokens[0]!.length];
const tokens = { shape: [B, T], data: Int32Array.from(fixture.tokens.flat()) };

let engine: Engine;
let parameters: NamedVariables;
beforeAll(async () => {
  engine = await createEngine('onnx');
  await tf.setBackend('cpu');
  parameters = Object.fromEntries(
    Object.entries(fixture.parameters).map(([name, numbers]) => {
      const { shape } = tensor(numbers);
      const data = Float32Array.from([numbers].flat(9) as number[]);
      return [name, engine.variable(name, { shape, data })];
    }),
  );
});
afterAll(() => engine.dispose());

const onCpu = (values: NamedHostTensors, name: string) =>
  tf.tensor(values[name].data, [...values[name].shape]);

describe("the transformer agrees with transformers' Llama", () => {
  it('in the names and shapes of its parameters', () => {
    const shapes = Object.fromEntries(
      Object.entries(fixture.parameters).map(([name, numbers]) => [name, tensor(numbers).shape]),
    );
    expect(transformerShapes(config)).toEqual(shapes);
  });

  it('in its logits', async () => {
    const logits = await engine
      .jit('logits', (inputs: { tokens: tf.Tensor2D }) => ({
        logits: applyTransformer(parameters, inputs.tokens, config),
      }))
      .run({ tokens });
    await tf.setBackend('cpu');
    expectClose(onCpu(logits, 'logits'), fixture.logits, 'logits', 1e-5);
  });

  it('in the cross-entropy and its gradients', async () => {
    const labels = Int32Array.from(fixture.next.flat());
    const mask = Float32Array.from([fixture.mask].flat(3) as number[]);
    const step = engine.jit('cross-entropy', (inputs: Record<'tokens' | 'labels' | 'mask', tf.Tensor2D>) => {
      const names = Object.keys(parameters);
      const { value, grads } = tf.variableGrads(
        () => {
          const logProbs = tf.logSoftmax(applyTransformer(parameters, inputs.tokens, config));
          const chosen = tf.sum(tf.mul(logProbs, tf.oneHot(tf.cast(inputs.labels, 'int32'), 19)), -1);
          return tf.neg(tf.div<tf.Scalar>(tf.sum(tf.mul(chosen, inputs.mask)), tf.sum(inputs.mask)));
        },
        names.map((name) => parameters[name]!),
      );
      return { loss: value, ...grads };
    });
    const results = await step.run({
      tokens,
      labels: { shape: [B, T], data: labels },
      mask: { shape: [B, T], data: mask },
    });
    await tf.setBackend('cpu');
    expectClose(onCpu(results, 'loss'), fixture.crossEntropy, 'loss', 1e-5);
    for (const [name, gradient] of Object.entries(fixture.crossEntropyGradients)) {
      expectClose(onCpu(results, name), gradient, name, 1e-5);
    }
  });
});

describe('steps with a cache', () => {
  const C = 12;
  const shape = [B, config.keyValueHeads, C, config.width / config.heads];

  it('give the logits of whole sequences, with each sequence at another position', async () => {
    const empty = () => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b)).fill(9) });
    const cache = [0, 1].map((layer) => ({
      keys: engine.variable(`keys ${layer}`, empty()),
      values: engine.variable(`values ${layer}`, empty()),
    }));
    const step = engine.jit('step', (inputs: Record<'tokens' | 'positions', tf.Tensor1D>) => {
      const { logits, cache: next } = stepTransformer(
        parameters,
        inputs.tokens,
        inputs.positions,
        cache,
        config,
      );
      for (const [layer, { keys, values }] of next.entries()) {
        cache[layer]!.keys.assign(keys);
        cache[layer]!.values.assign(values);
      }
      return { logits };
    });
    // Sequence b stays at its first token for b steps, so that all are at different positions.
    for (let time = 0; time < T; time++) {
      const positions = Int32Array.from({ length: B }, (_, b) => Math.max(0, time - b));
      const current = positions.map((position, b) => fixture.tokens[b]![position]!);
      const { logits } = await step.run({
        tokens: { shape: [B], data: current },
        positions: { shape: [B], data: positions },
      });
      await tf.setBackend('cpu');
      const wanted = [...positions].map((position, b) => fixture.logits[b]![position]!);
      expectClose(tf.tensor(logits.data, [B, 19]), wanted, `logits of step ${time}`, 1e-5);
    }
  });

  it('continue from the cache of whole sequences', async () => {
    const step = engine.jit('prefill and step', (inputs: { begun: tf.Tensor2D; last: tf.Tensor1D }) => {
      const { cache } = transformerRows(parameters, inputs.begun, config);
      const padded = cache.map(({ keys, values }) => {
        const pad = (x: tf.Tensor) =>
          tf.pad(x, [
            [0, 0],
            [0, 0],
            [0, C - T + 1],
            [0, 0],
          ]);
        return { keys: pad(keys), values: pad(values) };
      });
      const positions: tf.Tensor1D = tf.fill([B], T - 1, 'int32');
      return {
        logits: stepTransformer(parameters, inputs.last, positions, padded, config).logits,
      };
    });
    const { logits } = await step.run({
      begun: {
        shape: [B, T - 1],
        data: Int32Array.from(fixture.tokens.flatMap((row) => row.slice(0, T - 1))),
      },
      last: { shape: [B], data: Int32Array.from(fixture.tokens.map((row) => row[T - 1]!)) },
    });
    await tf.setBackend('cpu');
    const wanted = fixture.logits.map((row) => row[T - 1]!);
    expectClose(tf.tensor(logits.data, [B, 19]), wanted, 'logits', 1e-5);
  });
});

describe('wrong settings', () => {
  it.each([
    [{ width: 20 }, /width 20 does not divide into 4 heads/],
    [{ keyValueHeads: 3 }, /4 heads do not divide among 3 key-value heads/],
    [{ layers: 0 }, /layers is 0/],
  ])('%o are refused', (wrong, message) => {
    expect(() => initTransformer(randomKey(0), { ...config, ...wrong })).toThrow(message);
  });

  it('a sequence longer than the context is refused', async () => {
    const long = { shape: [1, 33], data: new Int32Array(33) };
    const run = engine
      .jit('long', (inputs: { tokens: tf.Tensor2D }) => ({
        logits: applyTransformer(parameters, inputs.tokens, config),
      }))
      .run({ tokens: long });
    await expect(run).rejects.toThrow(/33 positions are more than the context length of 32/);
  });
});
