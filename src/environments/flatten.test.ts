import { describe, expect, it } from 'vitest';
import type { NamedSpecs } from './environment.js';
import { flattenObservations, scaleActions } from './flatten.js';

describe('flattenObservations', () => {
  it('lays names out in sorted order', () => {
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

  it.each<[string, NamedSpecs, RegExp]>([
    ['text', { a: { name: 'a', shape: [1], dtype: 'string' } }, /dtype is string/],
    ['unknown lengths', { a: { name: 'a', shape: [-1], dtype: 'float32' } }, /no fixed size/],
    ['nothing', {}, /nothing to observe/],
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

  it.each<[string, NamedSpecs, RegExp]>([
    ['no bounds', { a: { name: 'a', shape: [1], dtype: 'float32' } }, /bounded by nothing and nothing/],
    [
      'infinite bounds',
      { a: { name: 'a', shape: [1], dtype: 'float32', minimum: Number.NEGATIVE_INFINITY, maximum: 1 } },
      /-Infinity and 1/,
    ],
    ['text', { a: { name: 'a', shape: [1], dtype: 'string' } }, /dtype is string/],
    ['nothing', {}, /nothing to act with/],
  ])('refuses %s', (_what, specs2, message) => {
    expect(() => scaleActions(specs2)).toThrow(message);
  });
});
