import type { DType, DTypeArrays, NumericDType, PackedMessage } from './environment.js';

/** The arrays that hold a tensor's elements, by dtype. */

const emptyArrays: { readonly [T in DType]: (size: number) => DTypeArrays[T] } = {
  float32: (size) => new Float32Array(size),
  float64: (size) => new Float64Array(size),
  int8: (size) => new Int8Array(size),
  int32: (size) => new Int32Array(size),
  int64: (size) => new BigInt64Array(size),
  uint8: (size) => new Uint8Array(size),
  uint32: (size) => new Uint32Array(size),
  uint64: (size) => new BigUint64Array(size),
  bool: (size) => new Uint8Array(size),
  string: (size) => Array<string>(size).fill(''),
  proto: (size) => Array<PackedMessage>(size).fill({ typeUrl: '', value: new Uint8Array() }),
};

/** An array of `size` elements of a dtype: zeros, false, or empty. */
export function emptyData<T extends DType>(dtype: T, size: number): DTypeArrays[T] {
  return emptyArrays[dtype](size);
}

/** An array of `size` numbers of a dtype, `valueAt(i)` at index i; 64-bit integers must be whole. */
export function numericData<T extends NumericDType>(
  dtype: T,
  size: number,
  valueAt: (i: number) => number,
): DTypeArrays[T] {
  const data = emptyData<NumericDType>(dtype, size);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let i = 0; i < size; i++) data[i] = BigInt(valueAt(i));
  } else {
    for (let i = 0; i < size; i++) data[i] = valueAt(i);
  }
  return data as DTypeArrays[T];
}

/** Whether a dtype's elements are numbers (bool, which is 0 or 1, included), as a policy needs them. */
export function isNumeric(dtype: DType): dtype is NumericDType {
  return dtype !== 'string' && dtype !== 'proto';
}
