import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { mean } from '../src/core/statistics.js';
import { renderFigureSvg } from '../src/report/panels.js';
import type { RunData } from '../src/report/run-data.js';
import { pythonOf, root } from './support/peers.js';

/**
 * `npm run bench cleanrl [-- SEEDS]`: learning curves of CleanRL's SAC and of the same script with plugins/python/cleanrl's diff, on
 * Pendulum-v0, with seeds 1 to SEEDS (3). CleanRL takes seed 0 for none. The returns are those of the training episodes, whose actions are
 * sampled. Writes results/cleanrl/.
 */

const seedCount = Number(process.argv[2] ?? 3);
if (!Number.isInteger(seedCount) || seedCount < 1)
  throw new Error(`SEEDS is ${process.argv[2]}, not a number of seeds`);
const seeds = Array.from({ length: seedCount }, (_, i) => i + 1);
const task = 'Pendulum-v0';
const settings = { 'learning-starts': 1000, 'total-timesteps': 8000, tau: 0.01 };
const episodesPerPoint = 5;
const episodeSteps = 200;

const python = await pythonOf('cleanrl');
const folder = mkdtempSync(join(tmpdir(), 'pmpo-cleanrl-'));
const name = 'sac_continuous_action';

/** CleanRL's script as its package has it, in a folder of its own. */
function scriptIn(side: string): string {
  const target = join(folder, side, 'cleanrl');
  mkdirSync(target, { recursive: true });
  const find =
    "import importlib.util; print(importlib.util.find_spec('cleanrl').submodule_search_locations[0])";
  const { stdout } = spawnSync(python, ['-c', find], { encoding: 'utf8' });
  copyFileSync(join(stdout.trim(), `${name}.py`), join(target, `${name}.py`));
  return join(target, `${name}.py`);
}

function changedScript(): string {
  const script = scriptIn('changed');
  const diff = join(root, `plugins/python/cleanrl/${name}.diff`);
  const { status, stderr } = spawnSync('git', ['apply', '-p0', diff], {
    cwd: join(folder, 'changed'),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the diff cannot be applied: ${stderr}`);
  return script;
}

/** The returns of the training episodes of one run. */
async function returnsOf(script: string, seed: number): Promise<number[]> {
  const options = { ...settings, 'gym-id': task, cuda: 'False', seed };
  const args = Object.entries(options).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const child = spawn(python, [join(root, 'test/interop/cleanrl/run_script.py'), script, ...args], {
    cwd: folder,
    env: { ...process.env, PYTHONPATH: join(root, 'plugins/python'), OMP_NUM_THREADS: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = `${errors}${text}`.slice(-2000);
  });
  const returns: number[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('return ')) returns.push(Number(line.slice('return '.length)));
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`CleanRL's script ended with ${code}: ${errors}`);
  return returns;
}

const sides = { "CleanRL's SAC": scriptIn('original'), 'with the diff: PMPO': changedScript() };
const rows: { label: string; seed: number; returns: number[] }[] = [];
for (const seed of seeds) {
  for (const [label, script] of Object.entries(sides)) {
    console.error(`${label}, seed ${seed} …`);
    const returns = await returnsOf(script, seed);
    console.error(returns.map(Math.round).join(' '));
    rows.push({ label, seed, returns });
  }
}
rmSync(folder, { recursive: true });

const points = settings['total-timesteps'] / (episodesPerPoint * episodeSteps);
const pointOf = (returns: readonly number[], i: number) =>
  returns.slice(i * episodesPerPoint, (i + 1) * episodesPerPoint);
const runs = rows.map(({ label, seed, returns }): RunData => {
  const evaluations = Array.from({ length: points }, (_, i) => ({
    kind: 'evaluation' as const,
    steps: (i + 1) * episodesPerPoint * episodeSteps,
    stepUnit: 'environment steps' as const,
    scoreName: 'return' as const,
    updates: 0,
    wallSeconds: 0,
    scores: pointOf(returns, i),
  }));
  return {
    name: `${label} ${seed}`,
    label,
    operator: label,
    feedback: '',
    environment: task,
    kind: 'control',
    seed,
    status: 'finished',
    config: '',
    settings: {},
    metrics: [],
    evaluations,
    notices: [],
  };
});
const lines = Object.keys(sides).map((label) => ({
  label,
  runs: { [task]: runs.filter((run) => run.label === label) },
}));
const figure = await renderFigureSvg({ title: task, panels: [{ title: task, lines }] });
const table = rows.map(({ label, seed, returns }) => {
  const cells = Array.from({ length: points }, (_, i) => Math.round(mean(pointOf(returns, i))));
  return `| ${[label, seed, ...cells].join(' | ')} |`;
});
const heads = Array.from({ length: points }, (_, i) => `${i * 1000}–${(i + 1) * 1000}`);
const optionsText = Object.entries(settings)
  .map(([key, value]) => `--${key} ${value}`)
  .join(' ');
const output = join(root, 'results/cleanrl');
mkdirSync(output, { recursive: true });
writeFileSync(
  join(output, 'rows.json'),
  `${JSON.stringify({ task, settings, cpu: cpus()[0]?.model, rows })}\n`,
);
writeFileSync(join(output, 'curves.svg'), figure);
writeFileSync(
  join(output, 'README.md'),
  `# CleanRL's script with the actor's loss swapped

The mean return of ${task}'s training episodes, five for each thousand steps, with CleanRL's own script (SAC) and with
[the diff](../../plugins/python/cleanrl/${name}.diff), which swaps the actor (a Gaussian clipped at the bounds instead of squashed, with smaller
initial outputs), its loss, and the critics that it asks (the targets), and takes the entropy bonus away. The options of both are
\`${optionsText}\`; actions are random until learning starts. Made by \`npm run bench cleanrl\` ([rows.json](rows.json)).

![Learning curves](curves.svg)

| | Seed | ${heads.join(' | ')} |
| --- | --- |${' --- |'.repeat(points)}
${table.join('\n')}
`,
);
console.log(readFileSync(join(output, 'README.md'), 'utf8'));
