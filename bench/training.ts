import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median } from '../src/core/statistics.js';
import { program, pythonOf, ratioOf, root, runPython, withServer } from './support/peers.js';

/**
 * `npm run bench training [TASK] [ROUNDS] [STEPS]`: environment steps per second of a training run, with one update for every
 * two steps, batches of 256 and two hidden layers of 256. Compares, in turn, `pmpo train` on `pmpo serve dm-control` (8
 * environments, PMPO with N = 4) with Stable-Baselines3's SAC on the same simulator in its own process. The time runs from the
 * first update to the last and includes acting, stepping, storing and learning, but no evaluation.
 */

const [task = 'walker-walk', roundsGiven = '5', stepsGiven = '8000'] = process.argv.slice(2);
const rounds = Number(roundsGiven);
const steps = Number(stepsGiven);
const warmUp = 1000;

async function ours(address: string): Promise<number> {
  const output = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
  const settings = {
    'environment.address': address,
    'environment.simulator': `suite/${task}`,
    'policy.hidden': '[256, 256]',
    'critic.hidden': '[256, 256]',
    'learner.batchSize': 256,
    'learner.stepsPerUpdate': 2,
    'learner.warmupSteps': warmUp,
    'learner.environmentSteps': warmUp + steps,
    'evaluation.every': 10 * (warmUp + steps),
    'evaluation.episodes': 1,
    'checkpoint.every': 10 * (warmUp + steps),
  };
  const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const config = join(root, 'examples/dm-control/walker-walk.yaml');
  const args = [program, 'train', config, '--output', output, '--name', 'run', '--quiet', ...sets];
  try {
    await promisify(execFile)(process.execPath, args);
    const lines = readFileSync(join(output, 'run/metrics.jsonl'), 'utf8').trim().split('\n');
    const metrics = lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'metrics');
    const first = metrics.find(({ steps: at }) => at >= warmUp);
    const last = metrics.at(-1);
    return (last.steps - first.steps) / (last.wallSeconds - first.wallSeconds);
  } finally {
    rmSync(output, { recursive: true });
  }
}

const python = await pythonOf('sb3');
const pmpo: number[] = [];
const sac: number[] = [];
await withServer(['dm-control'], async (address) => {
  for (let round = 0; round < rounds; round++) {
    pmpo.push(await ours(address));
    console.error(`round ${round + 1}: pmpo ${pmpo[round].toFixed(0)} steps/s`);
    sac.push(Number((await runPython(python, 'training_sb3.py', [task, warmUp, steps])).trim()));
    console.error(`round ${round + 1}: Stable-Baselines3 ${sac[round].toFixed(0)} steps/s`);
  }
});
console.log(
  JSON.stringify({
    benchmark: 'training',
    task,
    cores: availableParallelism(),
    rounds,
    steps,
    stepsPerSecond: { pmpo: median(pmpo), stableBaselines3Sac: median(sac) },
    ratio: ratioOf(pmpo, sac),
  }),
);
