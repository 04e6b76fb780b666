import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../src/config/load.js';
import { parseOverride } from '../src/config/source.js';
import { canonicalJson } from '../src/core/canonical-json.js';
import { divergedPhrase } from '../src/core/errors.js';
import { mean } from '../src/core/statistics.js';
import { packageVersion } from '../src/core/version.js';
import { type ExplorationNoise, noiseProcesses } from '../src/learners/control/acting-noise.js';
import { explorationEpsilons } from '../src/learners/control/exploration.js';
import { returnSteps } from '../src/learners/control/return-steps.js';
import { readRun } from '../src/report/run-data.js';
import {
  currentRows,
  type DefaultsRow,
  defaultsTable,
  keyOf,
  type RunKey,
  type Task,
  tasks,
} from './support/defaults-table.js';
import { program, pythonOf, type RunningServer, root, startOwnServer, startServer } from './support/peers.js';

/**
 * `npm run bench defaults [-- OPTIONS]`: what configurations of one line learn. Trains on each task with each seed by the built
 * program, one process for each run; adds a row for each finished run to results/defaults/rows.jsonl, and writes the table
 * results/defaults/README.md from the rows. Runs that have a row of today's defaults are skipped, and a run that was stopped
 * (Ctrl-C, or the end of the budget) resumes from its checkpoint.
 *
 *   --only catch,reacher      these tasks
 *   --operators pmpo,mpo      these operators
 *   --seeds 3                 seeds 0, 1 and 2; or a list, 1,4
 *   --jobs 2                  runs at once, each with its share of the cores
 *   --budget-minutes 30       stop after this time
 *   --again                   run again what has a row
 *   --set KEY=VALUE           try a setting in every run; needs --output
 *   --output FOLDER           for rows and table, default results/defaults
 *   --table                   only write the table
 */

const usage = 'see the head of bench/defaults.ts for the options';
const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    operators: { type: 'string' },
    seeds: { type: 'string', default: '3' },
    jobs: { type: 'string', default: '1' },
    'budget-minutes': { type: 'string' },
    again: { type: 'boolean', default: false },
    set: { type: 'string', multiple: true, default: [] },
    output: { type: 'string', default: 'results/defaults' },
    table: { type: 'boolean', default: false },
  },
});

/** Ends the program with a line. */
function refuse(what: string): never {
  console.error(`bench defaults: ${what}; ${usage}`);
  process.exit(2);
}

/** The names in a list option, each of which must be known. */
function chosen(option: 'only' | 'operators', known: readonly string[]): readonly string[] {
  const names = options[option]?.split(',') ?? known;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) refuse(`--${option}: unknown ${unknown.join(', ')}. There are ${known.join(', ')}`);
  return names;
}

function seedsOf(text: string): readonly number[] {
  const numbers = text.split(',').map(Number);
  if (!numbers.every((n) => Number.isSafeInteger(n) && n >= 0)) refuse(`--seeds ${text}: not whole numbers`);
  return text.includes(',') ? numbers : Array.from({ length: numbers[0] }, (_, seed) => seed);
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) refuse(`--${option} ${text}: not a positive number`);
  return value;
}

const evaluationEpisodes = 100;
const midwayEvaluations = 10;
const midwayEpisodes = 5;
const output = resolve(root, options.output);
const jobs = positive('jobs', options.jobs);
const seeds = seedsOf(options.seeds);
const settings = Object.fromEntries(
  options.set.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
);
if (options.set.length > 0 && options.output === 'results/defaults') {
  refuse('--set is for trials, whose rows must not mix with those of the defaults: give --output FOLDER');
}
const rowsFile = join(output, 'rows.jsonl');
const tableFile = join(output, 'README.md');
/** The folders of the runs, below `runs/`, which git ignores. */
const runsFolder = join(root, 'runs/defaults', relative(root, output).replaceAll(/[^\w]+/g, '-'));
const commit = execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();

interface Run extends RunKey {
  readonly definition: Task;
}

/** The text of a run's configuration. */
function configOf({ definition, operator }: Run, address: string | undefined): string {
  const { simulator, goal } = definition;
  const place = { ...(address && { address }), ...(simulator && { simulator }) };
  if (operator === 'example') {
    if (typeof goal === 'number') throw new Error(`${definition.name} has no tuned example`);
    const tuned = parse(readFileSync(join(root, goal.example), 'utf8'));
    return stringify({ ...tuned, environment: { ...tuned.environment, ...place } });
  }
  const named = operator === 'pmpo' ? {} : { operator: { name: operator } };
  return stringify({ environment: place, ...named });
}

