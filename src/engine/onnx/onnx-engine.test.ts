import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { floats, integers, normal } from '../../../test/engine/agreement.js';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import type { NamedTensors, Scalar } from '../tensors.js';
import * as tf from '../tf.js';

let engine: Engine;
beforeEach(async () => {
  engine = await createEngine('onnx');
});
afterEach(() => engine.dispose());

const first = async (promise: Promise<Record<string, { data: ArrayLike<number> }>>, name = 'y') =>
  (await promise)[name]!.data[0];

it('leaves no log of usage data in the temporary folder', async () => {
  const f = engine.jit('double', ({ x }) => ({ y: tf.mul(x!, 2) }));
  expect(await first(f.run({ x: floats([1], 3) }))).toBe(6);
  expect(existsSync(join(tmpdir(), `mat-debug-${process.pid}.log`))).toBe(false);
});

describe('variables', () => {
  it('may be made in a function, from constants, once', async () => {
    let total: tf.Variable | undefined;
    const count = engine.jit('count', ({ x }) => {
      total ??= tf.variable(tf.fill(x!.shape, 10), false, 'total');
      total.assign(tf.add(total, x!));
      return { y: tf.sum(total) };
    });
    expect(await first(count.run({ x: floats([2], 1, 2) }))).toBe(23);
    expect(await first(count.run({ x: floats([2], 1, 2) }))).toBe(26);
    expect([...(await engine.read([total!]))[0]!.data]).toEqual([12, 14]);
  });

  it('cannot be made from inputs', async () => {
    const f = engine.jit('make', ({ x }) => ({ y: tf.clone(tf.variable(x!, true, 'copy')) }));
    await expect(f.run({ x: floats([1], 1) })).rejects.toThrow(
      "variable 'copy' made in 'make': its initial value depends on an input or another variable",
    );
    // The failed trace does not leave a variable behind.
    expect(engine.variable('copy', floats([1], 3)).name).toBe('copy');
  });

  it('keep their values when a trace fails', async () => {
    const v = engine.variable('v', floats([1], 5));
    const broken = engine.jit('broken', () => {
      v.assign(tf.zeros([1]));
      throw new Error('failed');
    });
    await expect(broken.run({})).rejects.toThrow('failed');
    const read = engine.jit('read', () => ({ y: tf.mul(v, 2) }));
    expect(await first(read.run({}))).toBe(10);
  });

  it('may be swapped and assigned to one another', async () => {
    const [a, b] = [engine.variable('a', floats([1], 1)), engine.variable('b', floats([1], 2))];
    const swap = engine.jit('swap', () => {
      const old = tf.clone(a);
      a.assign(b);
      b.assign(old);
      return {};
    });
    await swap.run({});
    expect((await engine.read([a, b])).map(({ data }) => data[0])).toEqual([2, 1]);
    await swap.run({});
    expect((await engine.read([a, b])).map(({ data }) => data[0])).toEqual([1, 2]);
  });

  it.each([
    ['a variable made before it', 'early', 'late'],
    ['a variable made after it', 'late', 'early'],
  ])('may be assigned from %s that the function does not read otherwise', async (_, from, to) => {
    const variables: Record<string, tf.Variable> = {
      early: engine.variable('early', floats([1], 1)),
      late: engine.variable('late', floats([1], 2)),
    };
    const copy = engine.jit('copy', () => {
      variables[to]!.assign(variables[from]!);
      return {};
    });
    await copy.run({});
    const [a, b] = await engine.read([variables.early!, variables.late!]);
    const value = from === 'early' ? 1 : 2;
    expect([a!.data[0], b!.data[0]]).toEqual([value, value]);
  });

  it('can be read only through the engine', async () => {
    const v = engine.variable('v', floats([1], 5));
    expect(() => v.dataSync()).toThrow(
      "variable 'v': its value was read outside of its engine. Read it with engine.read",
    );
    const f = engine.jit('peek', () => ({ y: tf.scalar(v.dataSync()[0]!) }));
    await expect(f.run({})).rejects.toThrow(/variable 'v': its value was read while 'peek' was traced/);
  });
});

