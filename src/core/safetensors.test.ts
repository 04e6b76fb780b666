import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PmpoError } from './errors.js';
import { decodeSafetensors, encodeSafetensors, type SafeFile, type SafeTensor } from './safetensors.js';

function encode(file: SafeFile): Uint8Array {
  return new Uint8Array(Buffer.concat(encodeSafetensors(file)));
}

/** A file with a header written by hand. */
function withHeader(header: string, values = 0): Uint8Array {
  const bytes = Buffer.alloc(8 + header.length + values);
  bytes.writeBigUInt64LE(BigInt(header.length));
  bytes.write(header, 8);
  return bytes;
}

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
const dtypes = {
  F32: Float32Array,
  F64: Float64Array,
  I32: Int32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  I64: BigInt64Array,
} as const;
const tensor = fc
  .tuple(fc.constantFrom(...(Object.keys(dtypes) as (keyof typeof dtypes)[])), shapes, fc.nat())
  .map(([dtype, shape, seed]): SafeTensor => {
    const length = shape.reduce((product, size) => product * size, 1);
    // Arbitrary bits: NaNs with payloads and denormals must be preserved too.
    const bits = new Uint8Array(length * dtypes[dtype].BYTES_PER_ELEMENT).map(
      (_, i) => (seed * 31 + i * 97) % 256,
    );
    return { dtype, shape, data: new dtypes[dtype](bits.buffer) };
  });
const names = fc.string({ minLength: 1 }).filter((name) => !name.startsWith('__'));

function bits({ data }: SafeTensor): number[] {
  return [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
}

describe('safetensors', () => {
  it('decodes every tensor to the same bits, whatever its dtype, shape and name', () => {
    fc.assert(
      fc.property(fc.dictionary(names, tensor), fc.dictionary(names, fc.string()), (tensors, metadata) => {
        const back = decodeSafetensors(encode({ tensors, metadata }), 'f');
        expect(Object.keys(back.tensors).sort()).toEqual(Object.keys(tensors).sort());
        expect({ ...back.metadata }).toEqual({ ...metadata });
        for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
          expect(back.tensors[name]).toMatchObject({ dtype, shape });
          expect(bits(back.tensors[name]!)).toEqual(bits({ dtype, shape, data }));
        }
      }),
    );
  });

  it('writes the byte layout that the format specifies', () => {
    const bytes = encode({
      tensors: { a: { dtype: 'F32', shape: [2], data: new Float32Array([1, 2]) } },
      metadata: { k: 'v' },
    });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    expect(JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)).toString())).toEqual({
      __metadata__: { k: 'v' },
      a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
    });
    expect([...bytes.subarray(8 + length)]).toEqual([0, 0, 128, 63, 0, 0, 0, 64]);
  });

  it('decodes bytes of any alignment', () => {
    const bytes = encode({
      tensors: { a: { dtype: 'F32', shape: [2], data: new Float32Array([1.5, -2]) } },
      metadata: {},
    });
    for (let shift = 0; shift < 8; shift++) {
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      expect([...decodeSafetensors(moved.subarray(shift), 'f').tensors.a!.data]).toEqual([1.5, -2]);
    }
  });

  it('names a truncated file, wherever it was cut off', () => {
    const bytes = encode({
      tensors: { a: { dtype: 'F32', shape: [3], data: new Float32Array(3) } },
      metadata: { k: 'v' },
    });
    for (let length = 0; length < bytes.length; length++) {
      const attempt = () => decodeSafetensors(bytes.subarray(0, length), 'runs/x/step-1.safetensors');
      expect(attempt).toThrow(PmpoError);
      expect(attempt).toThrow(/^runs\/x\/step-1\.safetensors: the file is truncated/);
    }
  });

  it.each([
    [withHeader('no JSON'), 'its header is not a JSON object'],
    [withHeader('[]'), 'its header is not a JSON object'],
    [withHeader('{"__metadata__": {"a": 1}}'), '__metadata__ is not an object of strings'],
    [withHeader('{"a": null}'), "tensor 'a' has the unknown dtype"],
    [withHeader('{"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}', 4), 'unknown dtype "F31"'],
    [withHeader('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', 4), 'no valid shape'],
    [withHeader('{"a": {"dtype": "F32", "shape": [1]}}', 4), 'no valid data_offsets'],
    [
      withHeader('{"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 4]}}', 4),
      "tensor 'a' of shape [2, 3] needs 24 bytes and has 4",
    ],
    [
      withHeader('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', 8),
      'leaves a gap after the tensor before it, or overlaps it',
    ],
    [
      withHeader('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', 6),
      '2 bytes follow the last',
    ],
    [Buffer.from('PK\x03\x04 something else entirely'), 'it is not a safetensors file'],
  ])('says what is wrong with a damaged file (%#)', (bytes, message) => {
    expect(() => decodeSafetensors(bytes, 'file')).toThrow(message);
  });

  it('refuses data that do not fill their shape', () => {
    const tensors = { a: { dtype: 'F32', shape: [3], data: new Float32Array(2) } } as const;
    expect(() => encodeSafetensors({ tensors, metadata: {} })).toThrow(RangeError);
  });
});
