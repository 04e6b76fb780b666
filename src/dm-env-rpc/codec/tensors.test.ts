import { describe, expect, it } from 'vitest';
import { PmpoError } from '../../core/errors.js';
import type { DType, TensorSpec, TensorValue } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { environmentService } from './messages.js';
import { type PlainSettings, packSettings, type SettingValue, withoutType } from './settings.js';
import { packSpecs, packTensor, unpackSetting, unpackSpec, unpackTensor, unpackTensorOf } from './tensors.js';

const { requestSerialize, requestDeserialize } = environmentService.Process;

/** Encodes a tensor in a message and decodes it again. */
function throughTheWire(tensor: wire.Tensor): wire.Tensor {
  const request: wire.EnvironmentRequest = { step: { actions: { '7': tensor } } };
  const decoded = requestDeserialize(requestSerialize(request)) as wire.EnvironmentRequest;
  return decoded.step!.actions!['7'];
}

const values: TensorValue[] = [
  { dtype: 'float32', shape: [2, 2], data: Float32Array.of(1.5, -0, 3e38, 1e-40) },
  { dtype: 'float64', shape: [2], data: Float64Array.of(Math.PI, -1e300) },
  { dtype: 'int8', shape: [3], data: Int8Array.of(-128, 0, 127) },
  { dtype: 'int32', shape: [2], data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1) },
  { dtype: 'int64', shape: [2], data: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n) },
  { dtype: 'uint8', shape: [2], data: Uint8Array.of(0, 255) },
  { dtype: 'uint32', shape: [1], data: Uint32Array.of(2 ** 32 - 1) },
  { dtype: 'uint64', shape: [2], data: BigUint64Array.of(0n, 2n ** 64n - 1n) },
  { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
  { dtype: 'string', shape: [2], data: ['', 'größer ✓'] },
  { dtype: 'proto', shape: [1], data: [{ typeUrl: 'x/y.Z', value: Uint8Array.of(1, 2) }] },
  { dtype: 'float32', shape: [], data: Float32Array.of(4) },
  { dtype: 'float32', shape: [0, 3], data: new Float32Array() },
];

describe('tensors', () => {
  it.each(values.map((value) => [value.dtype, value] as const))(
    'of %s keep their values on the wire',
    (_dtype, value) => {
      const back = unpackTensor(throughTheWire(packTensor(value)));
      expect(back.dtype).toBe(value.dtype);
      expect(back.shape).toEqual(value.shape);
      if (value.dtype !== 'proto') expect(back.data).toEqual(value.data);
      else {
        const [message] = back.data as { typeUrl: string; value: Uint8Array }[];
        expect(message.typeUrl).toBe('x/y.Z');
        expect([...message.value]).toEqual([1, 2]);
      }
    },
  );

  it('are broadcast from a single element', () => {
    const { data, shape } = unpackTensor({ int32s: { array: [7] }, shape: [2, 3] });
    expect(shape).toEqual([2, 3]);
    expect(data).toEqual(Int32Array.of(7, 7, 7, 7, 7, 7));
  });

  it('have at most one axis of unknown length', () => {
    expect(unpackTensor({ floats: { array: [1, 2, 3, 4, 5, 6] }, shape: [-1, 3] }).shape).toEqual([2, 3]);
    expect(() => unpackTensor({ floats: { array: [1, 2] }, shape: [-1, -1] })).toThrow(/unknown length/);
    expect(() => unpackTensor({ floats: { array: [1, 2, 3] }, shape: [-1, 2] })).toThrow(/do not fill/);
  });

  it('are refused if they do not fill their shape or have no payload', () => {
    expect(() => unpackTensor({ floats: { array: [1, 2] }, shape: [3] })).toThrow(PmpoError);
    expect(() => unpackTensor({ shape: [3] })).toThrow(/no payload/);
    expect(() => packTensor({ dtype: 'float32', shape: [2], data: Float32Array.of(1) })).toThrow(PmpoError);
  });
});

