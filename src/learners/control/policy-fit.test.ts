import { describe, expect, it } from 'vitest';
import { controlConfig } from '../../../test/support/control-config.js';
import { silentObserver } from '../../../test/support/silent-observer.js';
import { createEngine } from '../../engine/create.js';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import type { NamedSpecs, TensorSpec } from '../../environments/environment.js';
import { topKDefinition } from '../../feedback/top-k.js';
import { pmpo } from '../../operators/pmpo.js';
import { shapeOf } from './policy.js';
import { requireSameKind } from './policy-fit.js';
import { trainControl } from './train.js';

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

/** A vector environment with these specs, which is never stepped. */
function environments(observationSpec: NamedSpecs, actionSpec: NamedSpecs) {
  const unused = () => Promise.reject(new Error('unused'));
  return createVectorEnvironment({
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
}

async function shape(...specs: Parameters<typeof environments>) {
  const vector = await environments(...specs);
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

it('a run is not resumed in an environment of another kind', async () => {
  const engine = await createEngine('cpu');
  const own = await environments(named(float('a'), float('z'), gear), named(push, { ...push, name: 'turn' }));
  const { layout, observationSize, actionMinimum, actionMaximum, actionValues } = await trainedIn();
  const tensor = (data: Float32Array | Int32Array) => ({ shape: [data.length], data });
  const resume = {
    tensors: {
      'acting/observations': { shape: [1, observationSize], data: new Float32Array(observationSize) },
      'acting/actionMinimum': tensor(actionMinimum),
      'acting/actionMaximum': tensor(actionMaximum),
      'acting/actionValues': tensor(actionValues),
    },
    metadata: { layout },
  };
  const running = trainControl({
    config: controlConfig(),
    engine,
    environment: own,
    evaluationEnvironment: own,
    operator: pmpo(),
    classifier: topKDefinition.create({ accept: 2, reject: 2 }, 4),
    observer: silentObserver,
    resume,
    clock: () => 0,
  });
  await expect(running).rejects.toThrow(
    /^environment: its observations are a, gear, z, and those of the policy are a, b, gear\. Resume with the simulator/,
  );
  await engine.dispose();
});

it('an environment of the same kind fits, in whatever order it names things', async () => {
  const own = await shape(named(gear, float('b'), float('a')), named({ ...push, name: 'turn' }, push));
  const policys = await trainedIn();
  expect(() => requireSameKind(own, policys, '')).not.toThrow();
  // A checkpoint of an earlier version has no layout.
  expect(() => requireSameKind(own, { ...policys, layout: undefined }, '')).not.toThrow();
});
