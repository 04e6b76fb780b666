/**
 * Compares the time of a complete learner update of critics and policy: traced; eager on the wasm backend, as TensorFlow.js ships
 * it and with our engine's faster products of transposed matrices; and in JAX. The time includes random numbers, which JAX draws
 * in the graph and pmpo on the host while earlier updates run. The traced side submits updates as a control job does with its defaults,
 * those of an iteration at once, and as an offline job does, each as soon as an earlier one has ended.
 *
 *   npm run bench update              both operators, all sides
 *   npm run bench update -- --no-jax  without the Python side
 */
import { execFileSync, spawn } from 'node:child_process';
import { cpus, loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { configSchema } from '../src/config/control-schema.js';
import { fillNormal, foldIn, randomKey } from '../src/core/random-keys.js';
import { createFamily } from '../src/distributions/create.js';
import { createEngine } from '../src/engine/create.js';
import type { EngineName } from '../src/engine/engine.js';
import * as tf from '../src/engine/tf.js';
import { createFeedbackRegistry } from '../src/feedback/registry.js';
import { topK } from '../src/feedback/top-k.js';
import { Agent } from '../src/learners/control/agent.js';
import { updateNoise } from '../src/learners/control/noise.js';
import { updatesInFlight } from '../src/learners/offline/train.js';
import { mpo } from '../src/operators/mpo.js';
import { pmpo } from '../src/operators/pmpo.js';
import { createOperatorRegistry } from '../src/operators/registry.js';
import type { TransitionBatch } from '../src/replay/transition-store.js';

const sizes = { observations: 24, actions: 6, hidden: 256, batch: 256 };
const kl = { mean: 2, covariance: 50 };
const rounds = 15;
// The operator and the classifier of the configuration play no part here.
const registries = { operators: createOperatorRegistry(), feedback: createFeedbackRegistry() };
const defaults = configSchema(registries).parse({
  environment: { simulator: 'none' },
  policy: { hidden: [sizes.hidden, sizes.hidden] },
  critic: { hidden: [sizes.hidden, sizes.hidden] },
  learner: { batchSize: sizes.batch },
});
/** How many updates are submitted before one is waited for: in a control job those of one step of its environments. */
const updatesAtHand = {
  control: defaults.environment.numEnvs / defaults.learner.stepsPerUpdate,
  offline: updatesInFlight,
};
/** Whole iterations of a control job, on all fast sides. */
const fastUpdates = 5 * updatesAtHand.control;
const updatesPerRound = {
  traced: fastUpdates,
  tracedOffline: fastUpdates,
  jax: fastUpdates,
  wasm: 1,
  plainWasm: 1,
};

/** Makes updates by calls of `submit`, and waits until they have ended. */
type Schedule = (updates: number, submit: () => Promise<unknown>) => Promise<void>;

/** Submits `size` updates at once and waits for all of them, as a control job does. */
function iterations(size: number): Schedule {
  return async (updates, submit) => {
    for (let left = updates; left > 0; left -= size) {
      await Promise.all(Array.from({ length: Math.min(size, left) }, submit));
    }
  };
}

/** Submits an update when fewer than `size` are under way, as an offline job does. */
function window(size: number): Schedule {
  return async (updates, submit) => {
    const pending: Promise<unknown>[] = [];
    for (let i = 0; i < updates; i++) {
      pending.push(submit());
      if (pending.length >= size) await pending.shift();
    }
    await Promise.all(pending);
  };
}

interface Side {
  readonly name: string;
  /** Milliseconds of one update, averaged over `updates` in a row. */
  time(updates: number): Promise<number>;
  close(): Promise<void>;
}

function randomBatches(count: number): TransitionBatch[] {
  const { batch, observations, actions } = sizes;
  const normal = (name: string, i: number, ...shape: number[]) => ({
    shape,
    data: fillNormal(
      foldIn(foldIn(randomKey(1), name), i),
      new Float32Array(shape.reduce((a, b) => a * b, 1)),
    ),
  });
  return Array.from({ length: count }, (_, i) => {
    const drawn = normal('actions', i, batch, actions);
    return {
      observations: normal('observations', i, batch, observations),
      actions: { shape: drawn.shape, data: drawn.data.map(Math.tanh) },
      returns: normal('returns', i, batch),
      discounts: { shape: [batch], data: new Float32Array(batch).fill(0.95) },
      nextObservations: normal('nextObservations', i, batch, observations),
    };
  });
}

async function ours(
  name: string,
  engineName: EngineName,
  operatorName: 'pmpo' | 'mpo',
  samples: number,
  schedule = iterations(1),
): Promise<Side> {
  const config = { ...defaults, learner: { ...defaults.learner, samples } };
  const engine = await createEngine(engineName);
  const family = createFamily(config.policy, new Int32Array(sizes.actions));
  const agent = new Agent(
    {
      engine,
      config,
      family,
      operator: operatorName === 'pmpo' ? pmpo({ beta: 1, kl }) : mpo(),
      classifier: topK(),
      classifierName: 'top-k',
      observationSize: sizes.observations,
      actionSize: sizes.actions,
      actionMinimum: new Float32Array(sizes.actions).fill(-1),
      actionMaximum: new Float32Array(sizes.actions).fill(1),
      actionValues: new Int32Array(sizes.actions),
    },
    randomKey(0),
  );
  const batches = randomBatches(8);
  const noise = (update: number) =>
    updateNoise(family, foldIn(randomKey(2), update), [samples, sizes.batch, sizes.actions]);
  let update = 0;
  return {
    name,
    time: async (updates) => {
      const start = performance.now();
      // The engine computes on its own thread while this one draws the next noise.
      await schedule(updates, () => {
        const batch = batches[update % batches.length]!;
        return agent.update(update, batch, noise(update++), 1);
      });
      return (performance.now() - start) / updates;
    },
    close: async () => {
      await engine.dispose();
    },
  };
}

/** The wasm engine with TensorFlow.js's original kernel for matrix products while it is timed. */
async function plainWasm(operatorName: 'pmpo' | 'mpo', samples: number): Promise<Side> {
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

async function jax(operator: string, samples: number): Promise<Side> {
  const scripts = fileURLToPath(new URL('../scripts/venv.mjs', import.meta.url));
  const python = execFileSync(process.execPath, [scripts, 'jax'], { encoding: 'utf8' }).trim();
  const program = fileURLToPath(new URL('./update_jax.py', import.meta.url));
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

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(q * (sorted.length - 1))]!;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

async function compare(operator: 'pmpo' | 'mpo', samples: number, withJax: boolean) {
  const sides = [
    await ours('traced', 'onnx', operator, samples, iterations(updatesAtHand.control)),
    await ours('tracedOffline', 'onnx', operator, samples, window(updatesAtHand.offline)),
    ...(withJax ? [await jax(operator, samples)] : []),
    await ours('wasm', 'wasm', operator, samples),
    await plainWasm(operator, samples),
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
    timesFasterThanWasm: round(median('plainWasm') / median('traced')),
    timesFasterThanOurWasm: round(median('wasm') / median('traced')),
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
/** How many processes were ready to run in the last minute, on average: on a quiet machine, fewer than it has cores. */
const load = () => round(loadavg()[0]!);
const loadBefore = load();
const results = [await compare('pmpo', 4, withJax), await compare('mpo', 20, withJax)];
const machine = {
  processor: cpus()[0]?.model.trim(),
  cores: cpus().length,
  load: { before: loadBefore, after: load() },
};
console.log(
  JSON.stringify({ benchmark: 'update', machine, ...sizes, updatesAtHand, rounds, results }, undefined, 2),
);
