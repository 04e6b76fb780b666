import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Variable } from '@tensorflow/tfjs-core';

export type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Variable };

/** A plain named tree of tensors, flat: `policy/hidden0/weight`. */
export type NamedTensors = Readonly<Record<string, Tensor>>;
export type NamedVariables = Readonly<Record<string, Variable>>;

/** Values outside the engine: what goes in, comes out and is saved. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}
export type NamedHostTensors = Readonly<Record<string, HostTensor>>;
