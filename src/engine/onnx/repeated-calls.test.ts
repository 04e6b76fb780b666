import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { floats, integers, normal } from '../../../test/engine/agreement.js';
import { createAdam } from '../adam.js';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import { int32Result } from '../host-tensors.js';
import type { NamedHostTensors, Scalar, Tensor, Tensor2D } from '../tensors.js';
import * as tf from '../tf.js';
import { Executor } from './executor.js';
import type { Numbers, Program } from './program.js';
import { SessionRunner } from './session-runner.js';

/** Calls of functions that change variables: several that wait are made in one run of ONNX Runtime. */

let engine: Engine;
beforeEach(async () => {
  engine = await createEngine('onnx', { threads: 2 });
});
afterEach(() => engine.dispose());

const bytes = (data: Numbers) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');
const outcome = (results: NamedHostTensors) =>
  Object.entries(results).map(([name, { shape, data }]) => [name, shape, bytes(data as Numbers)]);

/** A network of one layer in training, with an input of each element type and variables of all kinds. */
function training(name: string) {
  const weight = engine.variable(`${name}/weight`, normal('weight', 32, 8));
  const scale = engine.variable(`${name}/scale`, normal('scale', 8));
  const last = engine.variable(`${name}/last`, floats([5], 0, 0, 0, 0, 0));
  const adam = createAdam(engine, `${name}/adam`, { weight }, { learningRate: 0.1, maxGradientNorm: 1 });
  const step = engine.jit(name, ({ x, rows }: { readonly x: Tensor2D; readonly rows: Tensor }) => {
    const chosen: Tensor = tf.gather(x, rows as tf.Tensor1D);
    const { value, grads } = tf.variableGrads(
      () => tf.mean(tf.square(tf.mul(tf.tanh(tf.matMul(chosen, weight)), scale))) as Scalar,
      [weight],
    );
    const { gradientNorm } = adam.apply({ weight: grads[weight.name]! });
    // Written and not read.
    last.assign(tf.mean(chosen, 1));
    return { value, gradientNorm, rows: int32Result(tf.add(rows, 1)) };
  });
  const inputs = (call: number) => ({
    x: normal(call, 16, 32),
    rows: integers([5], ...[0, 1, 2, 3, 4].map((i) => (call * i) % 16)),
  });
  return { step, inputs, variables: [weight, scale, last, ...Object.values(adam.slots)] };
}

describe('calls that wait for one another', () => {
  // More than are made in one run.
  const count = 40;

  it('give the same bits as calls made one by one', async () => {
    const [one, other] = [training('one'), training('other')];
    const single: NamedHostTensors[] = [];
    for (let i = 0; i < count; i++) single.push(await one.step.run(one.inputs(i)));
    const together = await Promise.all(
      Array.from({ length: count }, (_, i) => other.step.run(other.inputs(i))),
    );
    expect(together.map(outcome)).toEqual(single.map(outcome));
    const [left, right] = [await engine.read(one.variables), await engine.read(other.variables)];
    expect(right.map(({ data }) => bytes(data as Numbers))).toEqual(
      left.map(({ data }) => bytes(data as Numbers)),
    );
  });

  it('see what happens between them', async () => {
    const v = engine.variable('v', floats([], 1));
    const add = engine.jit('add', ({ x }: { readonly x: Scalar }) => {
      v.assign(tf.add(v, x));
      return { y: tf.clone(v) };
    });
    const double = engine.jit('double', () => {
      v.assign(tf.mul(v, 2));
      return { y: tf.clone(v) };
    });
    const y = async (running: Promise<NamedHostTensors>) => (await running).y!.data[0];
    const plus = (x: number) => y(add.run({ x: floats([], x) }));
    const read = async () => (await engine.read([v]))[0]!.data[0];
    const write = async (x: number) => {
      await engine.write(v, floats([], x));
      return x;
    };
    const values = await Promise.all([
      ...[plus(1), plus(2), plus(3), y(double.run({})), plus(4), read(), plus(5)],
      ...[plus(6), write(100), plus(7), plus(8), read()],
    ]);
    expect(values).toEqual([2, 4, 7, 14, 18, 18, 23, 29, 100, 107, 115, 115]);
  });

  it('fail alone', async () => {
    const total = engine.variable('total', floats([], 0));
    const pick = engine.jit('pick', ({ x, i }: { readonly x: tf.Tensor1D; readonly i: tf.Tensor1D }) => {
      const chosen: Scalar = tf.sum(tf.gather(x, i));
      total.assign(tf.add(total, chosen));
      return { y: tf.clone(total) };
    });
    const calls = [0, 1, 7, 1].map((i) => pick.run({ x: floats([2], 10, 20), i: integers([1], i) }));
    const settled = await Promise.allSettled(calls);
    expect(settled.map((call) => (call.status === 'fulfilled' ? call.value.y.data[0] : 'failed'))).toEqual([
      10,
      30,
      'failed',
      50,
    ]);
  });
});

describe('a run of several calls', () => {
  it('gives the same bits as a run for each', async () => {
    const load = vi.spyOn(Executor.prototype, 'load');
    const { step, inputs, variables } = training('traced');
    await step.run(inputs(0));
    const program: Program = load.mock.calls.find(([{ name }]) => name === 'traced')![0];
    load.mockRestore();
    expect(program.isRepeated).toBe(true);
    const start = await engine.read(variables);
    const calls = [1, 2, 3].map((call) =>
      program.inputs.map(
        ({ name }) => Object.entries(inputs(call)).find(([key]) => name.endsWith(key))![1].data,
      ),
    );
    const made = async (groups: readonly (readonly Numbers[][])[]) => {
      const runner = new SessionRunner({ threads: 1, executionProvider: 'cpu', spinMicroseconds: 0 });
      await runner.handle({ kind: 'load', program });
      for (const { name, type, shape, variable } of program.reads) {
        const data = start[variables.findIndex((v) => name.endsWith(`/${v.name}`))]!.data.slice() as Numbers;
        await runner.handle({ kind: 'write', variable, type: { type, shape }, data });
      }
      const results: (readonly Numbers[])[] = [];
      for (const group of groups) results.push(...(await runner.runCalls(program.id, group)));
      const after = await runner.handle({
        kind: 'read',
        variables: program.writes.map(({ variable }) => variable),
      });
      await runner.handle({ kind: 'close' });
      return [...results, after].map((arrays) => arrays.map(bytes));
    };
    expect(await made([calls])).toEqual(await made(calls.map((call) => [call])));
  });
});
