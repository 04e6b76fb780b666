import { PmpoError } from '../../core/errors.js';
import { sizeOf } from '../../core/shape.js';
import {
  type DType,
  type DTypeArrays,
  emptyData,
  type NamedSpecs,
  type PackedMessage,
  type TensorData,
  type TensorSpec,
  type TensorValue,
} from '../../environments/environment.js';
import {
  type ByUid,
  bigintOf,
  type PayloadName,
  payloadNames,
  type Wide,
  type WireAny,
  type WireBound,
  type WirePayload,
  type WireSpec,
  type WireTensor,
} from './messages.js';

/** Between tensors as the protocol carries them and typed arrays. */

const dtypes: readonly DType[] = [
  'float32',
  'float64',
  'int8',
  'int32',
  'int64',
  'uint8',
  'uint32',
  'uint64',
  'bool',
  'string',
  'proto',
]; // prettier-ignore

/** The protocol's number of a data type, and back: both lists are in the protocol's order. */
export const dtypeCode = (dtype: DType): number => dtypes.indexOf(dtype) + 1;
const payloadOf = (dtype: DType): PayloadName => payloadNames[dtypes.indexOf(dtype)];
const dtypeOf = (payload: PayloadName): DType => dtypes[payloadNames.indexOf(payload)];

function fault(what: string): PmpoError {
  return new PmpoError({ what });
}

/** The payload of a message: its dtype and elements, not yet shaped. */
function payload(message: WireTensor | WireBound): { dtype: DType; data: TensorData } | undefined {
  for (const name of payloadNames) {
    const found = message[name];
    if (found !== undefined && found !== null)
      return { dtype: dtypeOf(name), data: elements(dtypeOf(name), found) };
  }
  return undefined;
}

function elements(dtype: DType, { array = [] }: WirePayload): TensorData {
  switch (dtype) {
    case 'float32':
      return Float32Array.from(array as ArrayLike<number>);
    case 'float64':
      return Float64Array.from(array as ArrayLike<number>);
    case 'int8': {
      const bytes = array as Uint8Array;
      return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length).slice();
    }
    case 'uint8':
      return Uint8Array.from(array as Uint8Array);
    case 'int32':
      return Int32Array.from(array as ArrayLike<number>);
    case 'uint32':
      return Uint32Array.from(array as ArrayLike<number>);
    case 'int64':
      return BigInt64Array.from(Array.from(array as ArrayLike<Wide>, bigintOf));
    case 'uint64':
      return BigUint64Array.from(Array.from(array as ArrayLike<Wide>, bigintOf));
    case 'bool':
      return Uint8Array.from(array as ArrayLike<boolean>, Number);
    case 'string':
      return Array.from(array as ArrayLike<string>);
    case 'proto':
      return Array.from(array as ArrayLike<WireAny>, (any) => ({
        typeUrl: any.type_url ?? '',
        value: any.value ?? new Uint8Array(),
      }));
  }
}

/** A shape with its negative axis, if any, made as long as `count` elements make it. */
function inferShape(shape: readonly number[], count: number): number[] {
  const open = shape.filter((n) => n < 0).length;
  if (open > 1)
    throw fault(`the shape [${shape}] has ${open} axes of unknown length; one at most can be told`);
  if (open === 0) return [...shape];
  const known = sizeOf(shape.filter((n) => n >= 0));
  // A single element may stand for any number; nothing says for how many, so it is itself.
  const length = known === 0 ? 0 : count === 1 ? 1 : count / known;
  if (!Number.isInteger(length)) throw fault(`${count} elements do not fill the shape [${shape}]`);
  return shape.map((n) => (n < 0 ? length : n));
}

/**
 * A tensor from the wire. A payload of one element is broadcast over the shape; a negative axis is inferred.
 * @throws PmpoError when there is no payload or it does not fill the shape.
 */
export function unpackTensor(message: WireTensor): TensorValue {
  const found = payload(message);
  if (found === undefined) throw fault('a tensor has no payload');
  const { dtype, data } = found;
  const shape = inferShape(message.shape ?? [], data.length);
  const size = sizeOf(shape);
  if (data.length === size) return { dtype, shape, data };
  if (data.length !== 1) throw fault(`${data.length} elements do not fill the shape [${shape}]`);
  const filled = emptyData(dtype, size) as unknown[];
  for (let i = 0; i < size; i++) filled[i] = data[0];
  return { dtype, shape, data: filled as unknown as TensorData };
}

