import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import type { DType, TensorData, TensorValue } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { decodeResponse, digitsOf, encodeRequest, encodeResponse } from './messages.js';
import { encodeStepRequest, encodeStepResponse } from './step-encoder.js';
import { packTensor, unpackTensor } from './tensors.js';

/** protobufjs's own encoder of a message. */
function generalEncoder(name: string): (message: object) => Buffer {
  const root = new protobuf.Root();
  const folder = fileURLToPath(new URL('../../../proto/', import.meta.url));
  root.resolvePath = (_, target) => (target.startsWith('google/protobuf/') ? target : `${folder}${target}`);
  root.loadSync('dm_env_rpc/v1/dm_env_rpc.proto');
  const type = root.lookupType(`dm_env_rpc.v1.${name}`);
  return (message) => Buffer.from(type.encode(message as protobuf.Message).finish());
}

const generalRequest = generalEncoder('EnvironmentRequest');
const generalResponse = generalEncoder('EnvironmentResponse');

/** Up to and beyond the size from which arrays are copied as a whole. */
const some = { minLength: 0, maxLength: 100 };
const elements: Readonly<Partial<Record<DType, fc.Arbitrary<TensorData>>>> = {
  float32: fc.float32Array(some),
  float64: fc.float64Array(some),
  int8: fc.int8Array(some),
  uint8: fc.uint8Array({ minLength: 0, maxLength: 300 }),
  int32: fc.int32Array(some),
  uint32: fc.uint32Array(some),
  int64: fc.bigInt64Array(some),
  uint64: fc.bigUint64Array(some),
  bool: fc.uint8Array({ ...some, max: 1 }),
  string: fc.array(fc.string(), some),
};
/** The same elements within a longer array, if they are floating-point numbers. */
function shifted(data: TensorData): TensorData {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return data;
  const longer =
    data instanceof Float32Array ? new Float32Array(data.length + 3) : new Float64Array(data.length + 3);
  longer.set(data, 2);
  return longer.subarray(2, 2 + data.length);
}

const tensor: fc.Arbitrary<TensorValue> = fc
  .constantFrom(...(Object.keys(elements) as DType[]))
  .chain((dtype) =>
    elements[dtype]!.chain((data) =>
      fc
        .constantFrom(...[[data.length], [1, data.length, 1], ...(data.length === 1 ? [[]] : [])])
        .map((shape) => ({ dtype, shape, data: shifted(data) }) as TensorValue),
    ),
  );
const uid = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.maxSafeNat()).map(String);
const tensors = fc
  .dictionary(uid, tensor, { maxKeys: 5, noNullPrototype: true })
  .map((values) => Object.fromEntries(Object.entries(values).map(([id, value]) => [id, packTensor(value)])));
const requested = fc.array(
  fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant<wire.Int64>('18446744073709551615')),
  some,
);

describe('the step encoder', () => {
  it('writes requests as protobufjs does', () => {
    fc.assert(
      fc.property(tensors, requested, (actions, requestedObservations) => {
        const request = { step: { actions, requestedObservations } };
        expect(Buffer.from(encodeRequest(request))).toEqual(generalRequest(request));
      }),
    );
  });

  it('writes responses as protobufjs does', () => {
    fc.assert(
      fc.property(tensors, fc.integer({ min: 0, max: 3 }), (observations, state) => {
        const response = { step: { state, observations } };
        expect(Buffer.from(encodeResponse(response))).toEqual(generalResponse(response));
      }),
    );
  });

  const encodes = (value: TensorValue) =>
    encodeStepResponse({ state: 1, observations: { 1: packTensor(value) } }) !== undefined;

  it('knows the tensors of nearly all steps', () => {
    const known: readonly TensorValue[] = [
      { dtype: 'float32', shape: [2], data: Float32Array.of(0.1, -2) },
      { dtype: 'float32', shape: [100], data: new Float32Array(100).fill(-0) },
      { dtype: 'float64', shape: [], data: Float64Array.of(Number.NaN) },
      { dtype: 'int8', shape: [2], data: Int8Array.of(-1, 1) },
      { dtype: 'uint8', shape: [2], data: Uint8Array.of(0, 255) },
      { dtype: 'int32', shape: [2], data: Int32Array.of(0, 2 ** 31 - 1) },
    ];
    expect(known.filter((value) => !encodes(value))).toEqual([]);
    expect(encodeStepRequest({ requestedObservations: [1, 2 ** 40] })).toBeDefined();
  });

  it('leaves to protobufjs what it does not know', () => {
    const unknown: readonly TensorValue[] = [
      { dtype: 'int32', shape: [1], data: Int32Array.of(-1) },
      { dtype: 'int64', shape: [1], data: BigInt64Array.of(5n) },
      { dtype: 'string', shape: [1], data: ['a'] },
      { dtype: 'float32', shape: [0], data: new Float32Array(0) },
    ];
    expect(unknown.filter(encodes)).toEqual([]);
    expect(encodeStepRequest({ requestedObservations: ['1'] })).toBeUndefined();
  });

  it('writes messages larger than its memory, and keeps those before', () => {
    const values = [5, 100_000, 7].map((length) => ({
      dtype: 'float64' as const,
      shape: [length],
      data: Float64Array.from({ length }, (_, i) => i / 3),
    }));
    const messages = values.map((value) =>
      encodeResponse({ step: { state: 1, observations: { 1: packTensor(value) } } }),
    );
    const read = messages.map((bytes) => unpackTensor(decodeResponse(bytes).step!.observations![1]));
    expect(read).toEqual(values);
  });
});

it('a 64-bit integer has the same digits in each form', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      const half = (bits: bigint) => Number(BigInt.asIntN(32, bits));
      const long = { low: half(value), high: half(value >> 32n), unsigned: true };
      expect(digitsOf(long)).toBe(value.toString());
      expect(digitsOf(value.toString())).toBe(value.toString());
      if (value <= Number.MAX_SAFE_INTEGER) expect(digitsOf(Number(value))).toBe(value.toString());
    }),
  );
  expect(digitsOf({ low: -1294967296, high: 0, unsigned: true })).toBe('3000000000');
});
