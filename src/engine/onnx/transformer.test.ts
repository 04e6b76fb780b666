import { afterEach, expect, it } from 'vitest';
import { disagreement, integers, normal } from '../../../test/engine/agreement.js';
import { createAdam } from '../adam.js';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import type { HostTensor, NamedHostTensors, NamedTensors, Scalar } from '../tensors.js';
import * as tf from '../tf.js';

const engines: Engine[] = [];
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.dispose();
});

/** Sizes: B sequences, T positions, H heads, D width, V vocabulary. */
const [B, T, H, D, V] = [2, 5, 2, 8, 11];

function initial(): NamedHostTensors {
  const scaled = (name: string, scale: number, ...shape: number[]): HostTensor => {
    const { data } = normal(name, ...shape);
    return { shape, data: data.map((x) => x * scale) };
  };
  return {
    embedding: scaled('embedding', 0.5, V, D),
    position: scaled('position', 0.5, T, D),
    'norm/scale': { shape: [D], data: new Float32Array(D).fill(1) },
    'norm/offset': { shape: [D], data: new Float32Array(D) },
    query: scaled('query', 0.3, D, D),
    key: scaled('key', 0.3, D, D),
    value: scaled('value', 0.3, D, D),
    output: scaled('output', 0.3, D, D),
    up: scaled('up', 0.3, D, 4 * D),
    down: scaled('down', 0.2, 4 * D, D),
  };
}

function layerNorm(x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5))), scale), offset);
}

/** The mean cross-entropy of the next token under a causal transformer of one block with tied embeddings. */
function loss(p: NamedTensors, tokens: tf.Tensor, next: tf.Tensor): Scalar {
  const dense = (x: tf.Tensor, weight: tf.Tensor) => tf.matMul(x, weight);
  const heads = (x: tf.Tensor) => tf.transpose(tf.reshape(x, [B, T, H, D / H]), [0, 2, 1, 3]);
  const rows = tf.gather(p.embedding!, tf.reshape(tokens, [-1]));
  let x: tf.Tensor = tf.reshape(tf.add(tf.reshape(rows, [B, T, D]), p.position!), [B * T, D]);
  const normal = layerNorm(x, p['norm/scale']!, p['norm/offset']!);
  const [q, k, v] = [p.query!, p.key!, p.value!].map((weight) => heads(dense(normal, weight)));
  const scores = tf.mul(tf.matMul(q!, k!, false, true), Math.sqrt(H / D));
  const causal = tf.linalg.bandPart(tf.ones([T, T]), -1, 0);
  const attention = tf.softmax(tf.add(scores, tf.mul(tf.sub(1, causal), -1e9)));
  const mixed = tf.reshape(tf.transpose(tf.matMul(attention, v!), [0, 2, 1, 3]), [B * T, D]);
  x = tf.add(x, dense(mixed, p.output!));
  const up = dense(layerNorm(x, p['norm/scale']!, p['norm/offset']!), p.up!);
  x = tf.add(x, dense(tf.mul(up, tf.sigmoid(up)), p.down!));
  const logits = tf.matMul(x, p.embedding, false, true);
  const labels = tf.oneHot(tf.reshape(next, [-1]), V);
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.cast(labels, 'float32'), tf.logSoftmax(logits)), -1)));
}

const tokens = (shift: number) =>
  integers([B, T], ...Array.from({ length: B * T }, (_, i) => ((i + shift) * 7 + i ** 2) % V));

it('a transformer learns the same, traced or operation by operation', async () => {
  const results: NamedHostTensors[] = [];
  for (const name of ['cpu', 'onnx'] as const) {
    const engine = await createEngine(name);
    engines.push(engine);
    const variables = Object.fromEntries(
      Object.entries(initial()).map(([key, value]) => [key, engine.variable(key, value)]),
    );
    const adam = createAdam(engine, 'adam', variables, { learningRate: 0.01, maxGradientNorm: 1 });
    const step = engine.jit('step', ({ current, next }) => {
      const { value, grads } = tf.variableGrads(
        () => loss(variables, current!, next!),
        Object.values(variables),
      );
      return { loss: value, ...adam.apply(grads) };
    });
    const losses: number[] = [];
    for (let i = 0; i < 6; i++)
      losses.push((await step.run({ current: tokens(0), next: tokens(1) })).loss!.data[0]!);
    expect(losses[5]!).toBeLessThan(losses[0]!);
    const values = await engine.read(Object.values(variables));
    results.push({
      ...Object.fromEntries(Object.keys(variables).map((key, i) => [key, values[i]!])),
      losses: { shape: [6], data: Float32Array.from(losses) },
    });
  }
  expect(disagreement(results[0]!, results[1]!, 1e-4)).toBeUndefined();
});
