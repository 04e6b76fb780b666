import { it } from 'vitest';
import type { NamedTensors, Tensor2D } from '../../src/engine/tensors.js';
import {
  batchPlanes,
  type KlEstimate,
  type Operator,
  type OperatorBatch,
} from '../../src/operators/operator.js';
import { createOperatorRegistry } from '../../src/operators/registry.js';
import { type Solution, solve, tensors } from './batch.js';
import { expectClose, type Numbers, readFixture, tensor } from './read.js';

type Parts = Readonly<Record<string, Numbers>>;

/** A batch as a fixture holds it: planes [N, B] by their names in `OperatorBatch`, and KLs [B, D] by part. */
export interface BatchNumbers {
  readonly planes: Readonly<Partial<Record<(typeof batchPlanes)[number], Numbers>>> & {
    readonly logProb: Numbers;
  };
  readonly kl?: Parts;
  readonly reverseKl?: Parts;
  readonly decoupledKl?: Parts;
  readonly decoupledLogProb?: Parts;
}

/** A case of operators_torch.json. Gradients have names such as `logProb`, `kl/mean` and `state/logTemperature`. */
interface OperatorCase extends BatchNumbers {
  readonly operator: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly state: Parts;
  readonly loss: number;
  readonly gradients: Parts;
}

const groups = ['kl', 'reverseKl', 'decoupledKl', 'decoupledLogProb'] as const;

/** The loss of an operator, and its gradients by the names of a fixture. */
export function solveBatch(operator: Operator, given: BatchNumbers, state: Parts = {}): Solution {
  const parameters: Record<string, Numbers> = { logProb: given.planes.logProb };
  for (const group of groups) {
    for (const [part, values] of Object.entries(given[group] ?? {})) parameters[`${group}/${part}`] = values;
  }
  return solve(operator, tensors(parameters), tensors({ ...state }), (p: NamedTensors): OperatorBatch => {
    const partsOf = (group: (typeof groups)[number]) =>
      Object.fromEntries(
        Object.keys(given[group] ?? {}).map((part) => [part, p[`${group}/${part}`] as Tensor2D]),
      );
    const kl = (group: 'kl' | 'reverseKl' | 'decoupledKl') => (): KlEstimate => ({
      exact: true,
      parts: partsOf(group),
    });
    return {
      ...Object.fromEntries(
        batchPlanes
          .filter((name) => given.planes[name] !== undefined)
          .map((name) => [name, tensor<Tensor2D>(given.planes[name]!)]),
      ),
      logProb: p.logProb as Tensor2D,
      kl: kl('kl'),
      reverseKl: kl('reverseKl'),
      ...(given.decoupledKl === undefined
        ? {}
        : { decoupledKl: kl('decoupledKl'), decoupledLogProb: () => partsOf('decoupledLogProb') }),
    };
  });
}

/** Tests that an operator has the losses and gradients that PyTorch has for it (operators_torch.py). */
export function itIsThatOfTorch(name: string): void {
  const { cases } = readFixture<{ cases: OperatorCase[] }>('operators_torch');
  const own = cases.filter(({ operator }) => operator === name);
  if (own.length === 0) throw new Error(`operators_torch.json has no case of ${name}`);
  it.each(own.map((one) => [JSON.stringify(one.settings), one] as const))(
    'has the loss and the gradients of PyTorch: %s',
    (_, { settings, loss, gradients, state, ...batch }) => {
      const found = solveBatch(createOperatorRegistry().get(name).create(settings), batch, state);
      expectClose(found.loss, loss, 'loss');
      for (const [key, values] of Object.entries(gradients)) {
        const actual = key.startsWith('state/')
          ? found.stateGradients[key.slice('state/'.length)]
          : found.gradients[key];
        expectClose(actual!, values, `gradient of ${key}`);
      }
    },
  );
}
