/**
 * Compares the time of a complete learner update of critics and policy: traced; eager on the wasm backend, as TensorFlow.js ships
 * it and with our engine's faster products of transposed matrices; eager on TensorFlow's library, if `node scripts/tfjs-node.mjs` has
 * installed it; and in JAX. The time includes random numbers, which JAX draws in the graph and pmpo on the host while earlier updates
 * run. The traced side submits updates as a control job does with its defaults, those of an iteration at once, and as an offline job
 * does, each as soon as an earlier one has ended.
 *
 *   npm run bench update                both operators, all sides
 *   npm run bench update -- --no-jax    without the Python side
 *   npm run bench update -- --no-wasm   without the two on wasm, which take most of the time
 *   npm run bench update -- --gpu       with the traced sides on CUDA, too, and tfjs-node-gpu for tfjs-node: see gpu.ts
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { quantile } from '../src/core/statistics.js';
import type { EngineOptions } from '../src/engine/create.js';
import * as tf from '../src/engine/tf.js';
import { optionalEngines } from './support/engines.js';
import { round } from './support/figures.js';
import { load, machine } from './support/machine.js';
import { pythonOf, root } from './support/peers.js';
import {
  iterations,
  kl,
  ours,
  type Schedule,
  sizes,
  type UpdateSide,
  updatesAtHand,
  window,
} from './support/update-side.js';

const rounds = 15;
/** Whole iterations of a control job, on all fast sides. */
const fastUpdates = 5 * updatesAtHand.control;
const updatesPerRound = {
  traced: fastUpdates,
  tracedOffline: fastUpdates,
  tracedCuda: fastUpdates,
  tracedCudaOffline: fastUpdates,
  jax: fastUpdates,
  'tfjs-node': updatesAtHand.control,
  'tfjs-node-gpu': updatesAtHand.control,
  wasm: 1,
  plainWasm: 1,
};

/** The wasm engine with TensorFlow.js's original kernel for matrix products while it is timed. */
async function plainWasm(operatorName: 'pmpo' | 'mpo', samples: number): Promise<UpdateSide> {
  const original = shippedProduct;
  const side = await ours('plainWasm', 'wasm', operatorName, samples);
  const repaired = tf.getKernel('BatchMatMul', 'wasm')!;
  const use = (kernel: typeof repaired) => {
    tf.unregisterKernel('BatchMatMul', 'wasm');
    tf.registerKernel(kernel);
  };
  return {
    ...side,
    time: async (updates) => {
      use(original);
      try {
        return await side.time(updates);
      } finally {
        use(repaired);
      }
    },
  };
}

async function jax(operator: string, samples: number): Promise<UpdateSide> {
  const python = await pythonOf('jax');
  const program = join(root, 'bench/update_jax.py');
  const child = spawn(python, [program, JSON.stringify({ ...sizes, ...kl, operator, samples })], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, JAX_PLATFORMS: 'cpu' },
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    name: 'jax',
    time: async (updates) => {
      child.stdin.write(`${JSON.stringify({ updates })}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error('the Python process of JAX ended');
      return (JSON.parse(value) as { milliseconds: number }).milliseconds;
    },
    close: async () => {
      child.stdin.end();
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}

async function compare(operator: 'pmpo' | 'mpo', samples: number) {
  const traced = (name: string, schedule: Schedule, options: EngineOptions = {}) =>
    ours(name, 'onnx', operator, samples, schedule, options);
  const control = iterations(updatesAtHand.control);
  const offline = window(updatesAtHand.offline);
  const cuda = { executionProvider: 'cuda' } as const;
  const sides = [
    await traced('traced', control),
    await traced('tracedOffline', offline),
    ...(withGpu
      ? [await traced('tracedCuda', control, cuda), await traced('tracedCudaOffline', offline, cuda)]
      : []),
    ...(withJax ? [await jax(operator, samples)] : []),
    ...(await Promise.all(eager.present.map((name) => ours(name, name, operator, samples)))),
    ...(withWasm ? [await ours('wasm', 'wasm', operator, samples), await plainWasm(operator, samples)] : []),
  ];
  const times = new Map<string, number[]>(sides.map(({ name }) => [name, []]));
  const updates = (name: string) => updatesPerRound[name as keyof typeof updatesPerRound];
  // The first updates include tracing and compilation, so they are not timed.
  for (const side of sides) await side.time(Math.min(2 * updatesAtHand.control, 2 * updates(side.name)));
  for (let i = 0; i < rounds; i++) {
    for (const side of sides) times.get(side.name)!.push(await side.time(updates(side.name)));
  }
  for (const side of sides) await side.close();
  const median = (name: string) => quantile(times.get(name)!, 0.5);
  const best = (name: string) => quantile(times.get(name)!, 0);
  return {
    operator,
    samples,
    milliseconds: Object.fromEntries(
      sides.map(({ name }) => [
        name,
        {
          median: round(median(name)),
          quartiles: [round(quantile(times.get(name)!, 0.25)), round(quantile(times.get(name)!, 0.75))],
          best: round(best(name)),
        },
      ]),
    ),
    ...(withWasm
      ? {
          timesFasterThanWasm: round(median('plainWasm') / median('traced')),
          timesFasterThanOurWasm: round(median('wasm') / median('traced')),
        }
      : {}),
    ...Object.fromEntries(
      eager.present.map((name) => [`timesFasterThan_${name}`, round(median(name) / median('traced'))]),
    ),
    ...(withGpu ? { timesFasterOnCuda: round(median('traced') / median('tracedCuda')) } : {}),
    ...(withJax
      ? {
          timesJax: round(median('traced') / median('jax')),
          timesJaxBest: round(best('traced') / best('jax')),
          timesJaxOffline: round(median('tracedOffline') / median('jax')),
        }
      : {}),
  };
}

await import('@tensorflow/tfjs-backend-wasm');
/** TensorFlow.js's kernel, looked up before an engine replaces it. */
const shippedProduct = tf.getKernel('BatchMatMul', 'wasm')!;
const withJax = !process.argv.includes('--no-jax');
const withWasm = !process.argv.includes('--no-wasm');
const withGpu = process.argv.includes('--gpu');
const eager = optionalEngines([withGpu ? 'tfjs-node-gpu' : 'tfjs-node']);
for (const line of Object.values(eager.absent)) console.error(`Left out: ${line}`);
const loadBefore = load();
const results = [await compare('pmpo', 4), await compare('mpo', 20)];
console.log(
  JSON.stringify(
    {
      benchmark: 'update',
      machine: machine(loadBefore),
      ...sizes,
      updatesAtHand,
      rounds,
      absent: eager.absent,
      results,
    },
    undefined,
    2,
  ),
);
