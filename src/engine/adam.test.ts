import { afterEach, describe, expect, it } from 'vitest';
import { normal } from '../../test/engine/agreement.js';
import { type AdamOptions, createAdam } from './adam.js';
import { createEngine } from './create.js';
import type { Engine, EngineName } from './engine.js';
import type { HostTensor, NamedTensors, NamedVariables, Scalar, Tensor2D } from './tensors.js';
import * as tf from './tf.js';
import { copyVariables, moveTowards } from './variables.js';

const engines: Engine[] = [];
async function start(name: EngineName): Promise<Engine> {
  const engine = await createEngine(name);
  engines.push(engine);
  return engine;
}
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.dispose();
});

const initial = { weight: normal('weight', 3, 2), bias: normal('bias', 2) };
const batch = { x: normal('x', 5, 3), target: normal('target', 5, 2) };

function makeVariables(engine: Engine, prefix: string): Record<keyof typeof initial, tf.Variable> {
  return {
    weight: engine.variable(`${prefix}/weight`, initial.weight),
    bias: engine.variable(`${prefix}/bias`, initial.bias),
  };
}

type Batch = { readonly x: Tensor2D; readonly target: Tensor2D };

function lossOf(variables: NamedVariables, { x, target }: Batch): Scalar {
  const y = tf.add(tf.matMul(x, variables.weight), variables.bias);
  return tf.sum(tf.squaredDifference(tf.tanh(y), target));
}

function gradientsOf(variables: NamedVariables, inputs: Batch): NamedTensors {
  const { grads } = tf.variableGrads(() => lossOf(variables, inputs), Object.values(variables));
  return Object.fromEntries(Object.entries(variables).map(([key, { name }]) => [key, grads[name]!]));
}

/** All parameters after `steps` steps, in one array. */
async function train(engineName: EngineName, options: AdamOptions, steps: number): Promise<number[]> {
  const engine = await start(engineName);
  const variables = makeVariables(engine, 'net');
  const adam = createAdam(engine, 'adam', variables, options);
  const step = engine.jit('step', (inputs: Batch) => adam.apply(gradientsOf(variables, inputs)));
  for (let i = 0; i < steps; i++) await step.run(batch);
  return flat(await engine.read(Object.values(variables)));
}

const flat = (values: readonly HostTensor[]): number[] => values.flatMap(({ data }) => [...data]);

/** Algorithm 1 of arXiv 1412.6980 in double precision, with gradients by central differences; the result is as of `train`. */
function reference(options: AdamOptions, steps: number): number[] {
  const { learningRate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  const { maxGradientNorm = Infinity } = options;
  const theta = [...initial.weight.data, ...initial.bias.data];
  const loss = (p: readonly number[]): number => {
    let sum = 0;
    for (let row = 0; row < 5; row++) {
      for (let column = 0; column < 2; column++) {
        let y = p[6 + column]!;
        for (let k = 0; k < 3; k++) y += batch.x.data[row * 3 + k]! * p[k * 2 + column]!;
        sum += (Math.tanh(y) - batch.target.data[row * 2 + column]!) ** 2;
      }
    }
    return sum;
  };
  const gradient = () =>
    theta.map((value, i) => {
      const at = (x: number) => loss(theta.map((other, j) => (i === j ? x : other)));
      return (at(value + 1e-5) - at(value - 1e-5)) / 2e-5;
    });
  const m = theta.map(() => 0);
  const v = theta.map(() => 0);
  for (let t = 1; t <= steps; t++) {
    const raw = gradient();
    const norm = Math.hypot(...raw);
    const g = raw.map((x) => x * Math.min(1, maxGradientNorm / norm));
    for (const i of theta.keys()) {
      m[i] = beta1 * m[i]! + (1 - beta1) * g[i]!;
      v[i] = beta2 * v[i]! + (1 - beta2) * g[i]! ** 2;
      theta[i]! *= 1 - learningRate * weightDecay;
      theta[i]! -=
        (learningRate * (m[i]! / (1 - beta1 ** t))) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon);
    }
  }
  return theta;
}

