import { describe, expect, it } from 'vitest';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import type { NamedSpecs, TensorSpec } from '../../environments/environment.js';
import { shapeOf } from './policy.js';
import { requireSameKind } from './policy-fit.js';

const float = (name: string, more: Partial<TensorSpec> = {}): TensorSpec => ({
  name,
  shape: [1],
  dtype: 'float32',
  ...more,
});
const named = (...specs: readonly TensorSpec[]): NamedSpecs =>
  Object.fromEntries(specs.map((spec) => [spec.name, spec]));
const push = float('push', { minimum: -1, maximum: 1 });
const gear = float('gear', { shape: [], dtype: 'int32', minimum: 0, maximum: 3 });

/** The shape of an environment with these specs. It is never stepped. */
async function shape(observationSpec: NamedSpecs, actionSpec: NamedSpecs) {
  const unused = () => Promise.reject(new Error('unused'));
  const vector = await createVectorEnvironment({
    connect: async () => ({
      observationSpec,
      actionSpec,
      reset: unused,
      step: unused,
      close: async () => {},
    }),
    numEnvs: 1,
    episodeSeed: () => 0,
    reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
    notice: () => {},
  });
  await vector.close();
  return shapeOf(vector);
}

const trainedIn = () => shape(named(float('a'), float('b'), gear), named(push, { ...push, name: 'turn' }));

describe('an environment of equal sizes that is of another kind is refused:', () => {
  const others: Record<string, [NamedSpecs, NamedSpecs, RegExp]> = {
    'another observation': [
      named(float('a'), float('z'), gear),
      named(push, { ...push, name: 'turn' }),
      /^environment: its observations are a, gear, z, and those of the policy are a, b, gear\. Try the other$/,
    ],
    'another shape': [
      named(float('a', { shape: [] }), float('b'), gear),
      named(push, { ...push, name: 'turn' }),
      /its observation 'a' has the shape \[\], and that of the policy \[1\]/,
    ],
    'an image for a number': [
      named(float('a', { dtype: 'uint8' }), float('b'), gear),
      named(push, { ...push, name: 'turn' }),
      /its observation 'a' enters a policy as numbers divided by 255, and that of the policy as numbers: its dtype/,
    ],
    'other categories': [
      named(float('a'), float('b'), { ...gear, minimum: 1, maximum: 4 }),
      named(push, { ...push, name: 'turn' }),
      /'gear' enters a policy as categories from 1 to 4, and that of the policy as categories from 0 to 3/,
    ],
    'another action': [
      named(float('a'), float('b'), gear),
      named(push, { ...push, name: 'roll' }),
      /its actions are push, roll, and those of the policy are push, turn/,
    ],
    'other bounds of an action': [
      named(float('a'), float('b'), gear),
      named({ ...push, maximum: 5 }, { ...push, name: 'turn' }),
      /number 0 of its actions ranges from -1 to 5, and that of the policy from -1 to 1/,
    ],
    'whole numbers as actions': [
      named(float('a'), float('b'), gear),
      named({ ...push, dtype: 'int32' }, { ...push, name: 'turn' }),
      /its actions take 3,0 values \(0: continuous\), but those of the policy take 0,0/,
    ],
  };

  it.each(Object.entries(others))('%s', async (_, [observations, actions, says]) => {
    const policys = await trainedIn();
    const own = await shape(observations, actions);
    expect(() => requireSameKind(own, policys, 'Try the other')).toThrow(says);
  });
});

it('an environment of the same kind fits, in whatever order it names things', async () => {
  const own = await shape(named(gear, float('b'), float('a')), named({ ...push, name: 'turn' }, push));
  const policys = await trainedIn();
  expect(() => requireSameKind(own, policys, '')).not.toThrow();
  // A checkpoint of an earlier version has no layout.
  expect(() => requireSameKind(own, { ...policys, layout: undefined }, '')).not.toThrow();
});
