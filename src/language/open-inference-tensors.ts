import { PmpoError } from '../core/errors.js';
import type {
  InferTensorContents,
  ModelInferResponseInferOutputTensor as OutputTensor,
} from '../generated/open-inference.js';

/** Reads the numbers of a tensor of the Open Inference Protocol, from typed contents or from raw bytes. */

/** A half-precision number from its bits. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const single = new DataView(new ArrayBuffer(4));

/** A bfloat16 number from its bits, which are the upper half of a single-precision number. */
function fromBfloat16(bits: number): number {
  single.setUint32(0, bits << 16);
  return single.getFloat32(0);
}

interface Datatype {
  /** Bytes of an element. */
  readonly size: number;
  readonly read: (view: DataView, at: number) => number;
  /** The field of `contents` with its elements; undefined if such tensors can only be sent as raw bytes. */
  readonly contents?: keyof InferTensorContents;
}

const datatypes: Readonly<Record<string, Datatype>> = {
  BOOL: { size: 1, read: (view, at) => view.getUint8(at), contents: 'boolContents' },
  INT8: { size: 1, read: (view, at) => view.getInt8(at), contents: 'intContents' },
  INT16: { size: 2, read: (view, at) => view.getInt16(at, true), contents: 'intContents' },
  INT32: { size: 4, read: (view, at) => view.getInt32(at, true), contents: 'intContents' },
  INT64: { size: 8, read: (view, at) => Number(view.getBigInt64(at, true)), contents: 'int64Contents' },
  UINT8: { size: 1, read: (view, at) => view.getUint8(at), contents: 'uintContents' },
  UINT16: { size: 2, read: (view, at) => view.getUint16(at, true), contents: 'uintContents' },
  UINT32: { size: 4, read: (view, at) => view.getUint32(at, true), contents: 'uintContents' },
  UINT64: { size: 8, read: (view, at) => Number(view.getBigUint64(at, true)), contents: 'uint64Contents' },
  FP16: { size: 2, read: (view, at) => fromHalf(view.getUint16(at, true)) },
  BF16: { size: 2, read: (view, at) => fromBfloat16(view.getUint16(at, true)) },
  FP32: { size: 4, read: (view, at) => view.getFloat32(at, true), contents: 'fp32Contents' },
  FP64: { size: 8, read: (view, at) => view.getFloat64(at, true), contents: 'fp64Contents' },
};

/** Whether tensors of this datatype contain numbers. */
export function isNumeric(datatype: string): boolean {
  return datatypes[datatype] !== undefined;
}

/**
 * The numbers of a tensor in row-major order.
 * @param raw the tensor's little-endian bytes, if the message has them in raw_output_contents.
 * @throws PmpoError for a datatype without numbers, and if the count does not match the shape.
 */
export function readNumbers(
  { name = '', datatype = '', shape = [], contents }: OutputTensor,
  raw: Uint8Array | undefined,
  where: string,
): Float64Array {
  const type = datatypes[datatype];
  if (type === undefined) {
    throw new PmpoError({
      where,
      what: `the output '${name}' has the datatype ${datatype || 'none'}`,
      remedy: `It must be numeric: ${Object.keys(datatypes).join(', ')}`,
    });
  }
  const expected = shape.reduce((product, size) => product * size, 1);
  const numbers = raw === undefined ? fromContents(contents, type) : fromBytes(raw, type);
  if (numbers?.length === expected) return numbers;
  const found = numbers === undefined ? `${raw?.length ?? 0} bytes` : `${numbers.length} numbers`;
  throw new PmpoError({
    where,
    what: `the output '${name}' has the shape [${shape.join(', ')}] and the datatype ${datatype}, but ${found}`,
    remedy: 'Correct the server: the data must match the shape',
  });
}

function fromContents(contents: InferTensorContents = {}, { contents: field }: Datatype): Float64Array {
  const values = field === undefined ? [] : (contents[field] ?? []);
  return Float64Array.from(values as readonly (number | boolean)[], Number);
}

function fromBytes(raw: Uint8Array, { size, read }: Datatype): Float64Array | undefined {
  if (raw.length % size !== 0) return undefined;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return Float64Array.from({ length: raw.length / size }, (_, i) => read(view, i * size));
}
