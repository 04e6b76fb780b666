import { PmpoError } from '../../core/errors.js';
import { quotedName } from '../../core/foreign-text.js';
import { sizeOf } from '../../core/shape.js';
import type {
  DType,
  NamedSpecs,
  PackedMessage,
  TensorData,
  TensorSpec,
  TensorValue,
} from '../../environments/environment.js';
import { shapeFits } from '../../environments/spec-checks.js';
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

/** Limits on what a server or a client may ask to hold in memory. */
export const tensorLimits = {
  /** Axes of a shape, as in NumPy 2. */
  axes: 64,
  /** Characters of a name. */
  nameLength: 256,
  /** Elements that a single one may be broadcast to, unless a spec asks for more. */
  broadcast: 2 ** 20,
  /** The same for a setting, of which a request may hold many. */
  settingBroadcast: 1024,
} as const;

const invalid = (what: string) => new PmpoError({ what });

/** A shape for messages, which may come from anywhere. */
export function shapeText(shape: readonly number[]): string {
  return shape.length <= 8 ? `[${shape}]` : `[${shape.slice(0, 8)},… (${shape.length} axes)]`;
}

const notFilled = (count: number, shape: readonly number[]) =>
  invalid(`${count} elements do not fill the shape ${shapeText(shape)}`);

/** The payload of a message as it was decoded: its dtype, and the number of its elements, which may be fewer than the shape asks for. */
interface Payload {
  readonly dtype: DType;
  readonly count: number;
  /** The elements as a new array. */
  copy(): TensorData;
}

