import { describe, expect, it } from 'vitest';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import type { Environment } from '../../environments/environment.js';
import { layoutOf, policyMetadata } from './policy-metadata.js';

/** An environment with observations and actions of each kind. It is never stepped. */
const environment: Environment = {
  observationSpec: {
    velocity: { name: 'velocity', shape: [2], dtype: 'float32' },
    camera: { name: 'camera', shape: [2, 3], dtype: 'uint8' },
    gear: { name: 'gear', shape: [], dtype: 'int64', minimum: -1, maximum: 2 },
  },
  actionSpec: {
    steer: { name: 'steer', shape: [2], dtype: 'float32', minimum: [-1, -0.5], maximum: 4 },
    brake: { name: 'brake', shape: [], dtype: 'int32', minimum: 3, maximum: 5 },
  },
  reset: () => Promise.reject(new Error('unused')),
  step: () => Promise.reject(new Error('unused')),
  close: async () => {},
};

describe('policyMetadata', () => {
  it('gives names, shapes, places and bounds in the order of the vectors', async () => {
    const vector = await createVectorEnvironment({
      connect: async () => environment,
      numEnvs: 1,
      episodeSeed: () => 0,
      reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
      notice: () => {},
    });
    const metadata = policyMetadata(layoutOf(vector)!, vector);
    const observations = JSON.parse(metadata['pmpo.observations']) as object[];
    expect(observations).toMatchObject([
      { name: 'camera', shape: [2, 3], offset: 0, size: 6, divisor: 255 },
      { name: 'gear', shape: [], offset: 6, size: 4, divisor: 1, categories: [{ minimum: -1, values: 4 }] },
      { name: 'velocity', shape: [2], offset: 10, size: 2, divisor: 1 },
    ]);
    expect(vector.observationSize).toBe(12);
    expect(JSON.parse(metadata['pmpo.actions'])).toEqual([
      { name: 'brake', shape: [], offset: 0, size: 1, minimum: [3], maximum: [5], values: [3] },
      { name: 'steer', shape: [2], offset: 1, size: 2, minimum: [-1, -0.5], maximum: [4, 4], values: [0, 0] },
    ]);
    expect(metadata['pmpo.units']).toMatch(/simulator's units/);
    await vector.close();
  });

  it('is absent for an environment that does not tell its layout', () => {
    expect(layoutOf({ observationLayout: { parts: [] } })).toBeUndefined();
  });
});