/** The settings that are given on the command line: the run's length, the times of its evaluations, and trials. */
function overridesOf({ definition: { steps } }: Run): string[] {
  return [
    `learner.environmentSteps=${steps}`,
    `evaluation.every=${steps / midwayEvaluations}`,
    `evaluation.episodes=${midwayEpisodes}`,
    ...options.set,
  ];
}

/** A digest of every setting of a run that affects what it learns. */
async function digestOf(run: Run): Promise<string> {
  const overrides = overridesOf(run).map(parseOverride);
  const file = join(runsFolder, 'configs', `${keyOf(run)}.yaml`);
  mkdirSync(join(runsFolder, 'configs'), { recursive: true });
  // The address is not known yet, and is not part of the digest.
  writeFileSync(file, configOf(run, run.definition.server === 'embedded' ? undefined : '127.0.0.1:1'));
  const { config } = await loadConfig(file, overrides);
  const {
    output: _,
    name,
    seed,
    plugins,
    threads,
    evaluation,
    checkpoint,
    environment,
    ...learning
  } = config;
  const { address, ...place } = environment;
  // Defaults that depend on the actions are not in the configuration.
  const values = Int32Array.of(run.definition.actions === 'continuous' ? 0 : 2);
  const { explorationEpsilon } = learning.learner;
  const byActions = {
    ...noiseOf(learning.learner, values),
    epsilons: explorationEpsilons(explorationEpsilon, run.definition.actions, place.numEnvs),
    nStep: returnSteps(learning.replay, values),
  };
  const learner = {
    ...learning.learner,
    explorationCorrelation: undefined,
    explorationSwing: undefined,
    explorationEpsilon: undefined,
  };
  const replay = { ...learning.replay, nStep: undefined };
  return createHash('sha256')
    .update(canonicalJson({ place, ...learning, learner, replay, byActions }))
    .digest('hex')
    .slice(0, 12);
}

/** The noise of acting, as the digests of earlier rows have it: noise that decays by its correlations. */
function noiseOf(learner: ExplorationNoise, actionValues: Int32Array) {
  const noise = noiseProcesses(learner, actionValues);
  const decaying = noise.flatMap((one) => ('correlation' in one ? [one.correlation] : []));
  return decaying.length === noise.length ? { correlations: decaying } : { noise };
}

function readRows(): DefaultsRow[] {
  if (!existsSync(rowsFile)) return [];
  const text = readFileSync(rowsFile, 'utf8').trim();
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line));
}

/** The children that train or evaluate, and whether they have been told to stop. */
const children = new Set<ChildProcess>();
let stopping = false;

/** Stops the runs, which save a checkpoint. */
function stop(why: string): void {
  if (stopping) return;
  stopping = true;
  console.error(`${why}: the runs save a checkpoint; the same command resumes them`);
  for (const child of children) child.kill('SIGINT');
}

