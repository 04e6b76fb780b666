import { describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { randomKey } from '../core/random-keys.js';
import { bytesPerTransition } from './transition-shape.js';
import { TransitionStore } from './transition-store.js';

const shape = { observationSize: 2, actionSize: 1 };

function filled(capacity: number, count: number): TransitionStore {
  const store = new TransitionStore(capacity, shape);
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
    const snapshot = store.snapshot();
    const returns = ['returns', 'returns/1', 'returns/2'].map((name) => snapshot[name]);
    expect(returns.map((tensor) => tensor.shape)).toEqual([
      [16_384, 1],
      [16_384, 1],
      [7_232, 1],
    ]);
    expect(returns[0].data[0]).toBe(0);
    expect(returns[2].data[7_231]).toBe(79_998);
    const copy = new TransitionStore(100_000, shape);
    copy.restore(snapshot);
    expect(copy.snapshot()).toEqual(snapshot);
  });

  it('keeps bytes as bytes, and gives back the numbers bit for bit', () => {
    // A float, two pixels, a float, and a one-hot code.
    const byteRanges = [
      { start: 1, size: 2, divisor: 255 },
      { start: 4, size: 2, divisor: 1 },
    ];
    const mixed = { observationSize: 6, actionSize: 1, byteRanges };
    expect(bytesPerTransition(mixed)).toBe(2 * (2 * 4 + 4) + 3 * 4);
    const store = new TransitionStore(256, mixed);
    const observation = (i: number) =>
      Float32Array.of(i + 0.1, i / 255, (255 - i) / 255, -i, i % 2, 1 - (i % 2));
    for (let i = 0; i < 256; i++) store.add(observation(i), Float32Array.of(i), i, 1, observation(255 - i));
    const { observationBytes, observations } = store.snapshot();
    expect(observationBytes.data).toBeInstanceOf(Uint8Array);
    expect([observationBytes.shape, observations.shape]).toEqual([
      [256, 4],
      [256, 2],
    ]);
    const copy = new TransitionStore(256, mixed);
    copy.restore(store.snapshot());
    const batch = copy.sample(randomKey(4), 500);
    for (let b = 0; b < 500; b++) {
      const i = batch.returns.data[b];
      expect(batch.observations.data.slice(6 * b, 6 * b + 6)).toEqual(observation(i));
      expect(batch.nextObservations.data.slice(6 * b, 6 * b + 6)).toEqual(observation(255 - i));
    }
  });

  it('goes on with the oldest transition when it is restored to a larger capacity', () => {
    const larger = new TransitionStore(20, shape);
    larger.restore(filled(10, 14).snapshot());
    const ids = (store: TransitionStore) => Array.from(store.snapshot().returns.data, (r) => r / 2);
    expect(ids(larger)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    for (let i = 14; i < 25; i++) {
      larger.add(Float32Array.of(i, -i), Float32Array.of(i / 10), i * 2, 0.5, Float32Array.of(i + 1, -i - 1));
    }
    expect(ids(larger)).toEqual([24, ...Array.from({ length: 19 }, (_, i) => i + 5)]);
  });

  it('draws the same batch from the same key, and from a restored copy', () => {
    const store = filled(30, 47);
    const copy = new TransitionStore(30, shape);
    copy.restore(store.snapshot());
    expect(copy.sample(randomKey(3), 64)).toEqual(store.sample(randomKey(3), 64));
    for (const each of [store, copy]) {
      each.add(Float32Array.of(7, 7), Float32Array.of(7), 7, 7, Float32Array.of(7, 7));
    }
    expect(copy.snapshot()).toEqual(store.snapshot());
  });

  it('refuses a snapshot of another shape, and sampling when empty', () => {
    const other = new TransitionStore(30, { observationSize: 3, actionSize: 1 });
    expect(() => other.restore(filled(30, 5).snapshot())).toThrow(/replay\/observations.*shape/);
    expect(() => other.sample(randomKey(0), 1)).toThrow(PmpoError);
  });
});
