import type * as wire from '../../generated/dm-env-rpc.js';
import { isLittleEndian, payloadTags, tags } from './wire-format.js';

/**
 * A fast encoder of steps, which are nearly all that is sent. Of the tensors that packTensor makes, it knows those of bytes, of
 * floating-point numbers, and of 32-bit integers of 0 or more; it knows uids that are safe integers. It writes them as protobufjs
 * does, byte for byte. Everything else is left to protobufjs, against which it is tested.
 */

const largestInt32 = 2 ** 31 - 1;

/** The bytes of a request for a step; undefined if protobufjs must write it. */
export function encodeStepRequest({
  actions = {},
  requestedObservations = [],
}: wire.StepRequest): Uint8Array | undefined {
  writer.start();
  if (requestedObservations.length > 0) {
    if (!writeCounts(requestedObservations, Number.MAX_SAFE_INTEGER)) return undefined;
    writer.enclose(tags.requestedObservations, 0);
  }
  if (!writeTensors(tags.requestActions, actions)) return undefined;
  writer.enclose(tags.requestStep, 0);
  return writer.finish();
}

/** The bytes of a response to a step; undefined if protobufjs must write it. */
export function encodeStepResponse({ state, observations = {} }: wire.StepResponse): Uint8Array | undefined {
  writer.start();
  if (!writeTensors(tags.responseObservations, observations)) return undefined;
  // protobufjs leaves out a state of 0.
  if (state !== undefined && state !== 0) {
    if (!isCount(state) || state > largestInt32) return undefined;
    writer.varint(state);
    writer.varint(tags.responseState);
  }
  writer.enclose(tags.responseStep, 0);
  return writer.finish();
}

function writeTensors(entryTag: number, tensors: NonNullable<wire.StepResponse['observations']>): boolean {
  const keys = Object.keys(tensors);
  for (let i = keys.length - 1; i >= 0; i--) {
    const uid = Number(keys[i]);
    // Other forms of a number, such as 1e3, are not digits.
    if (!isCount(uid) || String(uid) !== keys[i]) return false;
    const tensor = tensors[keys[i]];
    const end = writer.position;
    const { shape = [] } = tensor;
    if (shape.length > 0) {
      if (!writeCounts(shape, largestInt32)) return false;
      writer.enclose(tags.tensorShape, end);
    }
    const payloadEnd = writer.position;
    const payloadTag = writeElements(tensor);
    // protobufjs leaves out an empty array.
    if (payloadTag === undefined || writer.position === payloadEnd) return false;
    writer.enclose(tags.payloadArray, payloadEnd);
    writer.enclose(payloadTag, payloadEnd);
    writer.enclose(tags.entryValue, end);
    writer.varint(uid);
    writer.varint(tags.entryKey);
    writer.enclose(entryTag, end);
  }
  return true;
}

/** Writes the elements of a tensor. Returns the tag of their field, or undefined if protobufjs must write them. */
function writeElements({ floats, doubles, int8s, int32s, uint8s }: wire.Tensor): number | undefined {
  if (floats?.array instanceof Float32Array) {
    writer.floats(floats.array);
    return payloadTags.floats;
  }
  if (doubles?.array instanceof Float64Array) {
    writer.floats(doubles.array);
    return payloadTags.doubles;
  }
  if (int8s?.array instanceof Uint8Array) {
    writer.bytes(int8s.array);
    return payloadTags.int8s;
  }
  if (int32s?.array && writeCounts(int32s.array, largestInt32)) return payloadTags.int32s;
  if (uint8s?.array instanceof Uint8Array) {
    writer.bytes(uint8s.array);
    return payloadTags.uint8s;
  }
  return undefined;
}

/** Writes whole numbers from 0 to `largest`, the last one first. Returns false if there are others. */
function writeCounts(numbers: ArrayLike<wire.Int64>, largest: number): boolean {
  for (let i = numbers.length - 1; i >= 0; i--) {
    const number = numbers[i];
    if (!isCount(number) || number > largest) return false;
    writer.varint(number);
  }
  return true;
}

const isCount = (value: wire.Int64): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** Arrays of fewer bytes are copied number by number: V8 takes longer to make the `buffer` of an array that small. */
const smallBytes = 256;

/** The memory that the writer has at first, and the most that it keeps for the next message. */
const firstBytes = 4096;
const keptBytes = 2 ** 20;

/** Writes a message from its end to its start, so that the length of each part is known when it is written before the part. */
class BackwardWriter {
  #view!: DataView<ArrayBuffer>;
  #buffer!: Buffer;
  /** The number of bytes written. */
  position = 0;

  constructor() {
    this.#allocate(firstBytes);
  }

  start(): void {
    this.position = 0;
    if (this.#buffer.length > keptBytes) this.#allocate(firstBytes);
  }

  /** Writes a number from 0 to 2⁵³ − 1 in groups of 7 bits. */
  varint(value: number): void {
    let length = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
    let at = this.#advance(length);
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#buffer[at++] = (rest % 128) | 128;
    this.#buffer[at] = rest;
  }

  floats(elements: Float32Array | Float64Array): void {
    const { length, byteLength } = elements;
    if (byteLength >= smallBytes && isLittleEndian) {
      this.bytes(new Uint8Array(elements.buffer, elements.byteOffset, byteLength));
      return;
    }
    const at = this.#advance(byteLength);
    if (elements instanceof Float32Array)
      for (let i = 0; i < length; i++) this.#view.setFloat32(at + 4 * i, elements[i], true);
    else for (let i = 0; i < length; i++) this.#view.setFloat64(at + 8 * i, elements[i], true);
  }

  bytes(elements: Uint8Array): void {
    const at = this.#advance(elements.length);
    this.#buffer.set(elements, at);
  }

  /** Makes what has been written since `end` a field of variable length. */
  enclose(tag: number, end: number): void {
    this.varint(this.position - end);
    this.varint(tag);
  }

  /** The message in memory of its own. */
  finish(): Uint8Array {
    const message = Buffer.allocUnsafe(this.position);
    this.#buffer.copy(message, 0, this.#buffer.length - this.position);
    return message;
  }

  /** Makes room for `length` bytes, and returns where they begin. */
  #advance(length: number): number {
    const needed = this.position + length;
    if (needed > this.#buffer.length) this.#grow(needed);
    this.position = needed;
    return this.#buffer.length - needed;
  }

  #grow(needed: number): void {
    const written = this.#buffer.subarray(this.#buffer.length - this.position);
    this.#allocate(needed + Math.min(needed, keptBytes));
    written.copy(this.#buffer, this.#buffer.length - this.position);
  }

  #allocate(size: number): void {
    this.#view = new DataView(new ArrayBuffer(size));
    this.#buffer = Buffer.from(this.#view.buffer);
  }
}

const writer = new BackwardWriter();
