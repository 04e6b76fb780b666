import { afterEach, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { createEngine } from './create.js';
import { detectEngines, findEngine } from './detect.js';
import { type Engine, type EngineName, engineNames } from './engine.js';
import { int32Result } from './host-tensors.js';
import type { HostTensor, NamedTensors } from './tensors.js';
import * as tf from './tf.js';

const engines: Engine[] = [];
async function start(name: EngineName): Promise<Engine> {
  const engine = await createEngine(name);
  engines.push(engine);
  return engine;
}
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.dispose();
});

const floats = (shape: number[], ...data: number[]): HostTensor => ({ shape, data: Float32Array.from(data) });

/** Engines whose package is installed by scripts/tfjs-node.mjs only. */
const optional = new Set<EngineName>(['tfjs-node', 'tfjs-node-gpu']);
const isInstalled = (name: EngineName) => !optional.has(name) || findEngine(name).available;

const testsOf = (name: EngineName) => {
  it('runs a function of inputs and variables, and keeps the values that it assigns', async () => {
    const engine = await start(name);
    const weight = engine.variable('weight', floats([2, 1], 1, 2));
    const step = engine.jit('step', ({ x }) => {
      const y = tf.matMul(x, weight);
      weight.assign(tf.mul(weight, 2));
      return { y };
    });
    const x = floats([1, 2], 3, 4);
    expect([...(await step.run({ x })).y!.data]).toEqual([11]);
    expect([...(await step.run({ x })).y!.data]).toEqual([22]);
    expect([...(await engine.read([weight]))[0]!.data]).toEqual([4, 8]);
    await engine.write(weight, floats([2, 1], -1, 0));
    expect([...(await step.run({ x })).y!.data]).toEqual([-3]);
  });

  it('takes gradients with an ordinary optimizer', async () => {
    const engine = await start(name);
    const p = engine.variable('p', floats([2], 1, -2));
    const adam = tf.train.adam(0.1);
    const step = engine.jit('step', (): NamedTensors => {
      const { value, grads } = tf.variableGrads(() => tf.sum(tf.square(p)), [p]);
      adam.applyGradients(Object.entries(grads).map(([key, tensor]) => ({ name: key, tensor })));
      return { value };
    });
    expect((await step.run({})).value!.data[0]).toBeCloseTo(5, 5);
    expect((await step.run({})).value!.data[0]).toBeCloseTo(0.9 ** 2 + 1.9 ** 2, 4);
  });

  it('computes the same product for every transposition', async () => {
    const engine = await start(name);
    const products = engine.jit('products', ({ a, b }) => {
      const at = tf.transpose(a!);
      const bt = tf.transpose(b!);
      return {
        plain: tf.matMul(a!, b!),
        left: tf.matMul(at, b!, true, false),
        right: tf.matMul(a!, bt, false, true),
        both: tf.matMul(at, bt, true, true),
      };
    });
    const results = await products.run({ a: floats([2, 3], 1, 2, 3, 4, 5, 6), b: floats([3, 1], 1, 0, -1) });
    for (const value of Object.values(results)) expect([...value.data]).toEqual([-2, -2]);
  });

  it('names an input that is missing, has another element type or does not fill its shape', async () => {
    const engine = await start(name);
    const f = engine.jit('act', ({ x }) => ({ y: tf.neg(x!) }));
    await expect(f.run({})).rejects.toThrow("input 'x' of 'act': is missing");
    const g = engine.jit('act', ({ x }) => ({ y: tf.neg(x!) }));
    await g.run({ x: floats([1], 1) });
    await expect(g.run({ x: { shape: [1], data: Int32Array.of(1) } })).rejects.toThrow(
      /is int32 but was float32/,
    );
    await expect(g.run({ x: floats([3], 1) })).rejects.toThrow(/do not fill the shape \[3\]/);
  });

  it('returns float32, and int32 where the function declares it', async () => {
    const engine = await start(name);
    const f = engine.jit('rank', ({ x }: { x: tf.Tensor1D }) => ({
      largest: tf.max(x),
      index: int32Result(tf.argMax(x)),
      positive: int32Result(tf.greater(x, 0)),
    }));
    const { largest, index, positive } = await f.run({ x: floats([3], -1, 5, 2) });
    expect(largest.data).toEqual(Float32Array.of(5));
    expect(index.data).toEqual(Int32Array.of(1));
    expect(positive.data).toEqual(Int32Array.of(0, 1, 1));
    for (const [dtype, result] of [
      ['int32', (x: tf.Tensor) => tf.argMax(x)],
      ['bool', (x: tf.Tensor) => tf.greater(x, 0)],
    ] as const) {
      const g = engine.jit('undeclared', ({ x }) => ({ y: result(x) }));
      await expect(g.run({ x: floats([3], -1, 5, 2) })).rejects.toThrow(
        `result 'y' of 'undeclared': is ${dtype}, not float32. Return int32Result(tensor)`,
      );
    }
  });

  it.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ['normal', () => tf.randomNormal([2])],
    ['truncated normal', () => tf.truncatedNormal([2])],
    ['uniform', () => tf.randomUniform([2])],
    ['integer', () => tf.randomUniformInt([2], 0, 9)],
    ['gamma', () => tf.randomGamma([2], 1)],
    ['dropout', (x) => tf.dropout(x, 0.5)],
    ['host', (x) => tf.add(x, Math.random())],
  ])('refuses random numbers that are not inputs: %s', async (_kind, draw) => {
    const engine = await start(name);
    const f = engine.jit('explore', ({ x }) => ({ y: draw(x!) }));
    await expect(f.run({ x: floats([2], 1, 2) })).rejects.toThrow(
      /^function 'explore': it draws random numbers .* pass them in as an input$/,
    );
    expect(Math.random()).toBeLessThan(1);
  });

  it('treats random numbers with a seed as constants', async () => {
    const engine = await start(name);
    const f = engine.jit('fixed', () => ({ y: tf.randomNormal([3], 0, 1, 'float32', 7) }));
    const [first, second] = [await f.run({}), await f.run({})];
    expect(first.y!.data).toEqual(second.y!.data);
    expect(new Set(first.y!.data).size).toBe(3);
  });

  it('has its own variables, whatever their names in other engines', async () => {
    const [one, other] = [await start(name), await start(name)];
    one.variable('same', floats([], 1));
    const theirs = other.variable('same', floats([], 2));
    expect(() => one.variable('same', floats([], 3))).toThrow(PmpoError);
    await expect(one.read([theirs])).rejects.toThrow(/belongs to another engine/);
    expect((await other.read([theirs]))[0]!.data[0]).toBe(2);
  });
};