/** Runs the built program to its end. */
async function pmpo(args: readonly string[]) {
  // In a process group of its own, so that Ctrl-C reaches it once, through `stop`.
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  children.add(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((done) => child.once('close', done));
  children.delete(child);
  return { code, stdout, stderr };
}

const servers = new Map<string, Promise<RunningServer>>();

/** The address of a task's server, which is started once. */
async function addressOf({ server }: Task): Promise<string | undefined> {
  if (server === 'embedded') return undefined;
  let running = servers.get(server);
  if (running === undefined) {
    running =
      server === 'catch'
        ? pythonOf('dm_env_rpc').then((python) => startServer(python, [join(root, 'bench/catch_server.py')]))
        : startOwnServer(server === 'gymnasium' ? ['gymnasium', '--with', 'box2d'] : [server]);
    servers.set(server, running);
  }
  return (await running).address;
}

/** Trains, or resumes, and evaluates one run. Undefined if it was stopped. */
async function train(run: Run, digest: string): Promise<DefaultsRow | undefined> {
  const { task, operator, seed, definition } = run;
  const address = await addressOf(definition);
  const name = keyOf(run);
  const folder = join(runsFolder, name);
  const digestFile = join(runsFolder, 'configs', `${name}.digest`);
  const config = join(runsFolder, 'configs', `${name}.yaml`);
  writeFileSync(config, configOf(run, address));
  const sameRun = existsSync(digestFile) && readFileSync(digestFile, 'utf8') === digest;
  const resumes = sameRun && existsSync(join(folder, 'checkpoints')) && !options.again;
  if (!resumes) rmSync(folder, { recursive: true, force: true });
  writeFileSync(digestFile, digest);
  const sets = (list: readonly string[]) => list.flatMap((text) => ['--set', text]);
  const threads = jobs > 1 ? [`threads=${Math.max(1, Math.floor(availableParallelism() / jobs))}`] : [];
  const begin = ['train', config, '--seed', String(seed), '--output', runsFolder, '--name', name, '--quiet'];
  const result = await pmpo(
    resumes
      ? ['train', '--resume', folder, '--quiet', ...sets(address ? [`environment.address=${address}`] : [])]
      : [...begin, ...sets([...overridesOf(run), ...threads])],
  );
  if (stopping) return undefined;
  const diverged = result.code !== 0 && result.stderr.includes(divergedPhrase);
  if (result.code !== 0 && !diverged) throw new Error(`${name}: ${result.stderr.trim()}`);
  const final = diverged ? undefined : await evaluate(folder, address);
  if (stopping) return undefined;
  const { evaluations, notices, summary, metrics } = await readRun(folder, { diverged });
  const curve = evaluations.map(({ steps, scores }) => [steps, Number(mean(scores).toPrecision(4))] as const);
  return {
    task,
    operator,
    seed,
    return: final ?? null,
    episodes: evaluationEpisodes,
    best: curve.length === 0 ? null : Math.max(...curve.map(([, score]) => score)),
    curve,
    steps: summary?.steps ?? metrics.at(-1)?.steps ?? 0,
    wallSeconds: Math.round(summary?.wallSeconds ?? metrics.at(-1)?.wallSeconds ?? 0),
    warnings: notices.flatMap(({ message }) => (message.startsWith('Warning: ') ? [message.slice(9)] : [])),
    version: packageVersion(),
    commit,
    date: new Date().toISOString().slice(0, 10),
    defaults: digest,
    settings,
  };
}

/** The mean return of a finished run's policy. */
async function evaluate(folder: string, address: string | undefined): Promise<number> {
  const place = address === undefined ? [] : ['--address', address];
  const { code, stdout, stderr } = await pmpo([
    'eval',
    folder,
    '--episodes',
    String(evaluationEpisodes),
    '--json',
    ...place,
  ]);
  if (stopping) return Number.NaN;
  if (code !== 0) throw new Error(`evaluating ${folder}: ${stderr.trim()}`);
  return Number(JSON.parse(stdout).meanScore.toPrecision(5));
}

const wantedTasks = chosen(
  'only',
  tasks.map(({ name }) => name),
);
const wantedOperators = chosen('operators', [...new Set(tasks.flatMap((task) => task.operators))]);
/** Seed 0 of everything comes first, so that a table of one seed is there early. */
const planned = seeds.flatMap((seed) =>
  tasks
    .filter(({ name }) => wantedTasks.includes(name))
    .flatMap((definition) =>
      definition.operators
        .filter((operator) => wantedOperators.includes(operator))
        .map((operator): Run => ({ task: definition.name, operator, seed, definition })),
    ),
);
const digests = new Map<string, string>();
for (const definition of tasks) {
  for (const operator of definition.operators) {
    const run = { task: definition.name, operator, seed: 0, definition };
    digests.set(`${run.task}/${operator}`, await digestOf(run));
  }
}
const digestFor = ({ task, operator }: RunKey) => digests.get(`${task}/${operator}`);

function writeTable(): void {
  mkdirSync(output, { recursive: true });
  const command = 'npm run bench defaults';
  const rows = currentRows(readRows(), digestFor);
  writeFileSync(
    tableFile,
    defaultsTable(rows, { seeds: seeds.length < 3 ? [0, 1, 2] : seeds, command, trial: options.set }),
  );
}

writeTable();
if (!options.table) {
  const done = new Set(currentRows(readRows(), digestFor).map(keyOf));
  const queue = planned.filter((run) => options.again || !done.has(keyOf(run)));
  console.error(`${queue.length} runs to do, ${planned.length - queue.length} done before`);
  process.on('SIGINT', () => stop('Stopping'));
  process.on('SIGTERM', () => stop('Stopping'));
  const budget = options['budget-minutes'];
  const timer =
    budget && setTimeout(() => stop('The budget is spent'), 60_000 * positive('budget-minutes', budget));
  let failures = 0;
  const work = async () => {
    for (let run = queue.shift(); run !== undefined && !stopping; run = queue.shift()) {
      console.error(`${keyOf(run)} …`);
      try {
        const row = await train(run, digestFor(run)!);
        if (row === undefined) break;
        appendFileSync(rowsFile, `${JSON.stringify(row)}\n`);
        writeTable();
        console.error(`${keyOf(run)}: ${row.return ?? 'diverged'} after ${row.wallSeconds} s`);
      } catch (error) {
        if (stopping) break;
        failures += 1;
        console.error((error as Error).message);
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  clearTimeout(timer || undefined);
  for (const server of servers.values()) await server.then(({ close }) => close()).catch(() => {});
  if (failures > 0 || stopping) process.exitCode = 1;
}
console.log(readFileSync(tableFile, 'utf8'));
