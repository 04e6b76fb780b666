import { createRequire } from 'node:module';
import { afterEach, describe, expect, it } from 'vitest';
import { normal } from '../../../test/engine/agreement.js';
import { createEngine } from '../create.js';
import type { Engine, EngineName } from '../engine.js';
import { int32Result } from '../host-tensors.js';
import { overParts } from '../parts.js';
import type { HostTensor, NamedTensors, Tensor2D } from '../tensors.js';
import * as tf from '../tf.js';

const runtime = createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');

let engine: Engine | undefined;
afterEach(() => engine?.dispose());

async function runModel(bytes: Uint8Array, inputs: Record<string, HostTensor<Float32Array>>) {
  const session = await runtime.InferenceSession.create(bytes);
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [
      name,
      new runtime.Tensor('float32', data, shape),
    ]),
  );
  const results = await session.run(feeds);
  await session.release();
  return results;
}

function expectValues(
  found: Awaited<ReturnType<typeof runModel>>,
  expected: Readonly<Record<string, HostTensor>>,
): void {
  for (const [key, { shape, data }] of Object.entries(expected)) {
    expect([...found[key]!.dims]).toEqual([...shape]);
    for (const [i, value] of data.entries()) expect(found[key].data[i]).toBeCloseTo(value, 5);
  }
}

/** A small policy with operations whose shapes depend on the batch size. */
function policy(variables: { weight: tf.Variable; bias: tf.Variable }) {
  return ({ observations }: { observations: Tensor2D }) => {
    const sums = tf.add(tf.matMul(observations, variables.weight), variables.bias);
    const centered = tf.sub(sums, tf.mean(sums, -1, true));
    const [batch] = observations.shape;
    const [mean, width] = tf.split<Tensor2D>(tf.elu(centered), 2, -1);
    const twice: Tensor2D = tf.reshape(tf.tile(tf.expandDims(mean, 1), [1, 2, 1]), [batch * 2, 3]);
    const constant = tf.fill([batch, 1], 0.5);
    return {
      mean: tf.tanh(mean),
      stddev: tf.add(tf.softplus(width), constant),
      twice,
      part: tf.slice(twice, [0, 0], [batch, 2]),
      largest: int32Result(tf.argMax(mean, -1)),
    };
  };
}

describe.each<EngineName>(['cpu', 'onnx'])('export from the engine %s', (name) => {
  const start = async () => {
    engine = await createEngine(name);
    const variables = {
      weight: engine.variable('weight', normal('weight', 4, 6)),
      bias: engine.variable('bias', normal('bias', 6)),
    };
    return { engine, variables, fn: policy(variables) };
  };

  it('writes a model with the same results', async () => {
    const { engine, fn } = await start();
    const observations = normal('observations', 3, 4);
    const expected = await engine.jit('policy', fn).run({ observations });
    const bytes = await engine.exportOnnx('policy', fn, { observations: [3, 4] });
    const found = await runModel(bytes, { observations });
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    expectValues(found, expected);
    // Exporting does not affect the engine.
    expect((await engine.jit('again', fn).run({ observations })).mean).toEqual(expected.mean);
  });

  it('leaves the batch size variable on request', async () => {
    const { engine, fn } = await start();
    const bytes = await engine.exportOnnx('policy', fn, { observations: [1, 4] }, true);
    for (const batch of [1, 2, 7]) {
      const observations = normal(`observations ${batch}`, batch, 4);
      const expected = await engine.jit(`policy ${batch}`, fn).run({ observations });
      const found = await runModel(bytes, { observations });
      expectValues(found, expected);
    }
  });

  it('computes means over a batch whose size is variable', async () => {
    const { engine } = await start();
    const fn = ({ x }: { x: Tensor2D }) => {
      const { value, grads } = tf.valueAndGrads((y: tf.Tensor) => tf.mean(tf.square(y)))([x]);
      const places = tf.range(0, x.shape[0], 1, 'int32');
      const isLargest = tf.equal(tf.expandDims(places, 1), tf.argMax(x, 0));
      return { value, gradient: grads[0]!, sum: tf.sum(x, 0), isLargest: tf.cast(isLargest, 'float32') };
    };
    const bytes = await engine.exportOnnx('mean', fn, { x: [1, 4] }, true);
    for (const batch of [1, 2, 7]) {
      const x = normal(`x ${batch}`, batch, 4);
      const expected = await engine.jit(`mean ${batch}`, fn).run({ x });
      const found = await runModel(bytes, { x });
      expectValues(found, expected);
    }
  });

  it('exports a batch in parts whole, if its size is variable', async () => {
    const { engine } = await start();
    const fn = ({ x }: { x: Tensor2D }) => {
      const { sums, rows } = overParts({ x }, x.shape[0], (part) => ({
        sums: { sum: tf.sum(part.x, 0) },
        rows: { square: tf.square(part.x) },
      }));
      return { ...sums, ...rows };
    };
    const bytes = await engine.exportOnnx('parts', fn, { x: [1, 4] }, true);
    for (const batch of [1, 2, 7]) {
      const x = normal(`x ${batch}`, batch, 4);
      expectValues(await runModel(bytes, { x }), await engine.jit(`parts ${batch}`, fn).run({ x }));
    }
  });

  it('refuses a function with a constant that is not a power of the variable batch size', async () => {
    const { engine } = await start();
    const fn = ({ x }: NamedTensors) => ({ y: tf.div(tf.sum(x!), Math.log(x!.shape[0]!)) });
    await expect(engine.exportOnnx('entropy', fn, { x: [1, 4] }, true)).rejects.toThrow(
      "export of 'entropy': its results depend on the batch size. Export it for a fixed batch size",
    );
    expect(await engine.exportOnnx('entropy', fn, { x: [2, 4] })).toBeInstanceOf(Uint8Array);
  });
});

it('refuses a function that assigns to a variable', async () => {
  engine = await createEngine('onnx');
  const v = engine.variable('v', normal('v', 2));
  const assign = () => {
    v.assign(tf.neg(v));
    return { y: tf.clone(v) };
  };
  await expect(engine.exportOnnx('assign', assign, {})).rejects.toThrow(
    "export of 'assign': it assigns to the variable 'v'",
  );
});
