import type { Distribution } from '../../src/distributions/distribution.js';
import type { NamedTensors, Tensor2D, Tensor3D } from '../../src/engine/tensors.js';
import * as tf from '../../src/engine/tf.js';
import type { Operator, OperatorBatch } from '../../src/operators/operator.js';
import { expectClose, type Numbers, tensor } from './read.js';

/** A fixture's part of a batch. Shapes: samples [N, B, A], all others [N, B]. */
export interface BatchInputs {
  readonly samples: Numbers;
  readonly evaluation?: Numbers;
  readonly accept?: Numbers;
  readonly reject?: Numbers;
  readonly mask: Numbers;
  readonly boundViolation?: Numbers | null;
}

type Planes = 'logProb' | 'referenceLogProb' | 'evaluation' | 'accept' | 'reject' | 'mask';

/** The batch of a policy and its reference, as the learners build it. */
export function policyBatch(
  policy: Distribution,
  reference: Distribution,
  samples: Tensor3D,
  inputs: BatchInputs,
): OperatorBatch & Required<Pick<OperatorBatch, Planes>> {
  const mask = tensor<Tensor2D>(inputs.mask);
  const given = (values: Numbers | null | undefined) =>
    values === undefined || values === null ? undefined : tensor<Tensor2D>(values);
  return {
    logProb: policy.logProb(samples),
    referenceLogProb: reference.logProb(samples),
    evaluation: given(inputs.evaluation) ?? tf.zerosLike(mask),
    accept: given(inputs.accept) ?? tf.zerosLike(mask),
    reject: given(inputs.reject) ?? tf.zerosLike(mask),
    mask,
    kl: () => ({ exact: true, parts: reference.kl(policy) }),
    decoupledKl: reference.decoupledKl && (() => ({ exact: true, parts: reference.decoupledKl!(policy) })),
    decoupledLogProb: policy.decoupledLogProb && (() => policy.decoupledLogProb!(samples, reference)),
    boundViolation: given(inputs.boundViolation),
  };
}

/** The loss of an operator, and its gradients with respect to the policy's parameters and the operator's state. */
export interface Solution {
  readonly loss: tf.Scalar;
  readonly gradients: NamedTensors;
  readonly stateGradients: NamedTensors;
}

/**
 * Differentiates an operator's loss.
 *
 * @param batchOf builds the batch for the given parameters
 */
export function solve(
  operator: Operator,
  parameters: NamedTensors,
  state: NamedTensors,
  batchOf: (parameters: NamedTensors) => OperatorBatch,
): Solution {
  const names = [Object.keys(parameters), Object.keys(state)];
  const take = (keys: string[], values: readonly tf.Tensor[]): NamedTensors =>
    Object.fromEntries(keys.map((key, i) => [key, values[i]]));
  const count = names[0].length;
  const loss = (...values: tf.Tensor[]) => {
    const batch = batchOf(take(names[0], values.slice(0, count)));
    // TensorFlow.js refuses the gradient in a tensor on which the loss does not depend.
    const nothing = values.map((value) => tf.sum<tf.Scalar>(tf.zerosLike(value)));
    return tf.addN<tf.Scalar>([operator.loss(batch, take(names[1], values.slice(count))).loss, ...nothing]);
  };
  const { value, grads } = tf.valueAndGrads(loss)([...Object.values(parameters), ...Object.values(state)]);
  return {
    loss: value as tf.Scalar,
    gradients: take(names[0], grads.slice(0, count)),
    stateGradients: take(names[1], grads.slice(count)),
  };
}

/** A fixture's parameters, state, and expected results. */
export interface SolvedCase {
  readonly parameters: Record<string, Numbers>;
  readonly state: Record<string, Numbers>;
  readonly loss: number;
  readonly gradients: Record<string, Numbers>;
  readonly stateGradients: Record<string, Numbers>;
}

/** Expects the loss and every gradient to equal those of a fixture. */
export function expectSolution({ loss, gradients, stateGradients }: Solution, expected: SolvedCase): void {
  expectClose(loss, expected.loss, 'loss');
  for (const [name, values] of Object.entries(expected.gradients)) {
    expectClose(gradients[name], values, `gradient of ${name}`);
  }
  for (const [name, values] of Object.entries(expected.stateGradients)) {
    expectClose(stateGradients[name], values, `gradient of ${name}`);
  }
}

/** Converts named arrays to tensors. */
export function tensors(named: Record<string, Numbers>): NamedTensors {
  return Object.fromEntries(Object.entries(named).map(([name, values]) => [name, tensor(values)]));
}
