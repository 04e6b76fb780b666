import { PmpoError } from '../../core/errors.js';
import { sizeOf } from '../../core/shape.js';
import type {
  DType,
  NamedSpecs,
  PackedMessage,
  TensorData,
  TensorSpec,
  TensorValue,
} from '../../environments/environment.js';
import { emptyData, isNumeric, numericData } from '../../environments/tensor-data.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { type ByUid, bigintOf } from './messages.js';

/** Conversions between the protocol's tensors and typed arrays. */

type Codes = { readonly [T in DType]: wire.DataType[keyof wire.DataType] };

const dtypeCodes = {
  float32: 1,
  float64: 2,
  int8: 3,
  int32: 4,
  int64: 5,
  uint8: 6,
  uint32: 7,
  uint64: 8,
  bool: 9,
  string: 10,
  proto: 11,
} as const satisfies Codes;
const dtypesByCode: ReadonlyMap<number, DType> = new Map(
  Object.entries(dtypeCodes).map(([dtype, code]) => [code, dtype as DType]),
);

/** The protocol's number of a data type. A tensor's payload is in the field of the same number. */
export const dtypeCode = (dtype: DType): number => dtypeCodes[dtype];

const invalid = (what: string) => new PmpoError({ what });

const notFilled = (count: number, shape: readonly number[]) =>
  invalid(`${count} elements do not fill the shape [${shape}]`);

/** The payload of a message: its dtype and elements, which may be fewer than the shape asks for. */
function unpackPayload(message: wire.Tensor): { dtype: DType; data: TensorData } | undefined {
  const { floats, doubles, int8s, int32s, int64s, uint8s, uint32s, uint64s, bools, strings, protos } =
    message;
  if (floats) return { dtype: 'float32', data: Float32Array.from(floats.array ?? []) };
  if (doubles) return { dtype: 'float64', data: Float64Array.from(doubles.array ?? []) };
  if (int8s) {
    const bytes = int8s.array ?? new Uint8Array();
    return { dtype: 'int8', data: new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length).slice() };
  }
  if (int32s) return { dtype: 'int32', data: Int32Array.from(int32s.array ?? []) };
  if (int64s) return { dtype: 'int64', data: BigInt64Array.from((int64s.array ?? []).map(bigintOf)) };
  if (uint8s) return { dtype: 'uint8', data: Uint8Array.from(uint8s.array ?? []) };
  if (uint32s) return { dtype: 'uint32', data: Uint32Array.from(uint32s.array ?? []) };
  if (uint64s) return { dtype: 'uint64', data: BigUint64Array.from((uint64s.array ?? []).map(bigintOf)) };
  if (bools) return { dtype: 'bool', data: Uint8Array.from(bools.array ?? [], Number) };
  if (strings) return { dtype: 'string', data: [...(strings.array ?? [])] };
  if (protos) {
    const data = (protos.array ?? []).map(({ type_url = '', value = new Uint8Array() }) => ({
      typeUrl: type_url,
      value,
    }));
    return { dtype: 'proto', data };
  }
  return undefined;
}

/** A message with only the payload. */
function packPayload(dtype: DType, data: TensorData): wire.Tensor {
  switch (dtype) {
    case 'float32':
      return { floats: { array: data as Float32Array } };
    case 'float64':
      return { doubles: { array: data as Float64Array } };
    case 'int8': {
      const bytes = data as Int8Array;
      return { int8s: { array: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) } };
    }
    case 'int32':
      return { int32s: { array: data as Int32Array } };
    case 'int64':
      return { int64s: { array: Array.from(data as BigInt64Array, String) } };
    case 'uint8':
      return { uint8s: { array: data as Uint8Array } };
    case 'uint32':
      return { uint32s: { array: data as Uint32Array } };
    case 'uint64':
      return { uint64s: { array: Array.from(data as BigUint64Array, String) } };
    case 'bool':
      return { bools: { array: Array.from(data as Uint8Array, Boolean) } };
    case 'string':
      return { strings: { array: data as string[] } };
    case 'proto': {
      const array = (data as PackedMessage[]).map(({ typeUrl, value }) => ({ type_url: typeUrl, value }));
      return { protos: { array } };
    }
  }
}

/** A shape whose negative axis, if any, gets the length that `count` elements give it. */
function inferShape(shape: readonly number[], count: number): number[] {
  const open = shape.filter((n) => n < 0).length;
  if (open > 1)
    throw invalid(`the shape [${shape}] has ${open} axes of unknown length; only one can be inferred`);
  if (open === 0) return [...shape];
  const known = sizeOf(shape.filter((n) => n >= 0));
  // A single element could be broadcast to any length, and the length is unknown: it is read as one element.
  const length = known === 0 ? 0 : count === 1 ? 1 : count / known;
  if (!Number.isInteger(length)) throw notFilled(count, shape);
  return shape.map((n) => (n < 0 ? length : n));
}

