import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median } from '../src/core/statistics.js';
import { load, machine } from './support/machine.js';
import { program, pythonOf, ratioOf, root, runPython, withServer } from './support/peers.js';
import { recordsOf } from './support/records.js';

/**
 * `npm run bench training [-- TASKS] [ROUNDS] [STEPS] [LIBRARIES]`: environment steps per second of a training run, with one update for every
 * two steps, batches of 256 and two hidden layers of 256, on the tasks walker-walk and dog-stand, or others with commas between them.
 * Compares, by turns, `pmpo train` on `pmpo serve dm-control` (PMPO with N = 4) with the SAC of Stable-Baselines3 and of SBX, which
 * is the same in JAX. Both step the same simulators in their own process, 8 environments as ours do; in a single try SBX was faster with
 * 8 than with one. The time begins when functions have been compiled and updates have begun, and ends with the last update; it
 * includes acting, stepping, storing and learning, but no evaluation.
 */

const [
  tasksGiven = 'walker-walk,dog-stand',
  roundsGiven = '3',
  stepsGiven = '5000',
  librariesGiven = 'stable_baselines3,sbx',
] = process.argv.slice(2);
const rounds = Number(roundsGiven);
const steps = Number(stepsGiven);
/** Steps that are not timed; half of them are without updates. */
const skipped = 2000;
const numEnvs = 8;

async function ours(address: string, task: string): Promise<number> {
  const output = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
  const settings = {
    'environment.address': address,
    'environment.simulator': `suite/${task}`,
    'environment.numEnvs': numEnvs,
    'policy.hidden': '[256, 256]',
    'critic.hidden': '[256, 256]',
    'learner.batchSize': 256,
    'learner.stepsPerUpdate': 2,
    'learner.warmupSteps': skipped / 2,
    'learner.environmentSteps': skipped + steps,
    'evaluation.every': 10 * (skipped + steps),
    'evaluation.episodes': 1,
    'checkpoint.every': 10 * (skipped + steps),
  };
  const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const config = join(root, 'bench/support/walker-walk-tuned.yaml');
  const args = [program, 'train', config, '--output', output, '--name', 'run', '--quiet', ...sets];
  try {
    await promisify(execFile)(process.execPath, args);
    const metrics = recordsOf(join(output, 'run'), 'metrics');
    const first = metrics.find(({ steps: at }) => at >= skipped)!;
    const last = metrics.at(-1)!;
    return (last.steps - first.steps) / (last.wallSeconds - first.wallSeconds);
  } finally {
    rmSync(output, { recursive: true });
  }
}

/** The environments of test/interop/requirements of the libraries that ours is compared with, by their names in Python. */
const environments: Readonly<Record<string, string>> = { stable_baselines3: 'sb3', sbx: 'sbx' };
const libraries = librariesGiven.split(',');

async function theirs(library: string, task: string): Promise<number> {
  const args = [library, task, numEnvs, skipped, steps];
  return Number(await runPython(await pythonOf(environments[library]!), 'training_python.py', args));
}

async function compare(address: string, task: string) {
  const loadBefore = load();
  const names = ['pmpo', ...libraries];
  const speeds = new Map<string, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const speed = name === 'pmpo' ? await ours(address, task) : await theirs(name, task);
      speeds.get(name)!.push(speed);
      console.error(`${task}, round ${round + 1}: ${name} ${speed.toFixed(0)} steps/s`);
    }
  }
  return {
    stepsPerSecond: Object.fromEntries([...speeds].map(([name, all]) => [name, median(all)])),
    ratioTo: Object.fromEntries(
      libraries.map((name) => [name, ratioOf(speeds.get('pmpo')!, speeds.get(name)!)]),
    ),
    machine: machine(loadBefore),
  };
}

const tasks = await withServer(['dm-control'], async (address) => {
  const found: Record<string, Awaited<ReturnType<typeof compare>>> = {};
  for (const task of tasksGiven.split(',')) found[task] = await compare(address, task);
  return found;
});
console.log(
  JSON.stringify({
    benchmark: 'training',
    rounds,
    steps,
    goals: { stable_baselines3: 1.5, sbx: 1.2 },
    tasks,
  }),
);
