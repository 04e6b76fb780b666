import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodeSafetensors, encodeSafetensors, type SafeFile } from '../../../src/core/safetensors.js';
import { CheckpointStore } from '../../../src/run/checkpoints.js';

const python = process.env.PMPO_PYTHON_SAFETENSORS;
if (python === undefined) throw new Error('run this with `npm run test:interop safetensors`');
const script = fileURLToPath(new URL('peer.py', import.meta.url));

function peer(command: 'read' | 'write', file: string): string {
  return execFileSync(python!, [script, command, file], { encoding: 'utf8', timeout: 60_000 });
}

interface Read {
  readonly tensors: Record<string, { dtype: string; shape: number[]; bytes: string }>;
  readonly metadata: Record<string, string> | null;
}

function hex({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex');
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-safetensors-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("writes files that Python's safetensors reads, bit for bit", async () => {
  const file: SafeFile = {
    tensors: {
      'policy/weight': { dtype: 'F32', shape: [2, 2], data: new Float32Array([0.1, -0, Number.NaN, 1e-45]) },
      'größe "q"': { dtype: 'I32', shape: [3], data: new Int32Array([-1, 2 ** 31 - 1, 0]) },
      double: { dtype: 'F64', shape: [1], data: new Float64Array([Math.PI]) },
      long: { dtype: 'I64', shape: [1], data: new BigInt64Array([-(2n ** 63n)]) },
      byte: { dtype: 'U8', shape: [3], data: new Uint8Array([0, 128, 255]) },
      flag: { dtype: 'BOOL', shape: [2], data: new Uint8Array([1, 0]) },
      half: { dtype: 'F16', shape: [1], data: new Uint16Array([0x3c00]) },
      scalar: { dtype: 'F32', shape: [], data: new Float32Array([7]) },
      empty: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
    },
    metadata: { format: 'test', json: '{"a": 1}' },
  };
  const path = join(folder, 'ours.safetensors');
  await writeFile(path, Buffer.concat(encodeSafetensors(file)));
  const { tensors, metadata } = JSON.parse(peer('read', path)) as Read;
  expect(metadata).toEqual(file.metadata);
  expect(Object.keys(tensors).sort()).toEqual(Object.keys(file.tensors).sort());
  for (const [name, { shape, data }] of Object.entries(file.tensors)) {
    expect(tensors[name]).toMatchObject({ shape, bytes: hex(data) });
  }
  expect([tensors.half!.dtype, tensors.flag!.dtype]).toEqual(['float16', 'bool']);
});

it("reads files that Python's safetensors writes", async () => {
  const path = join(folder, 'theirs.safetensors');
  peer('write', path);
  const { tensors, metadata } = decodeSafetensors(await readFile(path), path);
  expect(metadata).toEqual({ who: 'größer' });
  const numeric = [
    'float64',
    'float32',
    'int64',
    'int32',
    'int16',
    'int8',
    'uint64',
    'uint32',
    'uint16',
    'uint8',
  ];
  for (const name of numeric) {
    expect([...tensors[name]!.data].map(Number)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(tensors[name]!.shape).toEqual([2, 3]);
  }
  expect([...tensors.bool!.data]).toEqual([0, 1, 1, 1, 1, 1]);
  expect([...tensors.float16!.data]).toEqual([0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500]);
  expect(tensors.scalar).toEqual({ dtype: 'F32', shape: [], data: new Float32Array([0.1]) });
  expect(tensors.empty).toEqual({ dtype: 'F32', shape: [0, 4], data: new Float32Array(0) });
});

it('writes checkpoints that Python can open', async () => {
  const store = new CheckpointStore(join(folder, 'checkpoints'));
  const data = new Float32Array([1, 2, 3]);
  const path = await store.save(100, { tensors: { a: { shape: [3], data } }, metadata: { updates: 50 } });
  const { tensors, metadata } = JSON.parse(peer('read', path)) as Read;
  expect(tensors).toEqual({ a: { dtype: 'float32', shape: [3], bytes: hex(data) } });
  expect(JSON.parse(metadata!.metadata!)).toEqual({ updates: 50 });
});
