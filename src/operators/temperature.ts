import type { NamedTensors, Scalar, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { boundOf, type KlBounds, klRemedy } from './kl-settings.js';
import { initialKlDuals, klConstraints, projectDuals, stopGradient, storedDual } from './lagrange.js';
import type { CheckedBatch, OperatorRule } from './operator.js';
import { meanOfSum } from './problems.js';

/**
 * What MPO and V-MPO share: an E-step, which weights samples by the exponential of their values over a learned temperature η, an M-step,
 * which fits the policy to these weights, and bounds on the KL. Shapes: N samples per context, B contexts.
 */

/** The outcome of an E-step. */
export interface EStep {
  /** Sample weights [N, B] without gradient. */
  readonly weights: Tensor2D;
  /** The dual of the temperature, η · (ε + log-mean-exp of the values over η). */
  readonly temperatureLoss: Scalar;
  readonly temperature: Scalar;
}

/**
 * The E-step with these weights.
 * @param temperature η of each problem, [P]
 * @param logMean log-mean-exp of the values over η, [P], or a scalar if P is 1
 * @param epsilon the bound on the KL of the weights, nats
 */
export function eStepOf(
  weights: Tensor2D,
  temperature: Tensor,
  logMean: Tensor,
  epsilon: number,
  problems = 1,
): EStep {
  return {
    weights: stopGradient(weights),
    temperatureLoss: meanOfSum(tf.sum(tf.mul(temperature, tf.add(logMean, epsilon))), problems),
    temperature: tf.mean(temperature),
  };
}

/**
 * values/η [N, B] of the samples that count, plus the logarithm of their weight in the mask, and −1e30 for the others.
 * @param counts which samples count, [N, B] of booleans
 * @param temperature η, [1], or one for each context, [B]
 */
export function temperedLogits(
  values: Tensor2D,
  mask: Tensor2D,
  counts: Tensor2D,
  temperature: Tensor,
): Tensor2D {
  // log 1 = 0 for a sample of the policy; a weight is the sample's probability.
  const logMask = tf.log(tf.where(counts, mask, tf.onesLike(mask)));
  const tempered: Tensor2D = tf.add(tf.div(values, temperature), logMask);
  return tf.where(counts, tempered, tf.fill(mask.shape, -1e30));
}

/**
 * The softmax of logits [N, B] and the logarithm of the sum of their exponentials, over an axis or over all elements.
 * @returns `logSum` has the reduced axes, of length 1
 */
export function softmaxAndLogSum(
  logits: Tensor2D,
  axis?: number,
): { readonly softmax: Tensor2D; readonly logSum: Tensor2D } {
  // The softmax and the sum do not depend on the offset, so that no gradient flows through it.
  const largest = stopGradient(tf.max<Tensor2D>(logits, axis, true));
  const powers = tf.exp(tf.sub(logits, largest));
  const total: Tensor2D = tf.sum(powers, axis, true);
  return { softmax: tf.div(powers, total), logSum: tf.add(tf.log(total), largest) };
}

/** The parts of a loss whose samples have been weighted. */
export interface WeightedSamples {
  readonly mStepLoss: Scalar;
  readonly temperatureLoss: Scalar;
  /** The temperatures, by the names of the metrics. */
  readonly temperatures: Readonly<Record<string, Scalar>>;
}

/**
 * An operator whose loss is the sum of an M-step, the duals of its temperatures, and bounds on the KL.
 * @param initialTemperatures of each temperature, by its name in the state.
 */
export function weightingRule(
  kl: KlBounds,
  initialTemperatures: Readonly<Record<string, number>>,
  weighted: (batch: CheckedBatch, state: NamedTensors) => WeightedSamples,
): OperatorRule {
  const weightOf = boundOf(kl);
  return {
    needs: {
      feedback: 'none',
      evaluation: true,
      referenceLogProb: false,
      kl: 'exact',
      comparesSamples: true,
      imitatesUnranked: true,
    },
    initialState: (policy) => ({
      ...Object.fromEntries(
        Object.entries(initialTemperatures).map(([name, value]) => [
          name,
          storedDual(value, policy.problems ?? 1),
        ]),
      ),
      ...initialKlDuals(policy, weightOf),
    }),
    projectState: projectDuals,
    explorationRemedy: (klPart) => klRemedy(klPart, weightOf(klPart)),
    loss(batch, state) {
      const { mStepLoss, temperatureLoss, temperatures } = weighted(batch, state);
      const constraints = klConstraints((batch.decoupledKl ?? batch.kl)(), state, weightOf, batch.problems);
      return {
        loss: tf.addN<Scalar>([mStepLoss, temperatureLoss, constraints.loss]),
        metrics: {
          'policy/mStepLoss': mStepLoss,
          'policy/temperatureLoss': temperatureLoss,
          ...temperatures,
          ...constraints.metrics,
        },
      };
    },
  };
}
