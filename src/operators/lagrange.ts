import { withCustomGradient } from '../engine/custom-gradient.js';
import type { HostTensor, NamedTensors, Scalar, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { KlEstimate, PolicyShape } from './operator.js';
import { meanOfSum, problemMeans } from './problems.js';

/**
 * KL(reference ‖ policy) in the loss: as a penalty of fixed weight, or as a constraint whose Lagrange multiplier is learned
 * (arXiv 1806.06920, equation 16; rlax `kl_constraint_loss`). A multiplier, or *dual variable*, rises by gradient descent
 * while its constraint is violated and falls while it holds. Duals are stored as
 * logarithms, so that they stay positive and a step changes each by the same share of itself.
 *
 * Shapes: B contexts, D the size of one part of a KL.
 */

/** Either the fixed weight of a part of the KL, or a bound on each of its D dimensions, in nats. */
export type KlWeight = number | { readonly epsilon: number; readonly initialWeight: number };

/** The range of a stored dual: e^±18, beyond which a weight makes no difference any more. */
const largestStoredDual = 18;

/** The name of a KL part's dual in an operator's state. */
const dualName = (part: string) => `logKlWeight/${part}`;

/** The stored form, [size], of duals that start at `value` > 0: its logarithm. */
export function storedDual(value: number, size: number): HostTensor {
  return { shape: [size], data: new Float32Array(size).fill(Math.log(value)) };
}

/** The positive value of stored duals, of the same shape. */
export function dualValue(stored: Tensor): Tensor {
  return tf.exp(stored);
}

/** Keeps every stored dual of a state within its range. */
export function projectDuals(state: NamedTensors): NamedTensors {
  return Object.fromEntries(
    Object.entries(state).map(([name, stored]) => [
      name,
      tf.clipByValue(stored, -largestStoredDual, largestStoredDual),
    ]),
  );
}

/**
 * The initial duals of those parts of a KL that are bounded.
 *
 * @param weightOf the weight or bound of a part
 */
export function initialKlDuals(
  { klParts, problems = 1 }: PolicyShape,
  weightOf: (part: string) => KlWeight,
): Record<string, HostTensor> {
  const duals: Record<string, HostTensor> = {};
  for (const [part, size] of Object.entries(klParts)) {
    const weight = weightOf(part);
    if (typeof weight === 'object') duals[dualName(part)] = storedDual(weight.initialWeight, size * problems);
  }
  return duals;
}

/**
 * The sum over the parts of a KL of
 *
 *   β · E_x KL                                                         for a part of fixed weight β, and
 *   Σ_d [ stopGradient(λ_d) · E_x KL_d + λ_d · (ε − stopGradient(E_x KL_d)) ]    for a part bounded by ε, with duals λ [D].
 *
 * Its gradient penalizes the policy with the duals held fixed, and moves the duals with the policy held fixed.
 *
 * @param state the operator's state, which holds the dual of each bounded part
 * @param problems see `OperatorBatch.problems`
 * @returns the loss in nats, a scalar, and metrics: the KL of each part and of the whole, and the mean dual of each bounded part.
 */
export function klConstraints(
  kl: KlEstimate,
  state: NamedTensors,
  weightOf: (part: string) => KlWeight,
  problems = 1,
): { readonly loss: Scalar; readonly metrics: Record<string, Scalar> } {
  const metrics: Record<string, Scalar> = {};
  let loss: Scalar = tf.scalar(0);
  let total: Scalar = tf.scalar(0);
  for (const [part, values] of Object.entries(kl.parts)) {
    const weight = weightOf(part);
    const whole: Scalar = tf.mean(tf.sum(values, -1));
    metrics[`policy/kl/${part}`] = whole;
    total = tf.add(total, whole);
    if (typeof weight === 'number') {
      loss = tf.add(loss, tf.mul(whole, weight));
    } else {
      const dual = dualValue(state[dualName(part)]);
      loss = tf.add(loss, boundedKl(values, dual, weight.epsilon, problems));
      metrics[`policy/kl-weight/${part}`] = tf.mean(dual);
    }
  }
  metrics['policy/kl'] = total;
  return { loss, metrics };
}

/**
 * The penalty and the dual loss of a KL [B, D] that is bounded by `epsilon` in each dimension, with duals [P · D] of P problems: the mean over
 * problems.
 */
function boundedKl(kl: Tensor2D, dual: Tensor, epsilon: number, problems: number): Scalar {
  const mean = problemMeans(kl, problems);
  const penalty: Scalar = tf.sum(tf.mul(stopGradient(dual), mean));
  const dualLoss: Scalar = tf.sum(tf.mul(dual, tf.sub(epsilon, stopGradient(mean))));
  return meanOfSum(tf.add(penalty, dualLoss), problems);
}

/** The same values, through which no gradient flows. */
export function stopGradient<T extends Tensor>(values: T): T {
  return identityWithoutGradient(values) as T;
}

const identityWithoutGradient = withCustomGradient((values) => ({
  value: tf.mul(values, 1),
  gradFunc: (upstream) => tf.zerosLike(upstream),
}));