describe('variables made by TensorFlow.js', () => {
  it('become variables of the engine when a function uses them', async () => {
    await tf.setBackend('cpu');
    const counter = tf.variable(tf.tensor1d([5]), false);
    const count = engine.jit('count', () => {
      counter.assign(tf.add(counter, 1));
      return { y: tf.clone(counter) };
    });
    expect(await first(count.run({}))).toBe(6);
    expect(await first(count.run({}))).toBe(7);
    expect((await engine.read([counter]))[0]!.data[0]).toBe(7);
    counter.dispose();
  });

  it('are refused if a function assigns without reading, or if they belong to another engine', async () => {
    await tf.setBackend('cpu');
    const outside = tf.variable(tf.tensor1d([5]), false, 'outside');
    const set = engine.jit('set', ({ x }: { x: tf.Tensor1D }) => {
      outside.assign(x);
      return {};
    });
    await expect(set.run({ x: floats([1], 1) })).rejects.toThrow(
      "variable 'outside': was made outside of the engine, and 'set' assigns to it without reading it",
    );
    outside.dispose();
    const other = await createEngine('onnx');
    const theirs = other.variable('theirs', floats([1], 1));
    const steal = engine.jit('steal', () => ({ y: tf.neg(theirs) }));
    await expect(steal.run({})).rejects.toThrow("variable 'theirs': belongs to another engine");
    await other.dispose();
  });
});

describe('order of calls', () => {
  it('each call sees the variables as the earlier calls leave them, however long these take', async () => {
    const weight = engine.variable('weight', normal('weight', 400, 400));
    const count = engine.variable('count', floats([], 0));
    const long = engine.jit('long', () => {
      weight.assign(tf.tanh(tf.matMul(weight, weight)));
      count.assign(tf.add(count, 1));
      return { y: tf.clone(count) };
    });
    const short = engine.jit('short', () => ({ y: tf.clone(count) }));
    const results = await Promise.all([
      first(short.run({})),
      first(long.run({})),
      first(short.run({})),
      first(long.run({})),
      first(long.run({})),
      first(short.run({})),
      engine.read([count]).then(([value]) => value!.data[0]),
    ]);
    expect(results).toEqual([0, 1, 1, 2, 3, 3, 3]);
  });

  it('a short call does not wait for a long call that does not change its variables', async () => {
    const weight = engine.variable('weight', normal('weight', 600, 600));
    const acting = engine.variable('acting', floats([1], 7));
    const long = engine.jit('long', () => {
      let x: tf.Tensor = weight;
      for (let i = 0; i < 20; i++) x = tf.tanh(tf.matMul(x, weight));
      weight.assign(x);
      return {};
    });
    const short = engine.jit('short', () => ({ y: tf.add(acting, 1) }));
    await short.run({});
    await long.run({});
    const finished: string[] = [];
    await Promise.all([
      long.run({}).then(() => finished.push('long')),
      first(short.run({})).then((y) => finished.push(`short ${y}`)),
    ]);
    expect(finished).toEqual(['short 8', 'long']);
  });

  it('inputs may be changed as soon as run returns', async () => {
    const f = engine.jit('f', ({ x }) => ({ y: tf.neg(x!) }));
    const x = floats([1], 1);
    const running = f.run({ x });
    x.data[0] = 99;
    expect(await first(running)).toBe(-1);
  });

  it('a write happens between the calls before and after it', async () => {
    const v = engine.variable('v', floats([], 1));
    const double = engine.jit('double', () => {
      v.assign(tf.mul(v, 2));
      return { y: tf.clone(v) };
    });
    const results = [first(double.run({})), engine.write(v, floats([], 10)), first(double.run({}))];
    expect(await Promise.all(results)).toEqual([2, undefined, 20]);
  });
});

