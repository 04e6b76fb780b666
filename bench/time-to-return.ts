import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { mean, median } from '../src/core/statistics.js';
import { load, machine } from './support/machine.js';
import { program, pythonOf, root, withServer } from './support/peers.js';
import { recordsOf } from './support/records.js';

/**
 * `npm run bench time-to-return [SEEDS] [LIMIT_SECONDS]`: wall time to a mean return of 700 over 10 evaluation episodes on
 * cartpole_swingup. Compares pmpo (examples/cartpole.yaml) with Stable-Baselines3's SAC with its defaults, one run at a time,
 * each on a separate server process. Both are evaluated every 5,000 steps, and the evaluations count as time.
 */

const target = 700;
const every = 5000;
const [seedCount = '3', limitSeconds = '900'] = process.argv.slice(2);
const limit = Number(limitSeconds);

interface Point {
  readonly steps: number;
  readonly seconds: number;
  readonly return: number;
}

interface Outcome {
  readonly seed: number;
  /** Absent if the run reached the time limit first. */
  readonly secondsToTarget?: number;
  readonly stepsToTarget?: number;
  readonly bestReturn: number;
}

function outcome(seed: number, points: readonly Point[]): Outcome {
  const reached = points.find((point) => point.return >= target);
  const bestReturn = Math.max(...points.map((point) => point.return));
  return { seed, bestReturn, secondsToTarget: reached?.seconds, stepsToTarget: reached?.steps };
}

function finished(child: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`the run ended with ${code}`))));
  });
}

async function ours(address: string, seed: number): Promise<Outcome> {
  const output = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
  const config = join(root, 'examples/cartpole.yaml');
  const settings = [`environment.address=${address}`, `evaluation.every=${every}`].flatMap((s) => [
    '--set',
    s,
  ]);
  const args = [
    program,
    'train',
    config,
    '--seed',
    String(seed),
    '--output',
    output,
    '--name',
    'run',
    '--quiet',
  ];
  await finished(spawn(process.execPath, [...args, ...settings], { stdio: ['ignore', 'ignore', 'inherit'] }));
  const points = recordsOf(join(output, 'run'), 'evaluation').map(({ steps, wallSeconds, scores }) => ({
    steps,
    seconds: wallSeconds,
    return: mean(scores),
  }));
  rmSync(output, { recursive: true });
  return outcome(seed, points);
}

async function stableBaselines(python: string, address: string, seed: number): Promise<Outcome> {
  const script = join(root, 'bench/time_to_return_sb3.py');
  const args = [script, address, 'cartpole_swingup', target, seed, every, limit].map(String);
  const child = spawn(python, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const points: Point[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{')) return;
    points.push(JSON.parse(line));
    console.error(`SAC, seed ${seed}: ${line}`);
  });
  await finished(child);
  return outcome(seed, points);
}

const loadBefore = load();
const python = await pythonOf('sb3');
const pmpo: Outcome[] = [];
const sac: Outcome[] = [];
for (let seed = 0; seed < Number(seedCount); seed++) {
  pmpo.push(await withServer(['simulators'], (address) => ours(address, seed)));
  console.error(`pmpo, seed ${seed}: ${JSON.stringify(pmpo[seed])}`);
  sac.push(await withServer(['simulators'], (address) => stableBaselines(python, address, seed)));
}
// A run that did not reach the target would take at least the limit, so the ratio is then a lower bound.
const seconds = (outcomes: readonly Outcome[]) => median(outcomes.map((o) => o.secondsToTarget ?? limit));
console.log(
  JSON.stringify({
    benchmark: 'time-to-return',
    machine: machine(loadBefore),
    simulator: 'cartpole_swingup',
    target,
    limitSeconds: limit,
    pmpo,
    stableBaselines3Sac: sac,
    medianSeconds: { pmpo: seconds(pmpo), stableBaselines3Sac: seconds(sac) },
    ratio: seconds(sac) / seconds(pmpo),
    ratioIsLowerBound: sac.some((o) => o.secondsToTarget === undefined),
  }),
);