function expectClose(found: readonly number[], expected: readonly number[], tolerance = 2e-5): void {
  expect(found.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(tolerance);
}

describe.each<EngineName>(['cpu', 'onnx'])('Adam on %s', (engine) => {
  it('follows the published algorithm', async () => {
    const options = { learningRate: 0.05 };
    expectClose(await train(engine, options, 8), reference(options, 8));
  });

  it('clips all gradients by their joint norm', async () => {
    const options = { learningRate: 0.05, maxGradientNorm: 0.3, beta1: 0.7, beta2: 0.9, epsilon: 1e-3 };
    const clipped = await train(engine, options, 6);
    expectClose(clipped, reference(options, 6));
    const unclipped = reference({ ...options, maxGradientNorm: Infinity }, 6);
    expect(Math.max(...clipped.map((x, i) => Math.abs(x - unclipped[i]!)))).toBeGreaterThan(1e-3);
  });

  it('decays weights apart from the gradient (AdamW)', async () => {
    const options = { learningRate: 0.05, weightDecay: 0.4 };
    const decayed = await train(engine, options, 6);
    expectClose(decayed, reference(options, 6));
    const undecayed = reference({ ...options, weightDecay: 0 }, 6);
    expect(Math.max(...decayed.map((x, i) => Math.abs(x - undecayed[i]!)))).toBeGreaterThan(1e-2);
  });

  it('returns the norm before clipping, and scales the learning rate', async () => {
    const e = await start(engine);
    const variables = makeVariables(e, 'net');
    const adam = createAdam(e, 'adam', variables, { learningRate: 0.1, maxGradientNorm: 0.1 });
    const step = e.jit('step', ({ factor, ...inputs }: Batch & { factor: Scalar }) => {
      const gradients = gradientsOf(variables, inputs);
      const squares = Object.values(gradients).map((g) => tf.sum(tf.square(g)));
      const { gradientNorm } = adam.apply(gradients, factor);
      return { gradientNorm, expected: tf.sqrt(tf.addN(squares)) };
    });
    const before = flat(await e.read(Object.values(variables)));
    const { gradientNorm, expected } = await step.run({
      ...batch,
      factor: { shape: [], data: new Float32Array([0]) },
    });
    expect(gradientNorm!.data[0]).toBeCloseTo(expected!.data[0]!, 4);
    expect(gradientNorm!.data[0]).toBeGreaterThan(0.1);
    expect(flat(await e.read(Object.values(variables)))).toEqual(before);
  });

  it('resumes from its slots', async () => {
    const options = { learningRate: 0.05, maxGradientNorm: 1 };
    const e = await start(engine);
    const run = async (prefix: string, steps: number, from?: readonly HostTensor[]) => {
      const variables = makeVariables(e, prefix);
      const adam = createAdam(e, `${prefix}/adam`, variables, options);
      const all = [...Object.values(variables), ...Object.values(adam.slots)];
      if (from !== undefined) await Promise.all(all.map((variable, i) => e.write(variable, from[i]!)));
      const step = e.jit(prefix, (inputs: Batch) => adam.apply(gradientsOf(variables, inputs)));
      for (let i = 0; i < steps; i++) await step.run(batch);
      return e.read(all);
    };
    const resumed = await run('second', 2, await run('first', 3));
    expect(flat(resumed)).toEqual(flat(await run('whole', 5)));
  });
});

it("gives the same results on cpu and onnx with TensorFlow.js' Adam, which makes its slots on first use", async () => {
  const results: number[][] = [];
  for (const name of ['cpu', 'onnx'] as const) {
    const engine = await start(name);
    const variables = makeVariables(engine, 'net');
    const adam = tf.train.adam(0.05);
    const step = engine.jit('step', (inputs: Batch) => ({
      loss: adam.minimize(() => lossOf(variables, inputs), true, Object.values(variables))!,
    }));
    const losses: number[] = [];
    for (let i = 0; i < 8; i++) losses.push((await step.run(batch)).loss!.data[0]!);
    results.push([...flat(await engine.read(Object.values(variables))), ...losses]);
  }
  expectClose(results[1]!, results[0]!, 1e-5);
});

describe.each<EngineName>(['cpu', 'onnx'])('named variables on %s', (name) => {
  it('are copied and moved toward one another', async () => {
    const engine = await start(name);
    const [from, to] = [makeVariables(engine, 'from'), makeVariables(engine, 'to')];
    await engine.write(from.bias, { shape: [2], data: Float32Array.of(1, 2) });
    await engine.write(to.bias, { shape: [2], data: Float32Array.of(3, -2) });
    await engine
      .jit('move', () => {
        moveTowards(from, to, 0.25);
        return {};
      })
      .run({});
    expect([...(await engine.read([to.bias]))[0]!.data]).toEqual([2.5, -1]);
    await engine
      .jit('copy', () => {
        copyVariables(from, to);
        return {};
      })
      .run({});
    expect([...(await engine.read([to.bias]))[0]!.data]).toEqual([1, 2]);
  });

  it('must have the same names and shapes', async () => {
    const engine = await start(name);
    const { weight, bias } = makeVariables(engine, 'net');
    expect(() => copyVariables({ weight }, { weight, bias })).toThrow("variable 'bias': has no source");
    expect(() => copyVariables({ weight, bias }, { weight })).toThrow("variable 'bias': has no target");
    expect(() => copyVariables({ weight: bias }, { weight })).toThrow(
      /has the shape \[2\], its target has \[3,2\]/,
    );
  });
});
