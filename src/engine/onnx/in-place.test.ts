import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, integers } from '../../../test/engine/agreement.js';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import type { NamedHostTensors, NamedTensors } from '../tensors.js';
import * as tf from '../tf.js';

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
      cache.assign(overwrite(cache, inputs));
      return { sum: tf.sum(cache) };
    });
    const first = write.run(at(1, 30, 40));
    const between = engine.read([cache]);
    const second = write.run(at(2, 50, 60));
    expect([...(await first).sum!.data]).toEqual([1 + 2 + 30 + 40 + 5 + 6]);
    expect([...(await second).sum!.data]).toEqual([1 + 2 + 30 + 40 + 50 + 60]);
    expect([...(await between)[0]!.data]).toEqual([1, 2, 30, 40, 5, 6]);
    expect([...(await engine.read([cache]))[0]!.data]).toEqual([1, 2, 30, 40, 50, 60]);
    await engine.write(cache, floats([3, 2], 0, 0, 0, 0, 0, 0));
    expect([...(await write.run(at(0, 1, 1))).sum!.data]).toEqual([2]);
  });

  it('is not touched where its old value is used too', async () => {
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
});