for (const name of engineNames) {
  describe.skipIf(!isInstalled(name))(`engine ${name}`, () => testsOf(name));
}

it('reports on every engine and chooses an available one', () => {
  const reports = detectEngines();
  expect(reports.map(({ name }) => name)).toEqual([...engineNames]);
  expect(reports.filter(({ chosen }) => chosen)).toHaveLength(1);
  expect(reports.find(({ chosen }) => chosen)!.available).toBe(true);
  expect(reports.find(({ name }) => name === 'cpu')).toMatchObject({
    available: true,
    detail: expect.stringMatching(/^@tensorflow\/tfjs-backend-cpu \d+\.\d+\.\d+$/),
  });
  for (const { available, detail } of reports) {
    if (!available) expect(detail).toMatch(/is not installed|does not load/);
  }
});

it('refuses a missing execution provider when the engine is created', async () => {
  await expect(createEngine('onnx', { executionProvider: 'nothing' as 'cuda' })).rejects.toThrow(
    /engine onnx: the execution provider 'nothing' does not start/,
  );
});

it('says how to install a missing engine', async () => {
  await expect(createEngine('tfjs-node-gpu')).rejects.toThrow(
    /engine tfjs-node-gpu: @tensorflow\/tfjs-node-gpu is not installed. Install it \(npm install/,
  );
});
