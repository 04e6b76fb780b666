import protobuf from 'protobufjs';
import { sizeOf } from '../../core/shape.js';
import type { DTypeArrays, NumericDType, TensorSpec, TensorValue } from '../../environments/environment.js';
import { emptyData, isNumeric } from '../../environments/tensor-data.js';
import { bigintOf } from './messages.js';
import { dtypeCode } from './tensors.js';
import { isLittleEndian, payloadTag, tags } from './wire-format.js';

/**
 * A fast decoder that reads the response to a step straight into existing typed arrays. It reads only the form that such
 * responses almost always have. Everything else (other shapes, encodings or messages, errors, corrupt bytes) is left to the
 * general decoder in messages.ts and tensors.ts, against which this one is tested.
 */

type Reader = protobuf.Reader;

/** The readers of elements whose length varies on the wire. Elements of other dtypes are copied as bytes. */
const readElement: { readonly [D in NumericDType]?: (reader: Reader) => number | bigint } = {
  int32: (reader) => reader.int32(),
  uint32: (reader) => reader.uint32(),
  int64: (reader) => bigintOf(reader.int64()),
  uint64: (reader) => bigintOf(reader.uint64()),
  bool: (reader) => Number(reader.bool()),
};

/** The place that the elements of one observation are read into. */
class Target {
  readonly value: TensorValue;
  readonly payloadTag: number;
  /** The number of the last response that filled it. */
  filled = 0;
  readonly #elements: (number | bigint)[];
  readonly #bytes: Uint8Array;
  readonly #width: number;
  readonly #read: ((reader: Reader) => number | bigint) | undefined;

  constructor(
    readonly shape: readonly number[],
    dtype: NumericDType,
  ) {
    const data: DTypeArrays[NumericDType] = emptyData(dtype, sizeOf(shape));
    this.value = { dtype, shape, data };
    this.payloadTag = payloadTag(dtypeCode(dtype));
    this.#elements = data as unknown as (number | bigint)[];
    this.#bytes = new Uint8Array(data.buffer);
    this.#width = data.BYTES_PER_ELEMENT;
    this.#read = readElement[dtype];
  }

  /** Reads `length` bytes of elements; a single element is broadcast. Returns false for a wrong number of elements. */
  read(reader: Reader, length: number): boolean {
    const elements = this.#elements;
    let count = 0;
    if (this.#read === undefined) {
      if (length > this.#bytes.length) return false;
      this.#bytes.set(reader.buf.subarray(reader.pos, reader.pos + length));
      reader.pos += length;
      count = length / this.#width;
    } else {
      const end = reader.pos + length;
      while (reader.pos < end && count < elements.length) elements[count++] = this.#read(reader);
      if (reader.pos !== end) return false;
    }
    if (count === 1) elements.fill(elements[0]);
    return count === 1 || count === elements.length;
  }
}

const isFixedSize = ({ shape }: TensorSpec): boolean => shape.every((n) => n >= 0) && sizeOf(shape) > 0;

/** Decodes responses to steps that request the same observations; see above. */
export class StepDecoder {
  /** The observations by name. Each response overwrites those of the one before. */
  readonly values: Readonly<Record<string, TensorValue>>;
  readonly #targets: ReadonlyMap<number, Target>;
  /** The number of the response that is being read. */
  #response = 0;
  /** The number of observations that it has yet to bring. */
  #missing = 0;

  private constructor(targets: readonly { uid: number; name: string; target: Target }[]) {
    this.#targets = new Map(targets.map(({ uid, target }) => [uid, target]));
    this.values = Object.fromEntries(targets.map(({ name, target }) => [name, target.value]));
  }

  /** A decoder for the observations with these uids, or undefined if one of them needs the general decoder. */
  static of(specs: readonly (readonly [uid: string, spec: TensorSpec])[]): StepDecoder | undefined {
    const targets = specs.flatMap(([digits, spec]) => {
      const { name, shape, dtype } = spec;
      const uid = Number(digits);
      const isDirect = Number.isSafeInteger(uid) && isFixedSize(spec) && isNumeric(dtype);
      return isDirect ? [{ uid, name, target: new Target(shape, dtype) }] : [];
    });
    return isLittleEndian && targets.length === specs.length ? new StepDecoder(targets) : undefined;
  }

  /**
   * Reads a response into `values`.
   * @returns the state, or undefined if the response needs the general decoder; `values` then mean nothing.
   */
  decode(bytes: Uint8Array): number | undefined {
    try {
      return this.#read(protobuf.Reader.create(bytes));
    } catch {
      return undefined;
    }
  }

  #read(reader: Reader): number | undefined {
    this.#response += 1;
    let state = 0;
    this.#missing = this.#targets.size;
    if (reader.uint32() !== tags.responseStep || !spansTo(reader, reader.len)) return undefined;
    while (reader.pos < reader.len) {
      const field = reader.uint32();
      if (field === tags.responseState) state = reader.int32();
      else if (field !== tags.responseObservations || !this.#observation(reader)) return undefined;
    }
    return this.#missing === 0 && reader.pos === reader.len ? state : undefined;
  }

  #observation(reader: Reader): boolean {
    const end = reader.uint32() + reader.pos;
    if (reader.uint32() !== tags.entryKey) return false;
    const target = this.#targets.get(readUid(reader));
    if (target === undefined) {
      // An observation that was not requested.
      reader.pos = end;
      return true;
    }
    if (target.filled === this.#response) return false;
    target.filled = this.#response;
    this.#missing -= 1;
    if (reader.uint32() !== tags.entryValue || !spansTo(reader, end)) return false;
    let hasElements = false;
    let rank = 0;
    while (reader.pos < end) {
      const field = reader.uint32();
      if (field === target.payloadTag && !hasElements) {
        const payloadEnd = reader.uint32() + reader.pos;
        if (reader.uint32() !== tags.payloadArray) return false;
        const length = reader.uint32();
        if (reader.pos + length !== payloadEnd || !target.read(reader, length)) return false;
        hasElements = true;
      } else if (field === tags.tensorShape) {
        const shapeEnd = reader.uint32() + reader.pos;
        while (reader.pos < shapeEnd) if (reader.int32() !== target.shape[rank++]) return false;
        if (reader.pos !== shapeEnd) return false;
      } else return false;
    }
    return hasElements && rank === target.shape.length && reader.pos === end;
  }
}

/** Whether the message that begins here ends at `end`. */
function spansTo(reader: Reader, end: number): boolean {
  return reader.uint32() + reader.pos === end;
}

function readUid(reader: Reader): number {
  if (reader.buf[reader.pos] < 128) return reader.uint32();
  return Number(bigintOf(reader.uint64()));
}