/**
 * Reads a tensor. A payload of one element is broadcast over the shape; a negative axis is inferred.
 * @throws PmpoError if the message has no payload, or the payload does not fill the shape.
 */
export function unpackTensor(message: wire.Tensor): TensorValue {
  const payload = unpackPayload(message);
  if (payload === undefined) throw invalid('a tensor has no payload');
  const { dtype, data } = payload;
  const shape = inferShape([...(message.shape ?? [])], data.length);
  const size = sizeOf(shape);
  if (data.length === size) return { dtype, shape, data };
  if (data.length !== 1) throw notFilled(data.length, shape);
  const filled: TensorData = emptyData(dtype, size);
  (filled as unknown[]).fill(data[0]);
  return { dtype, shape, data: filled };
}

/** Writes a tensor. @throws PmpoError if the elements do not fill the shape. */
export function packTensor({ dtype, shape, data }: TensorValue): wire.Tensor {
  if (data.length !== sizeOf(shape)) throw notFilled(data.length, shape);
  return { ...packPayload(dtype, data), shape };
}

/** A value of a request's settings: a string, a boolean, an integer or a double. */
export function packSetting(value: string | number | boolean): wire.Tensor {
  if (typeof value === 'string') return { strings: { array: [value] } };
  if (typeof value === 'boolean') return { bools: { array: [value] } };
  if (!Number.isInteger(value)) return { doubles: { array: [value] } };
  return Math.abs(value) < 2 ** 31 ? { int32s: { array: [value] } } : { int64s: { array: [String(value)] } };
}

/** A setting as a client sent it: a single value, or a tensor of several. */
export type Setting = string | number | boolean | TensorValue;

/** Reads a setting: a tensor of one element as a plain value, any other as a tensor. */
export function unpackSetting(message: wire.Tensor): Setting {
  const tensor = unpackTensor(message);
  if (tensor.data.length !== 1 || tensor.dtype === 'proto') return tensor;
  const [value] = tensor.data as ArrayLike<number | bigint | string> & [number | bigint | string];
  if (tensor.dtype === 'bool') return Boolean(value);
  return typeof value === 'string' ? value : Number(value);
}

function packBound(
  dtype: DType,
  bound: number | readonly number[] | undefined,
): wire.TensorSpecValue | undefined {
  if (bound === undefined || !isNumeric(dtype) || dtype === 'bool') return undefined;
  const numbers = typeof bound === 'number' ? [bound] : bound;
  return packPayload(
    dtype,
    numericData(dtype, numbers.length, (i) => numbers[i]),
  );
}

function unpackBound(message: wire.TensorSpecValue | null | undefined): number | number[] | undefined {
  const payload = unpackPayload(message ?? {});
  if (payload === undefined) return undefined;
  const numbers = Array.from(payload.data as ArrayLike<number | bigint>, Number);
  return numbers.length === 1 ? numbers[0] : numbers;
}

/** Writes specs. Their uids are 1, 2, … in order; `uids` maps each uid to its name. */
export function packSpecs(specs: NamedSpecs): {
  byUid: ByUid<wire.TensorSpec>;
  uids: ReadonlyMap<string, string>;
} {
  const entries = Object.entries(specs).map(([name, spec], i): [string, string, wire.TensorSpec] => [
    String(i + 1),
    name,
    {
      name,
      shape: spec.shape,
      dtype: dtypeCode(spec.dtype),
      min: packBound(spec.dtype, spec.minimum),
      max: packBound(spec.dtype, spec.maximum),
    },
  ]);
  return {
    byUid: Object.fromEntries(entries.map(([uid, , spec]) => [uid, spec])),
    uids: new Map(entries.map(([uid, name]) => [uid, name])),
  };
}

/**
 * Reads a spec.
 * @throws PmpoError for an unknown data type, a shape with several negative axes, or bounds that do not fit the shape.
 */
export function unpackSpec(message: wire.TensorSpec): TensorSpec {
  const { name = '' } = message;
  const dtype = dtypesByCode.get(message.dtype ?? 0);
  if (dtype === undefined)
    throw invalid(`the spec '${name}' has the unknown data type ${message.dtype ?? 0}`);
  const shape = [...(message.shape ?? [])];
  if (shape.filter((n) => n < 0).length > 1)
    throw invalid(`the spec '${name}' has the shape [${shape}], with several axes of unknown length`);
  const minimum = unpackBound(message.min);
  const maximum = unpackBound(message.max);
  for (const bound of [minimum, maximum]) {
    if (Array.isArray(bound) && !shape.some((n) => n < 0) && bound.length !== sizeOf(shape)) {
      throw invalid(`the spec '${name}' has ${bound.length} bounds for the shape [${shape}]`);
    }
  }
  return {
    name,
    shape,
    dtype,
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
  };
}

/** A single number as a tensor of a dtype. */
export function scalarValue<T extends 'float32' | 'float64'>(dtype: T, value: number): TensorValue<T> {
  return { dtype, shape: [], data: numericData(dtype, 1, () => value) };
}
