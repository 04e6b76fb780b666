import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { PmpoError } from '../src/core/errors.js';
import { createEngine } from '../src/engine/create.js';
import { gpuBenchmarks, runBenchmark } from './support/gpu.js';
import { root } from './support/peers.js';

/**
 * `npm run bench gpu`: runs `bench update` and `bench lm-update` on a machine with an NVIDIA GPU, with the traced functions on the CPU
 * and on CUDA, and with tfjs-node-gpu if it is installed, and prints what they print as one JSON object. What the machine lacks is said
 * in one line. Before it: `node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12`, and, for the eager
 * side, `npm install --no-save @tensorflow/tfjs-node-gpu`.
 */

const tsx = join(root, 'node_modules/tsx/dist/cli.mjs');

try {
  const probes = {
    listGpus: () =>
      execFileSync('nvidia-smi', ['-L'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    startCuda: async () => (await createEngine('onnx', { executionProvider: 'cuda' })).dispose(),
  };
  const results = await gpuBenchmarks(probes, (name) =>
    runBenchmark(name, process.execPath, [tsx, join(root, `bench/${name}.ts`), '--gpu', '--no-wasm']),
  );
  console.log(JSON.stringify(results, undefined, 2));
} catch (error) {
  if (!(error instanceof PmpoError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
