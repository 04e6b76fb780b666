import { describe, expect, it } from 'vitest';
import type { NamedSpecs, NamedTensorValues, TensorSpec } from './environment.js';
import { scaleActions } from './flatten.js';
import { flattenObservations } from './observation-layout.js';

describe('flattenObservations', () => {
  it('lays out observations sorted by name', () => {
    const specs: NamedSpecs = {
      velocity: { name: 'velocity', shape: [2], dtype: 'float64' },
      contact: { name: 'contact', shape: [], dtype: 'bool' },
      count: { name: 'count', shape: [1], dtype: 'int64' },
    };
    const flattener = flattenObservations(specs);
    const out = new Float32Array(6);
    flattener.write(
      {
        velocity: { dtype: 'float64', shape: [2], data: Float64Array.of(0.5, -2) },
        contact: { dtype: 'bool', shape: [], data: Uint8Array.of(1) },
        count: { dtype: 'int64', shape: [1], data: BigInt64Array.of(9n) },
      },
      out,
      2,
    );
    expect(flattener.size).toBe(4);
    expect([...out]).toEqual([0, 0, 1, 9, 0.5, -2]);
  });

  it.each<[string, Partial<TensorSpec>, number[]]>([
    ['with its bounds', { minimum: 0, maximum: 255 }, [0, Math.fround(51 / 255), 1]],
    ['with bounds for each element', { minimum: [0, 0, 0], maximum: [255, 255, 255] }, [0, 0.2, 1]],
    ['without bounds, so that those of the dtype count', {}, [0, 0.2, 1]],
    ['except with other bounds', { minimum: 0, maximum: 254 }, [0, 51, 255]],
    ['except with another bound of one element', { maximum: [255, 255, 9] }, [0, 51, 255]],
    ['except of another dtype', { dtype: 'int32', minimum: 0, maximum: 255 }, [0, 51, 255]],
  ])('scales bytes to 0 … 1: %s', (_what, spec, expected) => {
    const dtype = spec.dtype ?? 'uint8';
    const specs: NamedSpecs = {
      pixels: { name: 'pixels', shape: [1, 3, 1], dtype, ...spec },
      z: { name: 'z', shape: [], dtype: 'float32' },
    };
    const flattener = flattenObservations(specs, { oneHot: false });
    const out = new Float32Array(4);
    const data = dtype === 'uint8' ? Uint8Array.of(0, 51, 255) : Int32Array.of(0, 51, 255);
    flattener.write(
      {
        pixels: { dtype, shape: [1, 3, 1], data },
        z: { dtype: 'float32', shape: [], data: Float32Array.of(7) },
      },
      out,
      0,
    );
    expect([...out]).toEqual([...expected.map(Math.fround), 7]);
  });

  it('encodes integers with bounds as one-hot codes, and says which are too many', () => {
    const specs: NamedSpecs = {
      // As Gymnasium's Discrete(3, start=-1), MultiDiscrete([3, 2]) and MultiBinary(2).
      a: { name: 'a', shape: [], dtype: 'int64', minimum: -1, maximum: 1 },
      b: { name: 'b', shape: [2], dtype: 'int64', minimum: [0, 0], maximum: [2, 1] },
      c: { name: 'c', shape: [2], dtype: 'int8', minimum: 0, maximum: 1 },
      d: { name: 'd', shape: [1], dtype: 'int32', minimum: 0, maximum: 4096 },
      // The bounds of the dtype are none.
      e: { name: 'e', shape: [], dtype: 'int8', minimum: -128, maximum: 127 },
      f: { name: 'f', shape: [1], dtype: 'uint8' },
    };
    const flattener = flattenObservations(specs);
    expect(flattener.notes).toEqual([
      expect.stringMatching(/^observation 'd': a one-hot code of its 4097 values would be too long/),
    ]);
    const int8 = (...data: number[]) => ({ dtype: 'int8' as const, shape: [], data: Int8Array.of(...data) });
    const observation = {
      a: { dtype: 'int64' as const, shape: [], data: BigInt64Array.of(1n) },
      b: { dtype: 'int64' as const, shape: [2], data: BigInt64Array.of(0n, 1n) },
      c: int8(1, 0),
      d: { dtype: 'int32' as const, shape: [1], data: Int32Array.of(7) },
      e: int8(-3),
      f: { dtype: 'uint8' as const, shape: [1], data: Uint8Array.of(51) },
    };
    const out = new Float32Array(flattener.size);
    flattener.write(observation, out, 0);
    expect([...out]).toEqual([0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 7, -3, Math.fround(0.2)]);
    expect(flattener.byteRanges).toEqual([
      { start: 0, size: 8, divisor: 1 },
      { start: 12, size: 1, divisor: 255 },
    ]);
    const outside = { ...observation, b: { ...observation.b, data: BigInt64Array.of(0n, 2n) } };
    flattener.write(outside, out, 0);
    const wrong = out.findIndex(Number.isNaN);
    expect(flattener.describe(outside, wrong)).toBe("observation 'b'[1] is 2, outside of its bounds 0 and 1");
    expect(flattenObservations(specs, { oneHot: false }).size).toBe(1 + 2 + 2 + 1 + 1 + 1);
  });

  it.each<[string, TensorSpec, number]>([
    ['two values', { name: 'a', shape: [2], dtype: 'int8', minimum: 0, maximum: 1 }, 2],
    ['two values, one below', { name: 'a', shape: [2], dtype: 'int8', minimum: 0, maximum: 1 }, -1],
    ['one value', { name: 'a', shape: [2], dtype: 'int8', minimum: 0, maximum: 0 }, 1],
    [
      'too many values for a code',
      { name: 'a', shape: [2], dtype: 'int32', minimum: 0, maximum: 4096 },
      4097,
    ],
  ])('checks integers that enter as numbers against their bounds: %s', (_, spec, outside) => {
    const flattener = flattenObservations({ a: spec });
    const written = (...values: number[]) => {
      const out = new Float32Array(2);
      const observation: NamedTensorValues = {
        a: { dtype: 'int32', shape: [2], data: Int32Array.of(...values) },
      };
      flattener.write(observation, out, 0);
      return { out: [...out], said: flattener.describe(observation, 1) };
    };
    expect(written(0, spec.maximum as number).out).toEqual([0, spec.maximum]);
    const { out, said } = written(0, outside);
    expect(out).toEqual([0, Number.NaN]);
    expect(said).toBe(`observation 'a'[1] is ${outside}, outside of its bounds 0 and ${spec.maximum}`);
  });

  it('takes integers that neighbouring numbers could be taken for as numbers, not as categories', () => {
    const a: TensorSpec = {
      name: 'a',
      shape: [],
      dtype: 'int64',
      minimum: 2 ** 53 - 4,
      maximum: 2 ** 53 + 4,
    };
    const [unsafe, safe] = [a, { ...a, maximum: 2 ** 53 - 1 }].map((spec) =>
      flattenObservations({ a: spec }),
    );
    expect([unsafe.size, safe.size]).toEqual([1, 4]);
  });

  it('says which numbers a policy reads as others', () => {
    const specs: NamedSpecs = {
      id: { name: 'id', shape: [], dtype: 'int64' },
      near: { name: 'near', shape: [1], dtype: 'float64' },
      single: { name: 'single', shape: [1], dtype: 'float32' },
      time: { name: 'time', shape: [2], dtype: 'float64' },
    };
    const observation: NamedTensorValues = {
      id: { dtype: 'int64', shape: [], data: BigInt64Array.of(2n ** 53n + 1n) },
      near: { dtype: 'float64', shape: [1], data: Float64Array.of(0.1) },
      single: { dtype: 'float32', shape: [1], data: Float32Array.of(3e9) },
      time: { dtype: 'float64', shape: [2], data: Float64Array.of(2 ** 31, 1764390000.25) },
    };
    const flattener = flattenObservations(specs);
    expect([0, 1, 2, 3, 4].map((i) => flattener.rounding(observation, i))).toEqual([
      "observation 'id'[0] is 9007199254740993, which a policy reads as 9007199254740992",
      undefined,
      undefined,
      undefined,
      "observation 'time'[1] is 1764390000.25, which a policy reads as 1764390016",
    ]);
  });

  it.each<[string, NamedSpecs, RegExp]>([
    ['strings', { a: { name: 'a', shape: [1], dtype: 'string' } }, /dtype is string/],
    ['unknown lengths', { a: { name: 'a', shape: [-1], dtype: 'float32' } }, /is not fixed/],
    ['no observations', {}, /has no observations/],
  ])('refuses %s', (_what, specs, message) => {
    expect(() => flattenObservations(specs)).toThrow(message);
  });
});

