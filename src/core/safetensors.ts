import { endianness } from 'node:os';
import { PmpoError } from './errors.js';
import { sizeOf } from './shape.js';

/**
 * The safetensors format (github.com/huggingface/safetensors): 8 bytes of header length, a JSON header
 * `{name: {dtype, shape, data_offsets}, __metadata__: {…}}`, then the values, row-major and little-endian, without gaps.
 */

interface SafeArrays {
  F64: Float64Array;
  F32: Float32Array;
  I64: BigInt64Array;
  U64: BigUint64Array;
  I32: Int32Array;
  U32: Uint32Array;
  I16: Int16Array;
  U16: Uint16Array;
  /** The bit patterns of half-precision numbers. */
  F16: Uint16Array;
  BF16: Uint16Array;
  I8: Int8Array;
  U8: Uint8Array;
  BOOL: Uint8Array;
}
export type SafeDType = keyof SafeArrays;

export interface SafeTensor<T extends SafeDType = SafeDType> {
  readonly dtype: T;
  readonly shape: readonly number[];
  readonly data: SafeArrays[T];
}

export interface SafeFile {
  readonly tensors: Readonly<Record<string, SafeTensor>>;
  /** Free text by key; {} if the file has none. */
  readonly metadata: Readonly<Record<string, string>>;
}

const arrays = {
  F64: Float64Array,
  F32: Float32Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

/** The reference implementation refuses longer headers too. */
const maxHeaderBytes = 100_000_000;

function requireLittleEndian(): void {
  if (endianness() !== 'LE') throw new PmpoError({ what: 'safetensors needs a little-endian machine' });
}

/**
 * Encodes a safetensors file as parts to be written one after another; the values are not copied.
 * @throws RangeError when the data of a tensor do not fill its shape.
 */
export function encodeSafetensors({ tensors, metadata }: SafeFile): Uint8Array[] {
  requireLittleEndian();
  // Wider elements first, as the reference implementation orders them, so that every tensor starts aligned.
  const ordered = Object.entries(tensors).sort(
    ([nameA, a], [nameB, b]) =>
      b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT || (nameA < nameB ? -1 : nameA > nameB ? 1 : 0),
  );
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (sizeOf(shape) !== data.length || name === '__metadata__') {
      throw new RangeError(`tensor '${name}': ${data.length} values for shape [${shape.join(', ')}]`);
    }
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  text.copy(padded, 8);
  return [padded, ...parts];
}

/** A tensor in the header of a file. */
export interface SafeEntry {
  readonly name: string;
  readonly dtype: SafeDType;
  readonly shape: readonly number[];
  /** Where its values are, in bytes after the header. */
  readonly begin: number;
  readonly end: number;
}

/** The header of a file: its metadata, and where each tensor is. */
export interface SafeHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of the values. */
  readonly entries: readonly SafeEntry[];
  /** The bytes before the first value. */
  readonly start: number;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function failAt(where: string): (what: string) => never {
  return (what) => {
    throw new PmpoError({ where, what });
  };
}

/**
 * The number of bytes before the first value, from the first 8 bytes of a file of `size` bytes.
 * @throws PmpoError when it is not a safetensors file, or truncated.
 */
export function safeHeaderBytes(first: Uint8Array, size: number, where: string): number {
  const fail = failAt(where);
  if (size < 8) fail(`the file is truncated: ${size} bytes do not hold the length of a header`);
  const length = Number(new DataView(first.buffer, first.byteOffset).getBigUint64(0, true));
  if (length > maxHeaderBytes) fail('it is not a safetensors file: its header would be too long');
  if (8 + length > size) {
    fail(`the file is truncated: the header alone takes ${8 + length} bytes, the file has ${size}`);
  }
  return 8 + length;
}

function readEntry(name: string, value: unknown, fail: (what: string) => never): SafeEntry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(arrays, dtype)) {
    fail(`tensor '${name}' has the unknown dtype ${JSON.stringify(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) fail(`tensor '${name}' has no valid shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    fail(`tensor '${name}' has no valid data_offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = sizeOf(shape as number[]) * arrays[dtype as SafeDType].BYTES_PER_ELEMENT;
  if (end - begin !== bytes) {
    fail(
      `tensor '${name}' of shape [${(shape as number[]).join(', ')}] needs ${bytes} bytes and has ${end - begin}`,
    );
  }
  return { name, dtype: dtype as SafeDType, shape: shape as number[], begin, end };
}

/**
 * Decodes the bytes before the values.
 * @param size the bytes of the whole file.
 * @param where the name of the file, for messages.
 * @throws PmpoError when the file is truncated, is not a safetensors file, or holds a tensor whose bytes do not fill its shape.
 */
export function decodeSafeHeader(header: Uint8Array, size: number, where: string): SafeHeader {
  requireLittleEndian();
  const fail = failAt(where);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header.subarray(8)));
  } catch {}
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return fail('it is not a safetensors file: its header is not a JSON object');
  }
  const { __metadata__: metadata = {}, ...rest } = json as Record<string, unknown>;
  if (
    typeof metadata !== 'object' ||
    metadata === null ||
    !Object.values(metadata).every((text) => typeof text === 'string')
  ) {
    fail('its __metadata__ is not an object of strings');
  }
  const entries = Object.entries(rest)
    .map(([name, value]) => readEntry(name, value, fail))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const entry of entries) {
    if (entry.begin !== end)
      fail(`tensor '${entry.name}' leaves a gap after the tensor before it, or overlaps it`);
    end = entry.end;
  }
  const start = header.length;
  const available = size - start;
  if (available < end) fail(`the file is truncated: ${start + end} bytes expected, ${size} found`);
  if (available > end) fail(`${available - end} bytes follow the last tensor`);
  return { metadata: metadata as Record<string, string>, entries, start };
}

/** A tensor for the values of an entry. */
export function emptyTensor({ dtype, shape }: SafeEntry): SafeTensor {
  return { dtype, shape, data: new arrays[dtype](sizeOf(shape)) };
}

/**
 * Decodes a safetensors file. The data are views of `bytes` if their alignment allows it, and copies otherwise.
 * @param where the name of the file, for messages.
 * @throws PmpoError as decodeSafeHeader.
 */
export function decodeSafetensors(bytes: Uint8Array, where: string): SafeFile {
  const header = bytes.subarray(0, safeHeaderBytes(bytes, bytes.length, where));
  const { metadata, entries, start } = decodeSafeHeader(header, bytes.length, where);
  const tensors: Record<string, SafeTensor> = {};
  for (const { name, dtype, shape, begin, end } of entries) {
    const from = bytes.byteOffset + start + begin;
    const View = arrays[dtype];
    const aligned = from % View.BYTES_PER_ELEMENT === 0;
    const buffer = aligned ? bytes.buffer : bytes.buffer.slice(from, from + end - begin);
    const data = new View(buffer as ArrayBuffer, aligned ? from : 0, sizeOf(shape));
    tensors[name] = { dtype, shape, data };
  }
  return { tensors, metadata };
}
