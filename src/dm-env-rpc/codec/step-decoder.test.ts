import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DType, TensorData, TensorSpec } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { decodeResponse, environmentService } from './messages.js';
import { StepDecoder } from './step-decoder.js';
import { packTensor, unpackTensor } from './tensors.js';

const encode = (response: wire.EnvironmentResponse): Buffer =>
  environmentService.Process.responseSerialize(response);

/** The result of the general decoder. */
function generally(bytes: Uint8Array, specs: readonly (readonly [string, TensorSpec])[]) {
  const { state = 0, observations = {} } = decodeResponse(bytes).step!;
  return { state, values: specs.map(([uid]) => unpackTensor(observations[uid]!)) };
}

function directly(bytes: Uint8Array, specs: readonly (readonly [string, TensorSpec])[]) {
  const decoder = StepDecoder.of(specs)!;
  const state = decoder.decode(bytes);
  return state === undefined
    ? undefined
    : { state, values: specs.map(([, { name }]) => decoder.values[name]) };
}

const elements: Readonly<Partial<Record<DType, fc.Arbitrary<TensorData>>>> = {
  float32: fc.float32Array({ minLength: 1, maxLength: 12 }),
  float64: fc.float64Array({ minLength: 1, maxLength: 12 }),
  int8: fc.int8Array({ minLength: 1, maxLength: 12 }),
  uint8: fc.uint8Array({ minLength: 1, maxLength: 12 }),
  int32: fc.int32Array({ minLength: 1, maxLength: 12 }),
  uint32: fc.uint32Array({ minLength: 1, maxLength: 12 }),
  int64: fc.bigInt64Array({ minLength: 1, maxLength: 12 }),
  uint64: fc.bigUint64Array({ minLength: 1, maxLength: 12 }),
  bool: fc.uint8Array({ minLength: 1, maxLength: 12, max: 1 }),
};

const tensor = fc
  .constantFrom(...(Object.keys(elements) as DType[]))
  .chain((dtype) =>
    elements[dtype]!.chain((data) =>
      fc
        .constantFrom(
          ...[[data.length], [1, data.length], [data.length, 1, 1], ...(data.length === 1 ? [[]] : [])],
        )
        .map((shape) => ({ dtype, shape, data })),
    ),
  );
const uid = fc.oneof(fc.integer({ min: 0, max: 300 }).map(String), fc.maxSafeNat().map(String));
const answer = fc.record({
  state: fc.integer({ min: 0, max: 3 }),
  tensors: fc.dictionary(uid, tensor, { minKeys: 1, maxKeys: 5, noNullPrototype: true }),
});

/** Specs that fit some tensors. */
const specsOf = (tensors: Record<string, { dtype: DType; shape: readonly number[] }>) =>
  Object.entries(tensors).map(
    ([id, { dtype, shape }]) => [id, { name: `n${id}`, dtype, shape }] as [string, TensorSpec],
  );
const packed = (tensors: Parameters<typeof specsOf>[0]) =>
  Object.fromEntries(Object.entries(tensors).map(([id, t]) => [id, packTensor(t as never)]));

describe('the step decoder', () => {
  it('gives the same as the general decoder', () => {
    fc.assert(
      fc.property(answer, ({ state, tensors }) => {
        const specs = specsOf(tensors);
        const bytes = encode({ step: { state, observations: packed(tensors) } });
        expect(directly(bytes, specs)).toEqual(generally(bytes, specs));
      }),
    );
  });

  it('gives the same, or leaves the response to the general decoder, when bytes are changed', () => {
    let same = 0;
    fc.assert(
      fc.property(answer, fc.nat(), fc.nat(255), fc.boolean(), ({ state, tensors }, at, byte, cut) => {
        const specs = specsOf(tensors);
        const whole = encode({ step: { state, observations: packed(tensors) } });
        const bytes = cut ? whole.subarray(0, at % whole.length) : Buffer.from(whole);
        if (!cut) bytes[at % bytes.length] = byte;
        const direct = directly(bytes, specs);
        if (direct === undefined) return;
        same += 1;
        expect(direct).toEqual(generally(bytes, specs));
      }),
      { numRuns: 1000 },
    );
    expect(same).toBeGreaterThan(0);
  });

  it('overwrites the values of the response before', () => {
    const specs = specsOf({ '5': { dtype: 'float64', shape: [2] } });
    const decoder = StepDecoder.of(specs)!;
    const { data } = decoder.values.n5;
    for (const value of [1, 2]) {
      const observations = { '5': { doubles: { array: [value, -value] }, shape: [2] } };
      expect(decoder.decode(encode({ step: { state: 1, observations } }))).toBe(1);
      expect([...(data as Float64Array)]).toEqual([value, -value]);
    }
  });

  it('broadcasts a single element, and skips observations that were not requested', () => {
    const specs = specsOf({ '5': { dtype: 'float32', shape: [3] } });
    const observations = { '4': { strings: { array: ['?'] } }, '5': { floats: { array: [7] }, shape: [3] } };
    const bytes = encode({ step: { state: 2, observations } });
    expect(directly(bytes, specs)).toEqual(generally(bytes, specs));
    expect(directly(bytes, specs)?.values[0].data).toEqual(Float32Array.of(7, 7, 7));
  });

  const asked = specsOf({ '5': { dtype: 'float32', shape: [2] } });
  const good: wire.Tensor = { floats: { array: [1, 2] }, shape: [2] };
  it.each<[string, wire.EnvironmentResponse]>([
    ['an error', { error: { code: 3, message: 'no' } }],
    ['another response', { reset: {} }],
    ['one observation too few', { step: { state: 1, observations: { '6': good } } }],
    [
      'another dtype',
      { step: { state: 1, observations: { '5': { ...good, floats: null, doubles: { array: [1, 2] } } } } },
    ],
    ['another shape', { step: { state: 1, observations: { '5': { ...good, shape: [1, 2] } } } }],
    ['no shape', { step: { state: 1, observations: { '5': { floats: { array: [1, 2] } } } } }],
    ['too few elements', { step: { state: 1, observations: { '5': { ...good, floats: { array: [] } } } } }],
    [
      'too many elements',
      { step: { state: 1, observations: { '5': { ...good, floats: { array: [1, 2, 3] } } } } },
    ],
  ])('leaves %s to the general decoder', (_what, response) => {
    expect(directly(encode({ step: { state: 1, observations: { '5': good } } }), asked)?.state).toBe(1);
    expect(directly(encode(response), asked)).toBeUndefined();
  });

  it.each<[string, TensorSpec]>([
    ['strings', { name: 'a', dtype: 'string', shape: [] }],
    ['messages', { name: 'a', dtype: 'proto', shape: [] }],
    ['axes of any length', { name: 'a', dtype: 'float32', shape: [-1] }],
    ['nothing', { name: 'a', dtype: 'float32', shape: [0] }],
  ])('is not made for %s', (_what, spec) => {
    expect(StepDecoder.of([['1', spec]])).toBeUndefined();
    expect(
      StepDecoder.of([['18446744073709551615', { name: 'a', dtype: 'int8', shape: [] }]]),
    ).toBeUndefined();
  });
});
