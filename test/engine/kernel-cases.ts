import { int32Result } from '../../src/engine/host-tensors.js';
import type { HostTensor, NamedHostTensors, NamedTensors, Tensor } from '../../src/engine/tensors.js';
import { normal } from './agreement.js';

/** For tests of kernels: inputs, and the form of a test case. */

export const positive = (seed: string, ...shape: number[]): HostTensor => {
  const { data } = normal(seed, ...shape);
  return { shape, data: data.map((x) => Math.abs(x) + 0.1) };
};
export const unit = (seed: string, ...shape: number[]): HostTensor => {
  const { data } = normal(seed, ...shape);
  return { shape, data: data.map((x) => Math.tanh(x) * 0.9) };
};
export const x34 = normal('x', 3, 4);
export const y34 = normal('y', 3, 4);
export const wide = { shape: [3, 4], data: normal('w', 3, 4).data.map((x) => 20 * x) };

export type Case = readonly [
  name: string,
  fn: (x: Tensor, y: Tensor) => Tensor | Tensor[],
  x: HostTensor,
  y?: HostTensor,
];

export function named(result: Tensor | Tensor[]): NamedTensors {
  const list = Array.isArray(result) ? result : [result];
  return Object.fromEntries(
    list.map((tensor, i) => [`result ${i}`, tensor.dtype === 'float32' ? tensor : int32Result(tensor)]),
  );
}

/** The second input, or the first if there is only one. */
export const other = (inputs: NamedTensors): Tensor => ('y' in inputs ? inputs.y! : inputs.x!);

export function inputsOf(x: HostTensor, y: HostTensor | undefined): NamedHostTensors {
  return y === undefined ? { x } : { x, y };
}
