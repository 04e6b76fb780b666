import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, integers } from '../../../test/engine/agreement.js';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import type { NamedHostTensors, NamedTensors } from '../tensors.js';
import * as tf from '../tf.js';
import { type Attributes, Graph } from './graph.js';
import { overwrites } from './overwrites.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine('onnx');
});
afterAll(() => engine.dispose());

const overwrite = (value: tf.Tensor, { index, row }: NamedTensors) =>
  tf.tensorScatterUpdate(value, tf.reshape(index, [1, 1]), tf.reshape(row!, [1, 2]));
const at = (index: number, ...row: number[]): NamedHostTensors => ({
  index: integers([], index),
  row: floats([2], ...row),
});

describe('a variable in which rows are overwritten', () => {
  it('keeps the other rows, and earlier calls see the old values', async () => {
    const cache = engine.variable('cache', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const write = engine.jit('write', (inputs) => {
      const sum = tf.sum(cache);
      cache.assign(overwrite(cache, inputs));
      return { sum };
    });
    const first = write.run(at(1, 30, 40));
    const between = engine.read([cache]);
    const second = write.run(at(2, 50, 60));
    expect([...(await first).sum!.data]).toEqual([1 + 2 + 3 + 4 + 5 + 6]);
    expect([...(await second).sum!.data]).toEqual([1 + 2 + 30 + 40 + 5 + 6]);
    expect([...(await between)[0]!.data]).toEqual([1, 2, 30, 40, 5, 6]);
    expect([...(await engine.read([cache]))[0]!.data]).toEqual([1, 2, 30, 40, 50, 60]);
    await engine.write(cache, floats([3, 2], 0, 0, 0, 0, 0, 0));
    await write.run(at(0, 1, 1));
    expect([...(await engine.read([cache]))[0]!.data]).toEqual([1, 1, 0, 0, 0, 0]);
  });

  it('may be read before and after the write in the same function', async () => {
    const cache = engine.variable('cache, read', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const write = engine.jit('write and read', (inputs) => {
      const before = tf.mul(cache, 10);
      const after = overwrite(cache, inputs);
      cache.assign(after);
      return { before, after: tf.neg(after) };
    });
    const { before, after } = await write.run(at(0, 7, 8));
    expect([...before!.data]).toEqual([10, 20, 30, 40, 50, 60]);
    expect([...after!.data]).toEqual([-7, -8, -3, -4, -5, -6]);
    expect([...(await engine.read([cache]))[0]!.data]).toEqual([7, 8, 3, 4, 5, 6]);
  });

  it('may share its indices with another, and may be int32', async () => {
    const left = engine.variable('left', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const right = engine.variable('right', integers([3, 2], 1, 2, 3, 4, 5, 6));
    const write = engine.jit('write both', (inputs) => {
      left.assign(overwrite(left, inputs));
      right.assign(overwrite(right, { index: inputs.index, row: tf.cast(inputs.row!, 'int32') }));
      return {};
    });
    await write.run(at(2, 7, 8));
    await write.run(at(0, 9, 0));
    for (const { data } of await engine.read([left, right])) expect([...data]).toEqual([9, 0, 3, 4, 7, 8]);
  });

  it('does not change when an index is out of bounds', async () => {
    const cache = engine.variable('cache, short', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const write = engine.jit('write behind', (inputs) => {
      cache.assign(overwrite(cache, inputs));
      return {};
    });
    await expect(write.run(at(3, 7, 8))).rejects.toThrow(
      /'write behind'.*index 3 is out of bounds for axis 0 of the shape \[3,2\]/,
    );
    expect([...(await engine.read([cache]))[0]!.data]).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe('overwrites', () => {
  /** `after` is `before` with one row overwritten; `twice` is twice `after`. */
  function scattered(reduction?: string) {
    const graph = new Graph();
    const before = graph.input('before', 'float32', [3, 2]);
    const indices = graph.input('indices', 'int32', [1, 1]);
    const updates = graph.input('updates', 'float32', [1, 2]);
    const castIndices = graph.emit('Cast', [indices], { to: 7 }, { type: 'int64', shape: [1, 1] });
    const attributes: Attributes = reduction === undefined ? {} : { reduction };
    const spec = { type: 'float32', shape: [3, 2] } as const;
    const after = graph.emit('ScatterND', [before, castIndices, updates], attributes, spec);
    const twice = graph.emit('Add', [after, after], {}, spec);
    return { before, after, twice, indices, updates };
  }

  it('finds a scatter into the old value', () => {
    const { before, after, indices, updates } = scattered();
    expect(overwrites([{ before, after }], [after])).toEqual(new Map([[after, { indices, updates }]]));
  });

  it('does not find a value that is used, returned twice, added to, or scattered into another value', () => {
    const { before, after, twice, updates } = scattered();
    const none = new Map();
    expect(overwrites([{ before, after }], [after, twice])).toEqual(none);
    expect(overwrites([{ before, after }], [after, after])).toEqual(none);
    expect(overwrites([{ before: updates, after }], [after])).toEqual(none);
    const added = scattered('add');
    expect(overwrites([added], [added.after])).toEqual(none);
  });
});
