import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { median } from '../src/core/statistics.js';
import { load, machine } from './support/machine.js';
import { program, root } from './support/peers.js';
import { start } from './support/processes.js';

/**
 * `npm run bench memory [STEPS]`: by how much the memory of a training run grows once its replay is full. Trains a small agent on the
 * embedded cartpole for STEPS environment steps (300,000), with evaluations and checkpoints, in a process of its own, and samples that
 * process's memory. The growth is given twice: the median of the samples in the last tenth of the steps after the replay is full, less that
 * in the first tenth of them; and that of a robust line through the medians of the other nine tenths.
 */

const steps = Number(process.argv[2] ?? 300_000);
const capacity = 10_000;
const sampleEveryMs = 250;
const goalMegabytes = 20;
const settings = {
  'policy.hidden': '[32, 32]',
  'critic.hidden': '[32, 32]',
  'learner.batchSize': 32,
  'learner.stepsPerUpdate': 4,
  'learner.warmupSteps': 1000,
  'learner.environmentSteps': steps,
  'environment.numEnvs': 16,
  'replay.capacity': capacity,
  'evaluation.every': Math.ceil(steps / 20),
  'evaluation.episodes': 2,
  'checkpoint.every': Math.ceil(steps / 20),
};

/** The memory of a process in bytes: what is resident, and what V8 knows of the main thread. */
interface Memory {
  readonly resident: number;
  readonly heap: number;
  readonly arrayBuffers: number;
}
type Sample = Memory & { readonly steps: number };

/** The environment steps of the last record of a run. */
function stepsOf(metricsFile: string): number {
  if (!existsSync(metricsFile)) return 0;
  const text = readFileSync(metricsFile, 'utf8');
  const found = [...text.matchAll(/^\{"kind":"metrics","steps":(\d+)/gm)].at(-1)?.[1];
  return Number(found ?? 0);
}

/** Trains in a process of its own. @returns samples of its memory. */
async function train(output: string): Promise<Sample[]> {
  const sampler = pathToFileURL(join(root, 'bench/support/memory-sampler.mjs')).href;
  const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const config = join(root, 'examples/cartpole.yaml');
  const args = [
    '--import',
    sampler,
    program,
    'train',
    config,
    '--output',
    output,
    '--name',
    'run',
    '--quiet',
  ];
  const training = start(process.execPath, [...args, ...sets], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    env: { ...process.env, PMPO_BENCH_MEMORY_MS: String(sampleEveryMs) },
  });
  const samples: Sample[] = [];
  let said = 0;
  try {
    for await (const line of createInterface({ input: training.child.stdio[3] as Readable })) {
      const sample = { ...(JSON.parse(line) as Memory), steps: stepsOf(join(output, 'run/metrics.jsonl')) };
      samples.push(sample);
      if (sample.steps - said < steps / 10) continue;
      said = sample.steps;
      console.error(`${said} steps: ${megabytes(sample.resident)} MB resident`);
    }
    const code = await training.ended;
    if (code !== 0) throw new Error(`pmpo train ended with ${code}`);
    return samples;
  } finally {
    await training.stop();
  }
}

const round = (value: number) => Math.round(10 * value) / 10;
const megabytes = (bytes: number) => round(bytes / 1e6);

/** The slope of a robust line through values at equal distances: the median of the slopes between all pairs (Theil and Sen). */
function slope(values: readonly number[]): number {
  const pairs = values.flatMap((from, i) => values.slice(i + 1).map((to, j) => (to - from) / (j + 1)));
  return median(pairs);
}

/** The median of each tenth of the steps after the replay is full, in MB. */
function tenths(samples: readonly Sample[], key: keyof Memory): number[] {
  const width = (steps - capacity) / 10;
  return Array.from({ length: 10 }, (_, i) => {
    const [from, to] = [capacity + i * width, capacity + (i + 1) * width];
    const inside = samples.filter((sample) => sample.steps >= from && sample.steps < to);
    return megabytes(median(inside.map((sample) => sample[key])));
  });
}

const output = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
try {
  const [started, loadBefore] = [performance.now(), load()];
  const samples = await train(output);
  const keys = ['resident', 'heap', 'arrayBuffers'] as const;
  const medians = Object.fromEntries(keys.map((key) => [key, tenths(samples, key)]));
  const growth = (key: (typeof keys)[number]) => ({
    lastLessFirst: round(medians[key][9] - medians[key][0]),
    // What the start of the program left behind is collected in the first tenth or after it.
    byLineWithoutFirst: round(9 * slope(medians[key].slice(1))),
  });
  const growthMegabytes = Object.fromEntries(keys.map((key) => [key, growth(key)]));
  console.log(
    JSON.stringify(
      {
        benchmark: 'memory',
        machine: machine(loadBefore),
        steps,
        capacity,
        samples: samples.length,
        seconds: Math.round((performance.now() - started) / 1000),
        medianMegabytesOfEachTenth: medians,
        growthMegabytes,
        goalMegabytes,
      },
      undefined,
      2,
    ),
  );
  process.exitCode = Math.max(...Object.values(growthMegabytes.resident)) < goalMegabytes ? 0 : 1;
} finally {
  rmSync(output, { recursive: true });
}