function payloadOf(message: wire.Tensor): Payload | undefined {
  const { floats, doubles, int8s, int32s, int64s, uint8s, uint32s, uint64s, bools, strings, protos } =
    message;
  const payload = <T extends ArrayLike<unknown>>(
    dtype: DType,
    elements: T | null | undefined,
    copy: (elements: T) => TensorData,
  ): Payload => ({
    dtype,
    count: elements?.length ?? 0,
    copy: () => (elements ? copy(elements) : emptyData(dtype, 0)),
  });
  if (floats) return payload('float32', floats.array, (array) => Float32Array.from(array));
  if (doubles) return payload('float64', doubles.array, (array) => Float64Array.from(array));
  if (int8s) return payload('int8', int8s.array, (array) => Int8Array.from(array));
  if (int32s) return payload('int32', int32s.array, (array) => Int32Array.from(array));
  if (int64s) return payload('int64', int64s.array, (array) => BigInt64Array.from(array.map(bigintOf)));
  if (uint8s) return payload('uint8', uint8s.array, (array) => Uint8Array.from(array));
  if (uint32s) return payload('uint32', uint32s.array, (array) => Uint32Array.from(array));
  if (uint64s) return payload('uint64', uint64s.array, (array) => BigUint64Array.from(array.map(bigintOf)));
  if (bools) return payload('bool', bools.array, (array) => Uint8Array.from(array, Number));
  if (strings) return payload('string', strings.array, (array) => [...array]);
  if (protos) {
    return payload('proto', protos.array, (array) =>
      array.map(({ type_url = '', value = new Uint8Array() }) => ({ typeUrl: type_url, value })),
    );
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
function inferShape(given: ArrayLike<number>, count: number): number[] {
  if (given.length > tensorLimits.axes) throw invalid(`a shape has ${given.length} axes`);
  const shape = Array.from(given);
  const open = shape.filter((n) => n < 0).length;
  if (open > 1) {
    const what = `the shape ${shapeText(shape)} has ${open} axes of unknown length; only one can be inferred`;
    throw invalid(what);
  }
  if (open === 0) return shape;
  const known = sizeOf(shape.filter((n) => n >= 0));
  // A single element could be broadcast to any length, and the length is unknown: it is read as one element.
  const length = known === 0 ? 0 : count === 1 ? 1 : count / known;
  if (!Number.isInteger(length)) throw notFilled(count, shape);
  return shape.map((n) => (n < 0 ? length : n));
}

/** The elements of a payload in a shape. A single element is broadcast to up to `limit` of them. */
function filled({ dtype, count, copy }: Payload, shape: readonly number[], limit: number): TensorValue {
  const size = sizeOf(shape);
  if (count === size) return { dtype, shape, data: copy() };
  if (count !== 1) throw notFilled(count, shape);
  if (size > limit) {
    throw invalid(
      `one element cannot be broadcast to the shape ${shapeText(shape)}: the limit is ${limit} elements`,
    );
  }
  const data = emptyData(dtype, size);
  (data as unknown[]).fill(copy()[0]);
  return { dtype, shape, data };
}

function requirePayload(message: wire.Tensor): Payload {
  const payload = payloadOf(message);
  if (payload === undefined) throw invalid('a tensor has no payload');
  return payload;
}

/**
 * Reads a tensor of any form. A payload of one element is broadcast over the shape; a negative axis is inferred.
 * @throws PmpoError if the message has no payload, the payload does not fill the shape, or the broadcast exceeds `tensorLimits`.
 */
export function unpackTensor(message: wire.Tensor): TensorValue {
  const payload = requirePayload(message);
  return filled(payload, inferShape(message.shape ?? [], payload.count), tensorLimits.broadcast);
}

/**
 * Reads a tensor that must have the dtype and the shape of a spec. No memory is taken for one of another form.
 * @param kind `action` or `observation`, for the message
 * @throws PmpoError naming the spec.
 */
export function unpackTensorOf(kind: string, spec: TensorSpec, message: wire.Tensor): TensorValue {
  try {
    const payload = requirePayload(message);
    const shape = inferShape(message.shape ?? [], payload.count);
    if (payload.dtype !== spec.dtype || !shapeFits(shape, spec.shape)) {
      throw invalid(
        `it is ${payload.dtype} ${shapeText(shape)}, but its spec is ${spec.dtype} ${shapeText(spec.shape)}`,
      );
    }
    const isFixed = spec.shape.every((n) => n >= 0);
    return filled(payload, shape, isFixed ? Number.POSITIVE_INFINITY : tensorLimits.broadcast);
  } catch (error) {
    if (!(error instanceof PmpoError)) throw error;
    throw new PmpoError({ where: `${kind} ${quotedName(spec.name)}`, what: error.details.what });
  }
}

/** Writes a tensor. @throws PmpoError if the elements do not fill the shape. */
export function packTensor({ dtype, shape, data }: TensorValue): wire.Tensor {
  if (data.length !== sizeOf(shape)) throw notFilled(data.length, shape);
  return { ...packPayload(dtype, data), shape };
}

/** A setting as a client sent it: a single value, or a tensor of several. */
export type Setting = string | number | boolean | TensorValue;

/** Reads a setting: a tensor of one element as a plain value, any other as a tensor. */
export function unpackSetting(message: wire.Tensor): Setting {
  const payload = requirePayload(message);
  const shape = inferShape(message.shape ?? [], payload.count);
  const tensor = filled(payload, shape, tensorLimits.settingBroadcast);
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
  const payload = payloadOf(message ?? {});
  if (payload === undefined) return undefined;
  const numbers = Array.from(payload.copy() as ArrayLike<number | bigint>, Number);
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
 * @throws PmpoError for an unknown data type, a shape with several negative axes, bounds that do not fit the shape, or a name or a
 *   shape over `tensorLimits`.
 */
export function unpackSpec(message: wire.TensorSpec): TensorSpec {
  const { name = '' } = message;
  const refuse = (what: string) => invalid(`the spec ${quotedName(name)} ${what}`);
  if (name.length > tensorLimits.nameLength) {
    throw refuse(`has a name of more than ${tensorLimits.nameLength} characters`);
  }
  const dtype = dtypesByCode.get(message.dtype ?? 0);
  if (dtype === undefined) throw refuse(`has the unknown data type ${message.dtype ?? 0}`);
  const shape = [...(message.shape ?? [])];
  if (shape.length > tensorLimits.axes) throw refuse(`has ${shape.length} axes, over ${tensorLimits.axes}`);
  if (shape.filter((n) => n < 0).length > 1)
    throw refuse(`has the shape ${shapeText(shape)}, with several axes of unknown length`);
  const minimum = unpackBound(message.min);
  const maximum = unpackBound(message.max);
  for (const bound of [minimum, maximum]) {
    if (Array.isArray(bound) && !shape.some((n) => n < 0) && bound.length !== sizeOf(shape)) {
      throw refuse(`has ${bound.length} bounds for the shape ${shapeText(shape)}`);
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