function wirePayload(dtype: DType, data: TensorData): WirePayload {
  switch (dtype) {
    case 'int8':
    case 'uint8': {
      const bytes = data as Int8Array | Uint8Array;
      return { array: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) };
    }
    case 'int64':
    case 'uint64':
      return { array: Array.from(data as BigInt64Array, String) };
    case 'bool':
      return { array: Array.from(data as Uint8Array, Boolean) };
    case 'proto':
      return { array: (data as PackedMessage[]).map(({ typeUrl, value }) => ({ type_url: typeUrl, value })) };
    default:
      return { array: data as ArrayLike<number> };
  }
}

/** A tensor for the wire. @throws PmpoError when the elements do not fill the shape. */
export function packTensor({ dtype, shape, data }: TensorValue): WireTensor {
  if (data.length !== sizeOf(shape)) throw fault(`${data.length} elements do not fill the shape [${shape}]`);
  return { [payloadOf(dtype)]: wirePayload(dtype, data), shape };
}

/** A number, truth value or text as the protocol's settings carry it. */
export function packSetting(value: string | number | boolean): WireTensor {
  if (typeof value === 'string') return { strings: { array: [value] } };
  if (typeof value === 'boolean') return { bools: { array: [value] } };
  if (!Number.isInteger(value)) return { doubles: { array: [value] } };
  return Math.abs(value) < 2 ** 31 ? { int32s: { array: [value] } } : { int64s: { array: [String(value)] } };
}

/** A setting as a client sent it: a single value, or a tensor of several. */
export type Setting = string | number | boolean | TensorValue;

/** A setting from the wire as a plain value where it is a single one, as a tensor otherwise. */
export function unpackSetting(message: WireTensor): Setting {
  const tensor = unpackTensor(message);
  if (tensor.data.length !== 1 || tensor.dtype === 'proto') return tensor;
  const [value] = tensor.data as ArrayLike<number | bigint | string> & [number | bigint | string];
  if (tensor.dtype === 'bool') return Boolean(value);
  return typeof value === 'string' ? value : Number(value);
}

function bound(dtype: DType, value: number | readonly number[] | undefined): WireBound | undefined {
  if (value === undefined || dtype === 'string' || dtype === 'bool' || dtype === 'proto') return undefined;
  const numbers = typeof value === 'number' ? [value] : value;
  const data = emptyData(dtype, numbers.length) as unknown as (number | bigint)[];
  numbers.forEach((n, i) => {
    data[i] = dtype === 'int64' || dtype === 'uint64' ? BigInt(n) : n;
  });
  return { [payloadOf(dtype)]: wirePayload(dtype, data as unknown as TensorData) };
}

function boundNumbers(message: WireBound | null | undefined): number | number[] | undefined {
  if (message === null || message === undefined) return undefined;
  const found = payload(message);
  if (found === undefined) return undefined;
  const numbers = Array.from(found.data as ArrayLike<number | bigint>, Number);
  return numbers.length === 1 ? numbers[0] : numbers;
}

/** Specs for the wire, numbered in order; numbers are the uids. */
export function packSpecs(specs: NamedSpecs): { byUid: ByUid<WireSpec>; uids: ReadonlyMap<string, string> } {
  const entries = Object.entries(specs).map(([name, spec], i): [string, string, WireSpec] => [
    String(i + 1),
    name,
    {
      name,
      shape: spec.shape,
      dtype: dtypeCode(spec.dtype),
      min: bound(spec.dtype, spec.minimum),
      max: bound(spec.dtype, spec.maximum),
    },
  ]);
  return {
    byUid: Object.fromEntries(entries.map(([uid, , spec]) => [uid, spec])),
    uids: new Map(entries.map(([uid, name]) => [uid, name])),
  };
}

/**
 * A spec from the wire.
 * @throws PmpoError for a dtype the protocol does not know, a bad shape, or bounds that do not fit it.
 */
export function unpackSpec(message: WireSpec): TensorSpec {
  const name = message.name ?? '';
  const dtype = dtypes[(message.dtype ?? 0) - 1];
  if (dtype === undefined)
    throw fault(`the spec '${name}' has the data type ${message.dtype}, which there is not`);
  const shape = [...(message.shape ?? [])];
  if (shape.filter((n) => n < 0).length > 1) throw fault(`the spec '${name}' has the shape [${shape}]`);
  const minimum = boundNumbers(message.min);
  const maximum = boundNumbers(message.max);
  for (const limit of [minimum, maximum]) {
    if (Array.isArray(limit) && !shape.some((n) => n < 0) && limit.length !== sizeOf(shape)) {
      throw fault(`the spec '${name}' has ${limit.length} bounds for the shape [${shape}]`);
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
  const data = emptyData(dtype, 1) as Float32Array | Float64Array;
  data[0] = value;
  return { dtype, shape: [], data: data as DTypeArrays[T] };
}
