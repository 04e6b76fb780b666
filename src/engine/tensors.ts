import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Variable } from '@tensorflow/tfjs-core';

export type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Variable };

/** Tensors by name; the names of nested parameters are paths, such as `policy/hidden0/weight`. */
export type NamedTensors = Readonly<Record<string, Tensor>>;
/** Variables by name. */
export type NamedVariables = Readonly<Record<string, Variable>>;

/** A tensor's values as a plain array in row-major order, outside any engine ("on the host"). */
export interface HostTensor<Data extends Float32Array | Int32Array = Float32Array | Int32Array> {
  readonly shape: readonly number[];
  readonly data: Data;
}
/** A host tensor as checkpoints hold it: bytes are stored as such. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}
/** A stored tensor as an engine takes it: bytes become int32. */
export function hostTensor({ shape, data }: StoredTensor): HostTensor {
  return { shape, data: data instanceof Uint8Array ? Int32Array.from(data) : data };
}
/** Host tensors by name. */
export type NamedHostTensors = Readonly<Record<string, HostTensor>>;

/** A function of tensors by name, whatever the names are. */
export type TensorFunction = (inputs: NamedTensors) => NamedTensors;

/** A constraint: every property of the object type `T`, optional or not, is a tensor. */
export type TensorFields<T> = { readonly [K in keyof T]?: Tensor };

/** An int32 tensor, made by `int32Result`. TensorFlow.js' own types do not tell int32 from float32. */
export type Int32Tensor<T extends Tensor = Tensor> = T & { readonly dtype: 'int32' };

/** A shape for each input of `I`. */
export type InputShapes<I> = { readonly [K in keyof I]: readonly number[] };

/** A host tensor for each input of `I`, optional where the input is. */
export type HostInputs<I> = { readonly [K in keyof I]: HostTensor };

/** A host tensor for each result of `O`: of int32 for an `Int32Tensor`, of float32 for every other tensor. */
export type HostResults<O> = { readonly [K in keyof O]: HostResult<O[K]> };
type HostResult<T> = T extends Int32Tensor
  ? HostTensor<Int32Array>
  : T extends Tensor
    ? HostTensor<Float32Array>
    : never;
