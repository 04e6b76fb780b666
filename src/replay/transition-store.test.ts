import { describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { randomKey } from '../core/random-keys.js';
import { TransitionStore } from './transition-store.js';

function filled(capacity: number, count: number): TransitionStore {
  const store = new TransitionStore(capacity, 2, 1);
  for (let i = 0; i < count; i++) {
    store.add(Float32Array.of(i, -i), Float32Array.of(i / 10), i * 2, 0.5, Float32Array.of(i + 1, -i - 1));
  }
  return store;
}

describe('TransitionStore', () => {
  it('samples whole transitions', () => {
    const { observations, actions, returns, nextObservations } = filled(100, 50).sample(randomKey(1), 200);
    for (let i = 0; i < 200; i++) {
      const id = observations.data[2 * i];
      expect(observations.data[2 * i + 1]).toBe(-id);
      expect(actions.data[i]).toBeCloseTo(id / 10, 5);
      expect(returns.data[i]).toBe(id * 2);
      expect(nextObservations.data[2 * i]).toBe(id + 1);
    }
    expect(new Set(returns.data).size).toBeGreaterThan(40);
  });

  it('overwrites the oldest when it is full', () => {
    const store = filled(10, 25);
    expect(store.size).toBe(10);
    const ids = new Set(store.sample(randomKey(2), 500).returns.data.map((r) => r / 2));
    expect([...ids].sort((a, b) => a - b)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
  });

  it('grows past its first block without losing anything', () => {
    const store = filled(100_000, 40_000);
    const { returns } = store.snapshot();
    expect(returns.shape).toEqual([40_000, 1]);
    expect(returns.data[0]).toBe(0);
    expect(returns.data[39_999]).toBe(79_998);
  });

  it('draws the same batch from the same key, and from a restored copy', () => {
    const store = filled(30, 47);
    const copy = new TransitionStore(30, 2, 1);
    copy.restore(store.snapshot());
    expect(copy.sample(randomKey(3), 64)).toEqual(store.sample(randomKey(3), 64));
    for (const each of [store, copy]) {
      each.add(Float32Array.of(7, 7), Float32Array.of(7), 7, 7, Float32Array.of(7, 7));
    }
    expect(copy.snapshot()).toEqual(store.snapshot());
  });

  it('refuses a snapshot of another shape, and sampling when empty', () => {
    const other = new TransitionStore(30, 3, 1);
    expect(() => other.restore(filled(30, 5).snapshot())).toThrow(/replay\/observations.*shape/);
    expect(() => other.sample(randomKey(0), 1)).toThrow(PmpoError);
  });
});