describe('tensors of a spec', () => {
  const spec: TensorSpec = { name: 'state', shape: [3], dtype: 'float32' };

  it('keep their elements, or have one for all', () => {
    expect(unpackTensorOf('observation', spec, { floats: { array: [1, 2, 3] }, shape: [3] }).data).toEqual(
      Float32Array.of(1, 2, 3),
    );
    expect(unpackTensorOf('observation', spec, { floats: { array: [4] }, shape: [3] }).data).toEqual(
      Float32Array.of(4, 4, 4),
    );
    const open: TensorSpec = { ...spec, shape: [-1] };
    expect(unpackTensorOf('observation', open, { floats: { array: [1, 2] }, shape: [2] }).shape).toEqual([2]);
  });

  it.each<[string, wire.Tensor, RegExp]>([
    [
      'another shape',
      { floats: { array: [1, 2] }, shape: [2] },
      /it is float32 \[2\], but its spec is float32 \[3\]/,
    ],
    ['another dtype', { doubles: { array: [1] }, shape: [3] }, /it is float64 \[3\]/],
    ['no payload', { shape: [3] }, /'state': a tensor has no payload/],
    ['too few elements', { floats: { array: [1, 2] }, shape: [3] }, /2 elements do not fill the shape \[3\]/],
    ['a huge shape', { floats: { array: [1] }, shape: [2 ** 31 - 1] }, /it is float32 \[2147483647\]/],
    ['many axes', { floats: { array: [1] }, shape: Array(1000).fill(1) }, /a shape has 1000 axes/],
  ])('are refused for %s, by the name of the spec', (_what, message, why) => {
    expect(() => unpackTensorOf('observation', spec, message)).toThrow(why);
  });

  it('are not broadcast to a huge shape', () => {
    const strings: wire.Tensor = { strings: { array: ['a'] }, shape: [2 ** 31 - 1] };
    const before = process.memoryUsage().rss;
    expect(() => unpackTensor(strings)).toThrow(
      /one element cannot be broadcast to the shape \[2147483647\]/,
    );
    const open: TensorSpec = { name: 'text', shape: [-1], dtype: 'string' };
    expect(() => unpackTensorOf('action', open, strings)).toThrow(
      /action 'text': one element cannot be broadcast/,
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 26);
  });
});

describe('map keys', () => {
  it('of 64 bits are decimal digits of any size', () => {
    const actions = Object.fromEntries(
      ['0', '1', '300', '12345678', '18446744073709551615'].map((uid) => [uid, { floats: { array: [1] } }]),
    );
    const decoded = requestDeserialize(requestSerialize({ step: { actions } })) as wire.EnvironmentRequest;
    expect(Object.keys(decoded.step!.actions!)).toEqual(Object.keys(actions));
  });
});

describe('settings', () => {
  const sent = (settings: PlainSettings) =>
    Object.fromEntries(
      Object.entries(packSettings(settings)).map(([name, tensor]) => [name, throughTheWire(tensor)]),
    );

  it.each(['text', true, false, 3, -5, 2.5, 2 ** 40])('%s keeps its value', (value) => {
    expect(unpackSetting(sent({ a: value }).a)).toBe(value);
  });

  it.each<[SettingValue, DType, number]>([
    [10, 'int32', 10],
    [2 ** 40, 'int64', 2 ** 40],
    [0.5, 'float64', 0.5],
    [{ double: 10 }, 'float64', 10],
    [{ float: 0.5 }, 'float32', 0.5],
    [{ int64: -7 }, 'int64', -7],
    [{ uint8: 200 }, 'uint8', 200],
    [{ int8: -128 }, 'int8', -128],
    [{ uint64: 2 ** 40 }, 'uint64', 2 ** 40],
  ])('%j is sent as %s', (value, dtype, number) => {
    const { a } = sent({ a: value });
    expect(unpackTensor(a).dtype).toBe(dtype);
    expect(unpackSetting(a)).toBe(number);
    expect(withoutType('a', value)).toBe(number);
  });

  it('are of one type if they are seeds', () => {
    for (const seed of [0, 5, 2 ** 31, 2 ** 40])
      expect(unpackTensor(sent({ seed }).seed).dtype).toBe('int64');
  });

  it.each<[SettingValue]>([
    [{}],
    [{ int8: 200 }],
    [{ uint32: -1 }],
    [{ int32: 0.5 }],
    [{ double: 1, float: 1 }],
    [{ real: 1 } as SettingValue],
  ])('of %j are refused', (value) => {
    expect(() => packSettings({ a: value })).toThrow(/setting 'a': .*Write \{double: 10\}/);
  });
});

describe('specs', () => {
  const specs: Record<string, TensorSpec> = {
    plain: { name: 'plain', shape: [2], dtype: 'float32' },
    bounded: { name: 'bounded', shape: [2], dtype: 'float64', minimum: [-1, -2], maximum: 3 },
    whole: { name: 'whole', shape: [], dtype: 'int64', minimum: -4, maximum: 9 },
    text: { name: 'text', shape: [-1], dtype: 'string' },
  };

  it('keep their content, by name', () => {
    const { byUid, uids } = packSpecs(specs);
    const back = Object.values(byUid).map(unpackSpec);
    expect(back).toEqual(Object.values(specs));
    expect([...uids.values()]).toEqual(Object.keys(specs));
  });

  it.each<[string, wire.TensorSpec]>([
    ['an unknown data type', { name: 'x', dtype: 99 }],
    ['a name of 300 characters', { name: 'x'.repeat(300), dtype: 1 }],
    ['65 axes', { name: 'x', dtype: 1, shape: Array(65).fill(1) }],
    ['two unknown axes', { name: 'x', dtype: 1, shape: [-1, -1] }],
    [
      'bounds that do not fit the shape',
      { name: 'x', dtype: 1, shape: [3], min: { floats: { array: [1, 2] } } },
    ],
  ])('with %s are refused', (_what, spec) => {
    expect(() => unpackSpec(spec)).toThrow(PmpoError);
  });
});
