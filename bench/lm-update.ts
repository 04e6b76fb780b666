/**
 * Compares the time of one training step of the embedded transformer (forward, backward, Adam; batch 32 × 128 tokens): traced
 * and run by ONNX Runtime, eager in TensorFlow.js on wasm, and in transformers on PyTorch, with two threads each.
 *
 *     npm run bench lm-update [-- --no-wasm] [--rounds N] [--gpu]
 *
 * With --gpu the traced step runs on CUDA, too, and the eager one on tfjs-node-gpu, if that is installed: see gpu.ts.
 */

import { fillIntegers, randomKey } from '../src/core/random-keys.js';
import { createEngine, type EngineOptions } from '../src/engine/create.js';
import type { EngineName } from '../src/engine/engine.js';
import { createPretraining } from '../src/language/embedded/pretraining.js';
import { initTransformer } from '../src/networks/transformer.js';
import { optionalEngines } from './support/engines.js';
import { compare, config, type Side, threads, timed, transformersSide } from './support/language-model.js';
import { load, machine } from './support/machine.js';

const [batch, length] = [32, 128];
const at = process.argv.indexOf('--rounds');
const rounds = at < 0 ? 7 : Number(process.argv[at + 1]);

async function ours(name: string, engineName: EngineName, options: EngineOptions = {}): Promise<Side> {
  const engine = await createEngine(engineName, { threads, ...options });
  const pretraining = createPretraining(engine, config, initTransformer(randomKey(0), config));
  const drawn = fillIntegers(randomKey(1), config.vocabularySize - 3, new Uint32Array(batch * (length + 1)));
  const tokens = Int32Array.from(drawn, (token) => token + 3);
  const lengths = new Int32Array(batch).fill(length + 1);
  return {
    name,
    time: (count) =>
      timed(count, async () => {
        await pretraining.step({ tokens, lengths }, 1e-4);
      }),
    close: () => engine.dispose(),
  };
}

const withWasm = !process.argv.includes('--no-wasm');
const withGpu = process.argv.includes('--gpu');
const eager = optionalEngines(withGpu ? ['tfjs-node-gpu'] : []);
for (const line of Object.values(eager.absent)) console.error(`Left out: ${line}`);
const loadBefore = load();
const sides = [
  await ours('traced', 'onnx'),
  ...(withGpu ? [await ours('tracedCuda', 'onnx', { executionProvider: 'cuda' })] : []),
  ...(await Promise.all(eager.present.map((name) => ours(name, name)))),
  await transformersSide('update', { batch, length }),
  ...(withWasm ? [await ours('wasm', 'wasm')] : []),
];
const { sides: milliseconds, ratio } = await compare(sides, rounds, (name) => (name === 'wasm' ? 1 : 2));
console.log(
  JSON.stringify(
    {
      benchmark: 'lm-update',
      machine: machine(loadBefore),
      ...config,
      batch,
      length,
      threads,
      rounds,
      milliseconds,
      timesTransformers: ratio('traced', 'transformers'),
      ...(withWasm ? { timesFasterThanWasm: ratio('wasm', 'traced') } : {}),
      ...(withGpu ? { timesFasterOnCuda: ratio('traced', 'tracedCuda'), absent: eager.absent } : {}),
    },
    undefined,
    2,
  ),
);
