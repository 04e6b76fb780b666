import { z } from 'zod';
import type { NamedTensors, Scalar, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { boundedKl, dualValue, fixed, projectDual, storedDual } from './lagrange.js';
import { keep, overall } from './masking.js';
import type { KlEstimate, Operator, OperatorBatch, OperatorDefinition } from './operator.js';

/**
 * Maximum a Posteriori Policy Optimisation (arXiv 1806.06920; decoupled constraints arXiv 1812.02256), as rlax and Acme
 * compute it. E-step: weights softmax(f/η) over the N samples of a context, the temperature η by its dual
 * η·(ε + E_x log mean_n exp(f/η)). M-step: weighted maximum likelihood under bounds on KL(reference ‖ policy) of each part
 * and dimension, whose weights are duals; for a policy whose KL divides, each part is fitted with the others held at the
 * reference.
 */

const bound = z.strictObject({
  epsilon: z.number().positive().describe('Bound on the KL of each dimension, nats'),
  initialWeight: z.number().positive().describe('Where the dual variable starts'),
});

export const mpoSettings = z.strictObject({
  epsilon: z
    .number()
    .positive()
    .default(0.1)
    .describe('Bound on KL(weighted samples ‖ reference) of the E-step, nats'),
  initialTemperature: z.number().positive().default(10).describe('Where the temperature starts'),
  kl: z
    .strictObject({
      mean: bound.prefault({ epsilon: 0.01, initialWeight: 10 }),
      covariance: bound.prefault({ epsilon: 1e-6, initialWeight: 1000 }),
      categorical: bound.prefault({ epsilon: 0.01, initialWeight: 10 }),
    })
    .prefault({})
    .describe(
      'Bounds of the M-step by part: mean and covariance (Gaussian head), categorical (categorical head)',
    ),
  actionPenalty: z
    .strictObject({
      epsilon: z.number().positive().default(1e-3),
      initialTemperature: z.number().positive().default(10),
    })
    .nullable()
    .prefault({})
    .describe('Samples outside the action bounds weigh less, by an E-step of their own; null: off'),
});
export type MpoSettings = z.infer<typeof mpoSettings>;

/** Bound of a part that no setting names: a plugin's distribution. */
const otherPart = { epsilon: 0.01, initialWeight: 10 };

/**
 * E-step: sample weights [N, B] that add up to 1 in each context with samples, and the temperature's loss.
 * rlax `mpo_compute_weights_and_temperature_loss`.
 */
function temperedWeights(values: Tensor2D, mask: Tensor2D, stored: Tensor, epsilon: number) {
  const temperature = dualValue(stored);
  const tempered = tf.div(keep(values, mask), temperature);
  const logits = tf.where(tf.greater(mask, 0), tempered, tf.fill(mask.shape, -1e30));
  const count = tf.sum(mask, 0);
  const present = tf.cast(tf.greater(count, 0), 'float32');
  const weights = fixed(tf.mul(tf.softmax(tf.transpose(logits), -1).transpose(), mask)) as Tensor2D;
  const logMean = tf.sub(tf.logSumExp(logits, 0), tf.log(tf.maximum(count, 1)));
  const contexts = tf.maximum(tf.sum(present), 1);
  const expected = tf.div(tf.sum(tf.where(tf.greater(count, 0), logMean, tf.zerosLike(logMean))), contexts);
  const loss = tf.sum(tf.mul(temperature, tf.add(expected, epsilon))) as Scalar;
  return { weights, loss, temperature: tf.mean(temperature) as Scalar };
}

/** MPO with the given settings. See the head of this file. */
export function createMpo({
  epsilon,
  initialTemperature,
  kl: klSettings,
  actionPenalty,
}: MpoSettings): Operator {
  const boundOf = (part: string) =>
    (klSettings as Record<string, { epsilon: number; initialWeight: number }>)[part] ?? otherPart;

  function eStep(batch: OperatorBatch, state: NamedTensors) {
    const main = temperedWeights(batch.evaluation, batch.mask, state.temperature, epsilon);
    const metrics: Record<string, Scalar> = { 'policy/temperature': main.temperature };
    if (actionPenalty === null || batch.boundViolation === undefined) return { ...main, metrics };
    const cost = tf.neg(batch.boundViolation) as Tensor2D;
    const penalty = temperedWeights(cost, batch.mask, state.penaltyTemperature, actionPenalty.epsilon);
    metrics['policy/penaltyTemperature'] = penalty.temperature;
    return {
      weights: tf.add(main.weights, penalty.weights) as Tensor2D,
      loss: tf.add(main.loss, penalty.loss) as Scalar,
      metrics,
    };
  }

  function mStep(batch: OperatorBatch, weights: Tensor2D): Scalar {
    const likelihoods = Object.values(batch.decoupledLogProb?.() ?? { whole: batch.logProb });
    const losses = likelihoods.map((logProb) =>
      tf.neg(tf.mean(tf.sum(tf.mul(weights, keep(logProb, batch.mask)), 0))),
    );
    return tf.addN(losses) as Scalar;
  }

  function constraints(estimate: KlEstimate, state: NamedTensors) {
    const metrics: Record<string, Scalar> = {};
    let total: Tensor = tf.scalar(0);
    let loss: Tensor = tf.scalar(0);
    for (const [part, values] of Object.entries(estimate.parts)) {
      const stored = state[`kl/${part}`];
      const { penalty, dualLoss } = boundedKl(values, stored, boundOf(part).epsilon);
      loss = tf.add(loss, tf.add(penalty, dualLoss));
      metrics[`policy/kl/${part}`] = tf.mean(tf.sum(values, -1)) as Scalar;
      metrics[`policy/kl-weight/${part}`] = overall(dualValue(stored));
      total = tf.add(total, metrics[`policy/kl/${part}`]);
    }
    metrics['policy/kl'] = total as Scalar;
    return { loss, metrics };
  }

  return {
    needs: { feedback: 'none', evaluation: true, exactKl: true },
    initialState: ({ klParts }) => ({
      temperature: storedDual(initialTemperature, 1),
      ...(actionPenalty === null
        ? {}
        : { penaltyTemperature: storedDual(actionPenalty.initialTemperature, 1) }),
      ...Object.fromEntries(
        Object.entries(klParts).map(([part, size]) => [
          `kl/${part}`,
          storedDual(boundOf(part).initialWeight, size),
        ]),
      ),
    }),
    projectState: (state) =>
      Object.fromEntries(Object.entries(state).map(([name, stored]) => [name, projectDual(stored)])),
    loss(batch, state) {
      const improved = eStep(batch, state);
      const policyLoss = mStep(batch, improved.weights);
      const held = constraints((batch.decoupledKl ?? batch.kl)(), state);
      return {
        loss: tf.addN([policyLoss, improved.loss, held.loss]) as Scalar,
        metrics: {
          'policy/loss': policyLoss,
          'policy/temperatureLoss': improved.loss,
          ...improved.metrics,
          ...held.metrics,
        },
      };
    },
  };
}

export const mpoDefinition: OperatorDefinition<MpoSettings> = {
  name: 'mpo',
  description:
    'Maximum a Posteriori Policy Optimisation with temperature and decoupled KL duals (arXiv 1806.06920, 1812.02256)',
  settings: mpoSettings,
  defaultSamples: 20,
  create: createMpo,
};
