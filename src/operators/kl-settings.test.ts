import { beforeAll, describe, expect, it } from 'vitest';
import { solve, tensors } from '../../test/references/batch.js';
import { expectClose } from '../../test/references/read.js';
import type { NamedTensors, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { dpo, dpoDefinition } from './dpo.js';
import { kto, ktoDefinition } from './kto.js';
import { klConstraints } from './lagrange.js';
import type { KlEstimate, OperatorBatch } from './operator.js';

beforeAll(() => tf.setBackend('cpu'));

const kl = { mean: { epsilon: 0.01, initialWeight: 3 }, covariance: 2 };
const values = {
  logProb: [
    [-1, -2],
    [-3, -0.5],
  ],
  mean: [
    [0.1, 0.3],
    [0.2, 0.05],
  ],
  covariance: [
    [0.01, 0.02],
    [0.03, 0.04],
  ],
};

function estimate(p: NamedTensors): KlEstimate {
  return { exact: true, parts: { mean: p.mean as Tensor2D, covariance: p.covariance as Tensor2D } };
}

function batchOf(p: NamedTensors): OperatorBatch {
  const logProb = p.logProb as Tensor2D;
  const pairs = tf.tensor2d([
    [1, 0],
    [0, 1],
  ]);
  return {
    logProb,
    referenceLogProb: tf.fill([2, 2], -1.5),
    evaluation: pairs,
    accept: pairs,
    reject: tf.sub(1, pairs),
    mask: tf.ones([2, 2]),
    kl: () => estimate(p),
  };
}

describe.each([
  ['dpo', dpo, dpoDefinition],
  ['kto', kto, ktoDefinition],
] as const)('the KL in the loss of %s', (_, create, definition) => {
  it('is that of PMPO, beside the operator’s own loss', () => {
    const klParts = { mean: 2, covariance: 2 };
    const operator = create({ kl });
    const initial = operator.initialState({ klParts });
    const state = Object.fromEntries(
      Object.entries(initial).map(([name, { shape, data }]) => [name, tf.tensor(data, [...shape])]),
    );
    expect(Object.keys(state)).toEqual(['logKlWeight/mean']);
    const parameters = tensors(values);
    const { logProb, ...klValues } = parameters;
    const alone = solve(create(), { logProb }, {}, (p) => batchOf({ ...klValues, ...p }));
    const both = solve(operator, parameters, state, batchOf);
    const weights = klConstraints(estimate(parameters), state, (part) => kl[part as keyof typeof kl]);
    expectClose(tf.sub(both.loss, alone.loss), weights.loss.arraySync(), 'loss');
    expectClose(both.gradients.logProb, alone.gradients.logProb.arraySync() as number[][], 'log-probs');
    // The mean over two contexts: a half of the dual, and of the fixed weight.
    expectClose(
      both.gradients.covariance,
      [
        [1, 1],
        [1, 1],
      ],
      'covariance',
    );
    expectClose(
      both.gradients.mean,
      [
        [1.5, 1.5],
        [1.5, 1.5],
      ],
      'mean',
    );
  });

  it('is absent unless the settings ask for it, and has bounds for a policy of actions', () => {
    expect(create().initialState({ klParts: { sequence: 1 } })).toEqual({});
    expect(definition.complete({}, ['sequence']).kl).toEqual({});
    const bounds = definition.complete({}, ['mean', 'covariance', 'categorical']).kl;
    expect(Object.keys(bounds as object)).toEqual(['mean', 'covariance', 'categorical']);
    expect(definition.complete({ kl: { mean: 0 } }, ['mean', 'covariance']).kl).toMatchObject({ mean: 0 });
    expect(create({ kl }).explorationRemedy?.('mean')).toMatch(/^Lower operator.kl.mean.epsilon/);
  });
});