describe('tracing', () => {
  it('happens once for each combination of input shapes', async () => {
    let traces = 0;
    const f = engine.jit('f', ({ x }) => {
      traces += 1;
      return { y: tf.sum(x!) };
    });
    expect(await first(f.run({ x: floats([2], 1, 2) }))).toBe(3);
    expect(await first(f.run({ x: floats([2], 3, 4) }))).toBe(7);
    expect(traces).toBe(1);
    expect(await first(f.run({ x: floats([3], 1, 2, 3) }))).toBe(6);
    expect(traces).toBe(2);
  });

  it('refuses to read a value, and names the operation and the function', async () => {
    const f = engine.jit('branch', ({ x }) => ({ y: tf.tanh(x!).dataSync()[0]! > 0 ? x! : tf.neg(x!) }));
    await expect(f.run({ x: floats([1], 1) })).rejects.toThrow(
      /tracing 'branch': the result of Tanh was read .* tensors have no values while tracing. Express the decision/,
    );
  });

  it('refuses a kernel that cannot be traced, and names it and the function', async () => {
    const f = engine.jit('look', ({ x }) => ({ y: tf.unique(x!).values }));
    await expect(f.run({ x: floats([1], 1) })).rejects.toThrow(
      "kernel Unique in 'look': cannot be traced by the onnx engine",
    );
    const g = engine.jit('convolve', ({ x }) => {
      const image: tf.Tensor3D = tf.reshape(x, [1, 1, 1]);
      return { y: tf.conv2d(image, tf.ones([1, 1, 1, 1]), 1, 'same') };
    });
    await expect(g.run({ x: floats([1], 1) })).rejects.toThrow(/kernel Conv2D in 'convolve'/);
  });

  it('makes tensors from outside constants', async () => {
    await tf.setBackend('cpu');
    const outside = tf.tensor1d([1, 2, 3]);
    const f = engine.jit('f', ({ x }) => ({ y: tf.sum(tf.mul(x!, outside)) }));
    expect(await first(f.run({ x: floats([3], 1, 1, 1) }))).toBe(6);
    expect(await first(f.run({ x: floats([1], 2) }))).toBe(12);
    // Outside, it is still an ordinary tensor.
    expect([...outside.dataSync()]).toEqual([1, 2, 3]);
    expect([...tf.neg(outside).dataSync()]).toEqual([-1, -2, -3]);
    outside.dispose();
  });

  it('refuses a tensor of an earlier trace', async () => {
    let kept: tf.Tensor | undefined;
    const f = engine.jit('f', ({ x }) => {
      kept = tf.keep(tf.neg(x!));
      return { y: x! };
    });
    await f.run({ x: floats([1], 1) });
    const g = engine.jit('g', () => ({ y: tf.neg(kept!) }));
    await expect(g.run({})).rejects.toThrow(/tracing 'g': it uses a tensor that an earlier trace made/);
  });

  it('does not change errors that the function throws', async () => {
    const f = engine.jit('f', ({ x }) => ({ y: tf.matMul(x, x) }));
    await expect(f.run({ x: floats([1, 2], 1, 2) })).rejects.toThrow(/inner dimensions/);
  });

  it('reports the message of ONNX Runtime when a run fails', async () => {
    const f = engine.jit('pick', ({ x, i }) => ({ y: tf.gather(x, i) }));
    await expect(f.run({ x: floats([2], 1, 2), i: integers([1], 7) })).rejects.toThrow(
      /function 'pick': ONNX Runtime failed: .*Gather/,
    );
    expect(await first(f.run({ x: floats([2], 1, 2), i: integers([1], 1) }))).toBe(2);
  });

  it('refuses calls of a function that has been disposed of', async () => {
    const f = engine.jit('f', ({ x }) => ({ y: tf.neg(x!) }));
    await f.run({ x: floats([1], 1) });
    f.dispose();
    await expect(f.run({ x: floats([1], 1) })).rejects.toThrow("function 'f': has been disposed of");
  });
});

it('gives the same bytes in every run', async () => {
  const train = async (name: string) => {
    const weight = engine.variable(`${name}/weight`, normal('weight', 64, 64));
    const adam = tf.train.adam(0.01);
    const step = engine.jit(name, ({ x }): NamedTensors => {
      const loss = (): Scalar => tf.mean(tf.square(tf.tanh(tf.matMul(x, weight))));
      return { loss: adam.minimize(loss, true, [weight])! };
    });
    for (let i = 0; i < 5; i++) await step.run({ x: normal(`x${i}`, 300, 64) });
    return Buffer.from((await engine.read([weight]))[0]!.data.buffer).toString('base64');
  };
  expect(await train('one')).toBe(await train('two'));
});

it('finishes the calls made before it is disposed of, and refuses later calls', async () => {
  const own = await createEngine('onnx');
  const v = own.variable('v', floats([1], 1));
  const read = own.jit('read', () => ({ y: tf.mul(v, 3) }));
  const add = own.jit('add', () => {
    v.assign(tf.add(v, 1));
    return { y: tf.clone(v) };
  });
  const running = [first(add.run({})), first(read.run({}))];
  read.dispose();
  const disposed = own.dispose();
  expect(await Promise.all(running)).toEqual([2, 6]);
  await disposed;
  await expect(add.run({})).rejects.toThrow('engine onnx: has been disposed of');
  await expect(own.write(v, floats([1], 2))).rejects.toThrow('engine onnx: has been disposed of');
  await own.dispose();
});
