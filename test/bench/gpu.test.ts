import { expect, test } from 'vitest';
import { optionalEngines } from '../../bench/support/engines.js';
import { gpuBenchmarks, requireGpu, runBenchmark } from '../../bench/support/gpu.js';
import { PmpoError } from '../../src/core/errors.js';
import { createEngine } from '../../src/engine/create.js';

const listing = 'GPU 0: NVIDIA H200 (UUID: GPU-1234)\nGPU 1: NVIDIA L4 (UUID: GPU-5678)\n';

test('on a machine without a GPU no benchmark runs, and one line says why', async () => {
  const probes = {
    listGpus: () => {
      throw new Error('spawnSync nvidia-smi ENOENT');
    },
    startCuda: async () => {},
  };
  const run: string[] = [];
  const results = gpuBenchmarks(probes, async (name) => ({ ran: run.push(name) }));
  const failure = await results.catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PmpoError);
  expect((failure as PmpoError).message).toMatch(/^bench gpu: .*no NVIDIA GPU.*nvidia-smi.*$/);
  expect(run).toEqual([]);
});

test('with a GPU both benchmarks run, one after the other', async () => {
  const probes = { listGpus: () => listing, startCuda: async () => {} };
  expect(await gpuBenchmarks(probes, async (name) => ({ ran: name }))).toEqual({
    benchmark: 'gpu',
    gpus: ['NVIDIA H200', 'NVIDIA L4'],
    update: { ran: 'update' },
    lmUpdate: { ran: 'lm-update' },
  });
});

test('a benchmark that fails is an error in one line; otherwise its results are read', async () => {
  const run = (script: string) => runBenchmark('update', process.execPath, ['-e', script]);
  expect(await run('console.log(JSON.stringify({ rounds: 3 }, undefined, 2))')).toEqual({ rounds: 3 });
  const failure = await run('process.exitCode = 3').catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PmpoError);
  expect((failure as PmpoError).message).toMatch(/^bench gpu: `bench update` failed \(exit code 3\)\. .*$/);
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
