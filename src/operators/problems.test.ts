import { beforeAll, describe, expect, it } from 'vitest';
import { solve, tensors } from '../../test/references/batch.js';
import { expectClose, type Numbers } from '../../test/references/read.js';
import { fillNormal, foldIn, randomKey } from '../core/random-keys.js';
import type { NamedTensors, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { dpo } from './dpo.js';
import { ipo } from './ipo.js';
import { kto } from './kto.js';
import { mpo } from './mpo.js';
import type { Operator, OperatorBatch } from './operator.js';
import { pmpo } from './pmpo.js';
import { vMpo } from './v-mpo.js';

beforeAll(() => tf.setBackend('cpu'));

// N samples of B/P contexts in each of P problems, D dimensions.
const [N, C, P, D] = [4, 3, 2, 2];
const normal = (name: string, shape: readonly [number, number]): number[][] => {
  const values = fillNormal(foldIn(randomKey(3), name), new Float32Array(shape[0] * shape[1]));
  return Array.from({ length: shape[0] }, (_, i) =>
    Array.from(values.subarray(i * shape[1], (i + 1) * shape[1])),
  );
};
const positive = (values: number[][]) => values.map((row) => row.map((value) => value ** 2 + 0.1));

/** What the losses are differentiated in: planes [N, P·C] and KLs [P·C, D]. */
const differentiated: Readonly<Record<string, number[][]>> = {
  logProb: normal('logProb', [N, P * C]),
  'kl/mean': positive(normal('mean', [P * C, D])),
  'kl/covariance': positive(normal('covariance', [P * C, D])),
  'part/mean': normal('part mean', [N, P * C]),
  'part/covariance': normal('part covariance', [N, P * C]),
};
const evaluation = normal('evaluation', [N, P * C]);
const isAccepted = evaluation.map((row, n) => row.map((_, b) => Number((n + b) % 2 === 0)));
// A sample is missing, and a context has no rejected sample, so that the problems have unequal numbers of pairs.
const mask = evaluation.map((row, n) => row.map((_, b) => Number(n > 0 || b > 0)));
const reject = isAccepted.map((row) => row.map((weight, b) => (b === 1 ? 0 : 1 - weight)));

const isKl = (name: string) => name.startsWith('kl/');
/** The contexts of one problem, or of all. */
const take = (name: string, values: number[][], problem?: number): number[][] => {
  if (problem === undefined) return values;
  const [from, to] = [problem * C, (problem + 1) * C];
  return isKl(name) ? values.slice(from, to) : values.map((row) => row.slice(from, to));
};

function batchOf(tensorsOf: NamedTensors, problem?: number): OperatorBatch {
  const plane = (values: number[][]) => tf.tensor2d(take('plane', values, problem));
  const kl = () => ({
    exact: true,
    parts: { mean: tensorsOf['kl/mean'] as Tensor2D, covariance: tensorsOf['kl/covariance'] as Tensor2D },
  });
  return {
    logProb: tensorsOf.logProb as Tensor2D,
    referenceLogProb: plane(normal('reference', [N, P * C])),
    evaluation: plane(evaluation),
    accept: plane(isAccepted),
    reject: plane(reject),
    mask: plane(mask),
    kl,
    decoupledKl: kl,
    decoupledLogProb: () => ({
      mean: tensorsOf['part/mean'] as Tensor2D,
      covariance: tensorsOf['part/covariance'] as Tensor2D,
    }),
    ...(problem === undefined ? { problems: P } : {}),
  };
}

/** States that differ from problem to problem: of the whole batch, [P · size], or of one problem. */
function stateOf(operator: Operator, problem?: number): Record<string, Tensor> {
  const klParts = { mean: D, covariance: D };
  const whole = operator.initialState({ klParts, problems: P });
  return Object.fromEntries(
    Object.entries(whole).map(([name, { data, shape }]) => {
      const values = Array.from(data, (value, i) => value + 0.3 * i);
      const size = shape[0] / P;
      const own = problem === undefined ? values : values.slice(problem * size, (problem + 1) * size);
      return [name, tf.tensor1d(own)];
    }),
  );
}

const bounds = { mean: { epsilon: 0.1, initialWeight: 2 }, covariance: { epsilon: 0.01, initialWeight: 3 } };

describe.each([
  ['pmpo', pmpo({ beta: 1.5 })],
  ['pmpo with bounds', pmpo({ kl: bounds })],
  ['mpo', mpo({ actionPenalty: null })],
  ['dpo', dpo({ kl: { mean: 0.5 } })],
  ['dpo on all pairs', dpo({ pairs: 'all', kl: bounds })],
  ['ipo', ipo()],
] satisfies [string, Operator][])('several problems in one batch, %s', (_, operator) => {
  it('has the mean of the losses of the problems by themselves, and their gradients', () => {
    const together = solve(operator, tensors(differentiated), stateOf(operator), (p) => batchOf(p));
    const alone = Array.from({ length: P }, (__, problem) => {
      const own = Object.fromEntries(
        Object.entries(differentiated).map(([name, values]) => [name, take(name, values, problem)]),
      );
      return solve(operator, tensors(own), stateOf(operator, problem), (p) => batchOf(p, problem));
    });
    const losses = alone.map(({ loss }) => loss.dataSync()[0]);
    expectClose(together.loss, losses.reduce((sum, loss) => sum + loss, 0) / P, 'loss');
    for (const [name, gradient] of Object.entries({ ...together.gradients, ...together.stateGradients })) {
      const axis = isKl(name) || gradient.rank === 1 ? 0 : 1;
      const joined = tf.div(
        tf.concat(
          alone.map(({ gradients, stateGradients }) => gradients[name] ?? stateGradients[name]),
          axis,
        ),
        P,
      );
      expectClose(gradient, joined.arraySync() as Numbers, name);
    }
  });
});

describe('several problems in one batch', () => {
  const lossOf = (operator: Operator, problems: number) => () => {
    const state = operator.initialState({ klParts: { mean: D, covariance: D }, problems });
    const variables = Object.fromEntries(
      Object.entries(state).map(([name, { data, shape }]) => [name, tf.tensor(data, [...shape])]),
    );
    return operator.loss({ ...batchOf(tensors(differentiated)), problems }, variables);
  };

  it.each([
    ['v-mpo', vMpo()],
    ['kto', kto()],
    ['pmpo', pmpo({ beta: 1, normalise: 'batch' })],
  ] satisfies [string, Operator][])('are refused by %s, which treats contexts together', (name, operator) => {
    expect(lossOf(operator, 2)).toThrow(
      `operator ${name}, batch.problems: is 2, but ${name} treats the contexts of a batch together`,
    );
    expect(lossOf(operator, 1)).not.toThrow();
  });

  it('must have equal numbers of contexts', () => {
    for (const problems of [4, 0, 1.5]) {
      expect(lossOf(pmpo({ beta: 1 }), problems)).toThrow(
        `batch.problems: is ${problems}. It must be a whole number that divides the 6 contexts`,
      );
    }
  });
});