describe('scaleActions', () => {
  const specs: NamedSpecs = {
    torque: { name: 'torque', shape: [2], dtype: 'float32', minimum: [-2, 0], maximum: [2, 1] },
    gear: { name: 'gear', shape: [], dtype: 'int32', minimum: 0, maximum: 4 },
  };

  it('scales to the bounds, clips to them, and rounds integers', () => {
    const scaler = scaleActions(specs);
    expect(scaler.size).toBe(3);
    expect([...scaler.minimum]).toEqual([0, -2, 0]);
    expect([...scaler.maximum]).toEqual([4, 2, 1]);
    const action = scaler.read(Float32Array.of(9, 0.1, -1, 0.5), 1);
    expect(action.gear.data).toEqual(Int32Array.of(2));
    expect([...(action.torque.data as Float32Array)]).toEqual([-2, 0.75]);
    const outside = scaler.read(Float32Array.of(7, -7, 1), 0);
    expect(outside.gear.data).toEqual(Int32Array.of(4));
    expect([...(outside.torque.data as Float32Array)]).toEqual([-2, 1]);
  });

  it('counts the values of integers and booleans within their bounds', () => {
    const scaler = scaleActions({
      a: { name: 'a', shape: [3], dtype: 'int64', minimum: [0, -2, 7], maximum: [1, 2, 7] },
      b: { name: 'b', shape: [], dtype: 'bool' },
      c: { name: 'c', shape: [], dtype: 'float32', minimum: -1, maximum: 1 },
      // Only 1 and 2 are integers.
      d: { name: 'd', shape: [], dtype: 'int32', minimum: 0.5, maximum: 2.5 },
      e: { name: 'e', shape: [], dtype: 'uint32', minimum: 0, maximum: 4095 },
    });
    expect([...scaler.values]).toEqual([2, 5, 1, 2, 0, 2, 4096]);
    const [least, most] = [-1, 1].map((end) => scaler.read(new Float32Array(7).fill(end), 0));
    expect([least.a.data, most.a.data]).toEqual([
      BigInt64Array.of(0n, -2n, 7n),
      BigInt64Array.of(1n, 2n, 7n),
    ]);
    expect([least.b.data, most.b.data]).toEqual([Uint8Array.of(0), Uint8Array.of(1)]);
    expect([least.d.data, most.d.data]).toEqual([Int32Array.of(1), Int32Array.of(2)]);
    // Every value is reached by its own canonical number, in single precision too.
    const reached = Array.from({ length: 4096 }, (_, i) => {
      const canonical = new Float32Array(7);
      canonical[6] = -1 + (2 * i) / 4095;
      return Number(scaler.read(canonical, 0).e.data[0]);
    });
    expect(reached).toEqual([...Array(4096).keys()]);
  });

  it('takes the bounds of its options where a spec has none', () => {
    const open: NamedSpecs = {
      a: { name: 'a', shape: [2], dtype: 'float32', minimum: [-1e10, 0], maximum: [1e10, 3] },
      b: { name: 'b', shape: [], dtype: 'float64' },
    };
    const scaler = scaleActions(open, { bounds: [-2, 5] });
    expect([...scaler.minimum]).toEqual([-2, 0, -2]);
    expect([...scaler.maximum]).toEqual([5, 3, 5]);
  });

  it.each<[string, NamedSpecs, RegExp]>([
    [
      'integers with too many values',
      { a: { name: 'a', shape: [2], dtype: 'int32', minimum: 0, maximum: [9, 4096] } },
      /^action 'a': element 1 has 4097 values, and a policy chooses among 4096 at most.*floating-point action/,
    ],
    [
      'bounds without an integer between them',
      { a: { name: 'a', shape: [1], dtype: 'int32', minimum: 0.2, maximum: 0.8 } },
      /^action 'a': the bounds of element 0, 0.2 and 0.8, have no integer between them/,
    ],
    [
      'no bounds',
      { a: { name: 'a', shape: [1], dtype: 'float32' } },
      /element 0 has the minimum \(none\) and the maximum \(none\)/,
    ],
    [
      'infinite bounds',
      { a: { name: 'a', shape: [1], dtype: 'float32', minimum: Number.NEGATIVE_INFINITY, maximum: 1 } },
      /the minimum -Infinity and the maximum 1/,
    ],
    [
      'bounds that mean none',
      { a: { name: 'a', shape: [1], dtype: 'float64', minimum: -1e10, maximum: 1e10 } },
      /element 0 has the minimum -10000000000 and the maximum 10000000000, and bounds beyond 16777216 count as missing.*set environment.actionBounds/,
    ],
    [
      'integers that neighbouring numbers could be taken for',
      { a: { name: 'a', shape: [], dtype: 'int64', minimum: 2 ** 53, maximum: 2 ** 53 + 4 } },
      /the minimum 9007199254740992 and the maximum 9007199254740996, and bounds beyond 16777216 count as missing/,
    ],
    [
      'the bounds of a dtype',
      { a: { name: 'a', shape: [1], dtype: 'int32', minimum: -(2 ** 31), maximum: 2 ** 31 - 1 } },
      /and bounds beyond 16777216 count as missing\. .*have the server give them in its spec$/,
    ],
    ['strings', { a: { name: 'a', shape: [1], dtype: 'string' } }, /dtype is string/],
    ['no actions', {}, /has no actions/],
  ])('refuses %s', (_what, specs2, message) => {
    expect(() => scaleActions(specs2)).toThrow(message);
  });
});
