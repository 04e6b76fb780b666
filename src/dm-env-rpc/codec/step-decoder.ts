import protobuf from 'protobufjs';
import { sizeOf } from '../../core/shape.js';
import {
  type DTypeArrays,
  emptyData,
  type TensorSpec,
  type TensorValue,
} from '../../environments/environment.js';
import { bigintOf, type PayloadName, payloadNames } from './messages.js';

/**
 * Reads a step's answer straight into typed arrays that are there already. Only what such answers nearly always are is
 * read; whatever else (other shapes, encodings or messages, errors, bytes that are no message) is left to the general
 * decoder (wire.ts, tensor-codec.ts), which is also what this one is tested against.
 */

type Reader = protobuf.Reader;
/** The dtypes whose arrays have a fixed size per element. */
type DirectDType = Exclude<keyof DTypeArrays, 'string' | 'proto'>;

/** Of the fields in dm_env_rpc.proto that are read here: number and wire type in one number. */
const tag = (field: number, wireType: 0 | 2): number => (field << 3) | wireType;
const tags = {
  responseStep: tag(3, 2),
  stepState: tag(1, 0),
  stepObservation: tag(2, 2),
  entryKey: tag(1, 0),
  entryValue: tag(2, 2),
  tensorShape: tag(15, 2),
  payloadArray: tag(1, 2),
} as const;

/** The field of a tensor that holds its elements. */
const payloadField: Readonly<Record<DirectDType, PayloadName>> = {
  float32: 'floats',
  float64: 'doubles',
  int8: 'int8s',
  int32: 'int32s',
  int64: 'int64s',
  uint8: 'uint8s',
  uint32: 'uint32s',
  uint64: 'uint64s',
  bool: 'bools',
};

/** How an element is read where elements are of different lengths on the wire; the others are copied as they are. */
const readElement: { readonly [D in DirectDType]?: (reader: Reader) => number | bigint } = {
  int32: (reader) => reader.int32(),
  uint32: (reader) => reader.uint32(),
  int64: (reader) => bigintOf(reader.int64() as unknown as Parameters<typeof bigintOf>[0]),
  uint64: (reader) => bigintOf(reader.uint64() as unknown as Parameters<typeof bigintOf>[0]),
  bool: (reader) => Number(reader.bool()),
};

/** Where the elements of one observation go. */
class Target {
  readonly value: TensorValue;
  readonly payloadTag: number;
  /** The number of the last answer that filled it. */
  filled = 0;
  readonly #elements: (number | bigint)[];
  readonly #bytes: Uint8Array;
  readonly #width: number;
  readonly #read: ((reader: Reader) => number | bigint) | undefined;

  constructor(
    readonly shape: readonly number[],
    dtype: DirectDType,
  ) {
    const data = emptyData(dtype, sizeOf(shape));
    this.value = { dtype, shape, data };
    this.payloadTag = tag(payloadNames.indexOf(payloadField[dtype]) + 1, 2);
    this.#elements = data as unknown as (number | bigint)[];
    this.#bytes = new Uint8Array(data.buffer);
    this.#width = data.BYTES_PER_ELEMENT;
    this.#read = readElement[dtype];
  }

  /** Reads `length` bytes of elements; a single one stands for all. False if they are not as many as they must be. */
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

/** Numbers lie in memory as they do on the wire. */
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

const isDirect = ({ dtype, shape }: TensorSpec): boolean =>
  dtype !== 'string' && dtype !== 'proto' && shape.every((n) => n >= 0) && sizeOf(shape) > 0;

export class StepDecoder {
  /** The observations by name. Each answer overwrites the one before. */
  readonly values: Readonly<Record<string, TensorValue>>;
  readonly #targets: ReadonlyMap<number, Target>;
  /** The number of the answer that is being read, and how many observations it has yet to bring. */
  #answer = 0;
  #missing = 0;

  private constructor(specs: readonly (readonly [uid: number, spec: TensorSpec])[]) {
    const targets = specs.map(
      ([uid, { shape, dtype }]) => [uid, new Target(shape, dtype as DirectDType)] as const,
    );
    this.#targets = new Map(targets);
    this.values = Object.fromEntries(specs.map(([, { name }], i) => [name, targets[i][1].value]));
  }

  /** A decoder of the observations with these uids; undefined where one of them is for the general decoder. */
  static of(specs: readonly (readonly [uid: string, spec: TensorSpec])[]): StepDecoder | undefined {
    const numbered = specs.map(([uid, spec]) => [Number(uid), spec] as const);
    const direct = numbered.every(([uid, spec]) => Number.isSafeInteger(uid) && isDirect(spec));
    return direct && isLittleEndian ? new StepDecoder(numbered) : undefined;
  }

  /**
   * Reads an answer into `values`.
   * @returns the state; undefined where the answer is for the general decoder, and `values` mean nothing.
   */
  decode(bytes: Uint8Array): number | undefined {
    try {
      return this.#response(protobuf.Reader.create(bytes));
    } catch {
      return undefined;
    }
  }

  #response(reader: Reader): number | undefined {
    this.#answer += 1;
    let state = 0;
    this.#missing = this.#targets.size;
    if (reader.uint32() !== tags.responseStep || !spansTo(reader, reader.len)) return undefined;
    while (reader.pos < reader.len) {
      const field = reader.uint32();
      if (field === tags.stepState) state = reader.int32();
      else if (field !== tags.stepObservation || !this.#observation(reader)) return undefined;
    }
    return this.#missing === 0 && reader.pos === reader.len ? state : undefined;
  }

  #observation(reader: Reader): boolean {
    const end = reader.uint32() + reader.pos;
    if (reader.uint32() !== tags.entryKey) return false;
    const target = this.#targets.get(readUid(reader));
    if (target === undefined) {
      // Not asked for.
      reader.pos = end;
      return true;
    }
    if (target.filled === this.#answer) return false;
    target.filled = this.#answer;
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

/** Whether the message that begins here ends where it is expected to. */
function spansTo(reader: Reader, end: number): boolean {
  return reader.uint32() + reader.pos === end;
}

function readUid(reader: Reader): number {
  if (reader.buf[reader.pos] < 128) return reader.uint32();
  return Number(bigintOf(reader.uint64() as unknown as Parameters<typeof bigintOf>[0]));
}
