import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { decodeSafetensors, encodeSafetensors } from '../core/safetensors.js';
import { seal, sealOf } from '../core/safetensors-seal.js';
import { readSafetensorsFile } from './safetensors-file.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-safetensors-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tensors = {
  floats: { dtype: 'F32', shape: [3, 5], data: Float32Array.from({ length: 15 }, (_, i) => Math.sin(i)) },
  doubles: { dtype: 'F64', shape: [2], data: Float64Array.of(0.1, -1e300) },
  bytes: { dtype: 'U8', shape: [21], data: Uint8Array.from({ length: 21 }, (_, i) => 11 * i) },
  nothing: { dtype: 'I32', shape: [0], data: new Int32Array() },
} as const;

async function write(name: string, metadata: Readonly<Record<string, string>>, isSealed: boolean) {
  const file = join(folder, name);
  const parts = encodeSafetensors({ tensors, metadata });
  await writeFile(file, Buffer.concat(isSealed ? seal(parts) : parts));
  return file;
}

describe('a safetensors file', () => {
  it.each([1, 7, 8, 64, 2 ** 30])('is read in portions of %i bytes', async (portion) => {
    const file = await write('whole', { format: 'pt', ...sealOf }, true);
    const read = await readSafetensorsFile(file, { portion });
    expect(read.hasChecksum).toBe(true);
    expect(read.tensors).toEqual(tensors);
    expect(read.metadata).toEqual(decodeSafetensors(await readFile(file), file).metadata);
  });

  it('is refused if any bit of it has changed', async () => {
    const bytes = await readFile(await write('damaged', { ...sealOf }, true));
    const file = join(folder, 'flipped');
    for (let at = 0; at < bytes.length; at += 3) {
      const flipped = Buffer.from(bytes);
      flipped[at] ^= 1 << (at % 8);
      await writeFile(file, flipped);
      const read = await readSafetensorsFile(file).catch((error: unknown) => error);
      // A file whose checksum has another name says that it has none.
      if (read instanceof PmpoError) expect(read.message).toContain(file);
      else expect(read).toMatchObject({ hasChecksum: false, tensors });
    }
  });

  it('of others may have an entry of the same name', async () => {
    const file = await write('foreign', { sha256: '5'.repeat(64) }, false);
    await expect(readSafetensorsFile(file)).rejects.toThrow(/does not have the checksum/);
    expect((await readSafetensorsFile(file, { checksum: false })).tensors).toEqual(tensors);
    const plain = await write('plain', {}, false);
    expect(await readSafetensorsFile(plain)).toMatchObject({ hasChecksum: false, tensors });
  });

  it('that is missing or cut is refused with its name', async () => {
    await expect(readSafetensorsFile(join(folder, 'none'))).rejects.toThrow(
      /none: reading it failed: there is no such file/,
    );
    const bytes = await readFile(await write('cut', {}, false));
    const file = join(folder, 'short');
    for (const length of [0, 5, 40, bytes.length - 1]) {
      await writeFile(file, bytes.subarray(0, length));
      await expect(readSafetensorsFile(file)).rejects.toThrow(/short: the file is truncated/);
    }
  });
});
