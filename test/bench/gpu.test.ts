import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { optionalEngines } from '../../bench/support/engines.js';
import { requireGpu } from '../../bench/support/gpu.js';
import { PmpoError } from '../../src/core/errors.js';
import { createEngine } from '../../src/engine/create.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const listing = 'GPU 0: NVIDIA H200 (UUID: GPU-1234)\nGPU 1: NVIDIA L4 (UUID: GPU-5678)\n';

test('on a machine without a GPU the benchmark says so in one line and fails', () => {
  const args = [join(root, 'node_modules/tsx/dist/cli.mjs'), join(root, 'bench/gpu.ts')];
  // A folder without programs.
  const env = { ...process.env, PATH: join(root, 'proto') };
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr.trim().split('\n')).toEqual([
    expect.stringMatching(/^bench gpu: .*no NVIDIA GPU.*nvidia-smi/),
  ]);
});

test('a list without GPUs counts as none', async () => {
  const probes = { listGpus: () => 'No devices found.\n', startCuda: async () => {} };
  await expect(requireGpu(probes)).rejects.toThrow(/no NVIDIA GPU/);
});

test('GPUs are named, once ONNX Runtime has started on CUDA', async () => {
  const started: string[] = [];
  const probes = { listGpus: () => listing, startCuda: async () => void started.push('cuda') };
  expect(await requireGpu(probes)).toEqual(['NVIDIA H200', 'NVIDIA L4']);
  expect(started).toEqual(['cuda']);
});

test('a GPU without the CUDA libraries of ONNX Runtime is an error that says how to get them', async () => {
  // Its real error, which needs no GPU: an execution provider that this build of ONNX Runtime does not have.
  const startCuda = async () => {
    const unknown = { executionProvider: 'no-such-provider' as 'cuda' };
    await (await createEngine('onnx', unknown)).dispose();
  };
  const failure = await requireGpu({ listGpus: () => listing, startCuda }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PmpoError);
  expect((failure as PmpoError).message).toMatch(/does not start.*install\.js/s);
  expect((failure as PmpoError).message.trim()).not.toContain('\n');
});

test('engines that are not installed are left out, and the reason is kept', () => {
  const find = (name: string) => ({ available: name === 'tfjs-node', detail: `${name}: detail` });
  expect(optionalEngines(['tfjs-node', 'tfjs-node-gpu'], find)).toEqual({
    present: ['tfjs-node'],
    absent: { 'tfjs-node-gpu': 'tfjs-node-gpu: detail' },
  });
});
