import { afterEach, expect, it } from 'vitest';
import { disagreement, normal } from '../../test/engine/agreement.js';
import { randomKey } from '../core/random-keys.js';
import { createAdam } from '../engine/adam.js';
import { createEngine } from '../engine/create.js';
import type { Engine, EngineName } from '../engine/engine.js';
import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { applyCritic, type CriticSettings, criticLoss, criticOutputs, initCritic } from './critic.js';

let engine: Engine | undefined;
afterEach(async () => engine?.dispose());

const settings: CriticSettings = {
  hidden: [256, 8],
  activation: 'elu',
  layerNorm: true,
  residual: false,
  head: 'scalar',
  bins: 3,
};
const [contexts, observationSize, actionSize] = [500, 3, 2];

/** The values [N, B] of a new critic at x [B, O] and y [N, B, A], compiled. */
function valuesOn(own: Engine) {
  const initial = initCritic(randomKey(0), observationSize, actionSize, settings);
  const parameters = Object.fromEntries(
    Object.entries(initial).map(([name, value]) => [name, own.variable(name, value)]),
  );
  return own.jit('values', ({ x, y }: { readonly x: Tensor2D; readonly y: Tensor3D }) => ({
    values: applyCritic(parameters, x, y, settings),
  }));
}

it.each<[EngineName, number]>([
  // Three blocks of 1, 2 and 2 samples; one block.
  ['onnx', 5],
  ['onnx', 2],
  ['cpu', 5],
])(
  'gives each of several samples the value that it has alone, engine %s, %i samples',
  async (name, samples) => {
    engine = await createEngine(name);
    const values = valuesOn(engine);
    const x = normal('observations', contexts, observationSize);
    const y = normal('actions', samples, contexts, actionSize);
    const together = (await values.run({ x, y })).values;
    expect(together.shape).toEqual([samples, contexts]);
    // ONNX Runtime's products may sum in another order for another number of rows, depending on the processor.
    const tolerance = name === 'cpu' ? 0 : 1e-5;
    for (let n = 0; n < samples; n++) {
      const size = contexts * actionSize;
      const one = { shape: [1, contexts, actionSize], data: y.data.slice(n * size, (n + 1) * size) };
      const alone = (await values.run({ x, y: one })).values;
      const data = together.data.slice(n * contexts, (n + 1) * contexts);
      expect(disagreement({ alone }, { alone: { ...alone, data } }, tolerance)).toBeUndefined();
    }
  },
);

it('evaluates many samples in blocks, whose products are no larger than a block', async () => {
  engine = await createEngine('cpu');
  const rows: number[] = [];
  const kernel = tf.getKernel('BatchMatMul', 'cpu')!;
  const watched: typeof kernel = {
    ...kernel,
    kernelFunc: (call) => {
      rows.push((call.inputs.a as { shape: number[] }).shape.at(-2)!);
      return kernel.kernelFunc(call);
    },
  };
  tf.unregisterKernel('BatchMatMul', 'cpu');
  tf.registerKernel(watched);
  try {
    const values = valuesOn(engine);
    await values.run({
      x: normal('observations', contexts, observationSize),
      y: normal('actions', 5, contexts, actionSize),
    });
  } finally {
    tf.unregisterKernel('BatchMatMul', 'cpu');
    tf.registerKernel(kernel);
  }
  expect(Math.max(...rows)).toBe(2 * contexts);
});

/** What a critic of the given head says of states at the edge of its data, whose value is 8.1, after 200 updates. */
async function valueAtTheEdge(own: Engine, head: CriticSettings['head']): Promise<number> {
  const shape = { ...settings, hidden: [32, 32], head, bins: 101 };
  const initial = initCritic(randomKey(0), observationSize, actionSize, shape);
  const parameters = Object.fromEntries(
    Object.entries(initial).map(([name, value]) => [name, own.variable(`${head}/${name}`, value)]),
  );
  const names = Object.keys(parameters);
  const adam = createAdam(own, `${head}/adam`, parameters, { learningRate: 1e-3 });
  type Batch = { readonly x: Tensor2D; readonly y: Tensor3D };
  const step = own.jit(`${head}/step`, ({ x, y }: Batch) => {
    const targets: Tensor1D = tf.squeeze(tf.mul(3, tf.slice(x, [0, 0], [-1, 1])), [1]);
    const loss = () => criticLoss(criticOutputs(parameters, x, y, shape), targets, shape);
    const gradients = tf.grads(loss)(Object.values(parameters));
    return adam.apply(Object.fromEntries(names.map((name, i) => [name, gradients[i]!])));
  });
  for (let i = 0; i < 200; i++) {
    await step.run({ x: normal(`x${i}`, 256, observationSize), y: normal(`y${i}`, 1, 256, actionSize) });
  }
  const values = own.jit(`${head}/values`, ({ x, y }: Batch) => ({
    mean: tf.mean(applyCritic(parameters, x, y, shape)),
  }));
  const x = normal('x', 200, observationSize);
  for (let i = 0; i < x.data.length; i += observationSize) x.data[i] = 2.7;
  return (await values.run({ x, y: normal('y', 1, 200, actionSize) })).mean.data[0]!;
}

it('learns rare values as fast by a histogram as by a number', async () => {
  engine = await createEngine('onnx', { threads: 1 });
  const scalar = await valueAtTheEdge(engine, 'scalar');
  expect(scalar).toBeGreaterThan(4);
  // With a logit for each bin and no location it is at 0.77.
  expect((await valueAtTheEdge(engine, 'categorical')) / scalar).toBeGreaterThan(0.93);
});
