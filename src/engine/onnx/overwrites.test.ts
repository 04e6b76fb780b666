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

const overwrite = (value: tf.Tensor, { place, row }: NamedTensors) =>
  tf.tensorScatterUpdate(value, tf.reshape(place!, [1, 1]), tf.reshape(row!, [1, 2]));
const at = (place: number, ...row: number[]): NamedHostTensors => ({
  place: integers([], place),
  row: floats([2], ...row),
});

describe('a variable of which places are overwritten', () => {
  it('keeps what was written before, and is seen as it was by who asked before', async () => {
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

  it('may be read before and after in the same function', async () => {
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

  it('may be one of several in the same places, and of whole numbers', async () => {
    const left = engine.variable('left', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const right = engine.variable('right', integers([3, 2], 1, 2, 3, 4, 5, 6));
    const write = engine.jit('write both', (inputs) => {
      left.assign(overwrite(left, inputs));
      right.assign(overwrite(right, { place: inputs.place!, row: tf.cast(inputs.row!, 'int32') }));
      return {};
    });
    await write.run(at(2, 7, 8));
    await write.run(at(0, 9, 0));
    for (const { data } of await engine.read([left, right])) expect([...data]).toEqual([9, 0, 3, 4, 7, 8]);
  });

  it('is left as it is by places that it does not have', async () => {
    const cache = engine.variable('cache, short', floats([3, 2], 1, 2, 3, 4, 5, 6));
    const write = engine.jit('write behind', (inputs) => {
      cache.assign(overwrite(cache, inputs));
      return {};
    });
    await expect(write.run(at(3, 7, 8))).rejects.toThrow(
      /'write behind'.*index 3 is not in axis 0 of \[3,2\]/,
    );
    expect([...(await engine.read([cache]))[0]!.data]).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe('what is taken for an overwrite', () => {
  /** after = before with one place overwritten, and twice that. */
  function scattered(reduction?: string) {
    const graph = new Graph();
    const before = graph.input('before', 'float32', [3, 2]);
    const indices = graph.input('indices', 'int32', [1, 1]);
    const updates = graph.input('updates', 'float32', [1, 2]);
    const places = graph.emit('Cast', [indices], { to: 7 }, { type: 'int64', shape: [1, 1] });
    const attributes: Attributes = reduction === undefined ? {} : { reduction };
    const spec = { type: 'float32', shape: [3, 2] } as const;
    const after = graph.emit('ScatterND', [before, places, updates], attributes, spec);
    const twice = graph.emit('Add', [after, after], {}, spec);
    return { before, after, twice, indices, updates };
  }

  it('is a scatter into the old value', () => {
    const { before, after, indices, updates } = scattered();
    expect(overwrites([{ before, after }], [after])).toEqual(new Map([[after, { indices, updates }]]));
  });

  it('is nothing that somebody reads, that leaves twice, that adds, or that starts from another value', () => {
    const { before, after, twice, updates } = scattered();
    const none = new Map();
    expect(overwrites([{ before, after }], [after, twice])).toEqual(none);
    expect(overwrites([{ before, after }], [after, after])).toEqual(none);
    expect(overwrites([{ before: updates, after }], [after])).toEqual(none);
    const added = scattered('add');
    expect(overwrites([added], [added.after])).toEqual(none);
  });
});
