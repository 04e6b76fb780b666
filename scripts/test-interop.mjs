// `npm run test:interop [NAME…]`: installs, builds, creates the Python environments, and runs the suites that test pmpo together
// with other software. A suite is a folder of test/interop/ with Python files `test_*.py` for unittest, vitest files
// `*.test.ts`, or both. A suite whose other software cannot be installed counts as skipped, with the reason. Its Python files are
// one part, and each vitest file is another. Two parts run at a time, because each waits for other processes much of the time;
// `PMPO_INTEROP_PARTS=1` runs one after the other, with its output as it comes. Otherwise the output of a part is printed when it ends.
//
// Environment variables of a suite: PMPO_PYTHON_<VENV>, its interpreters (PMPO_PYTHON_JAX, …); PMPO_BIN, the built program; and
// for suites that need them PMPO_SERVER_ADDRESS, a running `pmpo serve simulators`, and PMPO_REDIS, how to start Redis (JSON).
// TMPDIR is a folder for the suite alone, removed at its end: other people's software leaves logs and sockets there.

import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, fail, root, say } from './bootstrap.mjs';
import { ensureRedis } from './redis.mjs';
import {
  addResults,
  formatCounts,
  formatFailures,
  noResults,
  oneFailure,
  readResults,
  vitestResults,
  writeResults,
} from './results.mjs';
import { runInTime } from './run-in-time.mjs';
import { ensureVenv } from './venv.mjs';

/**
 * Every suite: its folder, its Python environments (the first one runs its Python files), and whether it needs a running
 * simulator server or starts Redis servers. `minutes` is its time limit if it is more than 10 minutes, which is for tests that hang:
 * alone on two cores a suite takes less than half. The longest come first, so that both slots end together.
 */
const suites = [
  { name: 'vllm', venvs: ['vllm'], minutes: 25 },
  { name: 'redis', venvs: [], redis: true, minutes: 15 },
  { name: 'torch_trainer', venvs: ['torch_trainer'], minutes: 20 },
  { name: 'stable_baselines3', venvs: ['stable_baselines3'], minutes: 15 },
  { name: 'vllm_trainer', venvs: ['vllm', 'torch_trainer'], minutes: 40 },
  { name: 'simulator_server', venvs: ['simulator_server'], minutes: 20 },
  { name: 'serve', venvs: [] },
  { name: 'trl', venvs: ['trl', 'trl_previous'], minutes: 20 },
  { name: 'chats', venvs: ['trl', 'torch_trainer'] },
  { name: 'operators', venvs: ['operators'] },
  { name: 'python_feedback', venvs: ['python_feedback'] },
  { name: 'references', venvs: ['jax', 'torch', 'transformers', 'cma', 'nltk'] },
  { name: 'cma_es', venvs: [] },
  { name: 'cleanrl', venvs: ['cleanrl'] },
  { name: 'torchrl', venvs: ['torchrl'] },
  { name: 'onnx', venvs: ['onnx'] },
  { name: 'foreign_server', venvs: ['dm_env_rpc'] },
  { name: 'adapters', venvs: ['adapters'] },
  { name: 'dm_env_rpc', venvs: ['dm_env_rpc'], server: true },
  { name: 'gymnasium', venvs: ['gymnasium'], server: true },
  { name: 'embedded_model', venvs: ['transformers'] },
  { name: 'docs_site', venvs: [] },
  { name: 'open_inference', venvs: ['open_inference'] },
  { name: 'notebook', venvs: ['notebook'] },
  { name: 'mujoco', venvs: ['mujoco'] },
  { name: 'safetensors', venvs: ['safetensors'] },
  { name: 'minari', venvs: ['minari'] },
  { name: 'tensorboard', venvs: ['tensorboard'] },
  { name: 'wandb', venvs: ['wandb'] },
];

const program = join(root, 'dist/cli/main.js');
const suiteMinutes = 10;
const slotsText = process.env.PMPO_INTEROP_PARTS ?? '2';
const slots = Number(slotsText);

/** The time since a moment, for the log. */
const took = (started) => `${Math.round((Date.now() - started) / 1000)} s`;

/** Starts `pmpo serve simulators` on a free port. Resolves with its address and a function that stops it. */
function startServer(env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, 'serve', 'simulators', '--port', '0'], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    const timer = setTimeout(() => {
      child.kill();
      reject(new Error(`the simulator server did not start: ${text}`));
    }, 60_000);
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const address = /\b[\w.[\]-]+:\d+\b/.exec(text)?.[0];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve({ address, stop: () => child.kill('SIGINT') });
    });
    child.on('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`the simulator server ended with ${code}: ${text}`));
    });
  });
}

/** Runs a command until it ends or its time is over, and prints its output: at the end if other parts run beside it. */
async function runCommand(title, command, args, { cwd, env, minutes, scratch }) {
  const log = join(scratch, 'output.txt');
  const file = slots === 1 ? undefined : openSync(log, 'w');
  const output = file ?? 'inherit';
  if (file === undefined) say(`\n── ${title}`);
  const started = Date.now();
  try {
    await runInTime(command, args, { cwd, env, stdio: ['ignore', output, output] }, minutes * 60_000);
  } finally {
    if (file !== undefined) {
      closeSync(file);
      say(`\n── ${title}, ${took(started)}\n${readFileSync(log, 'utf8')}`);
    }
  }
}

/** The parts of a suite, as functions from its preparation to their results. */
function partsOf({ name, minutes = suiteMinutes }) {
  const folder = join(root, 'test/interop', name);
  const files = readdirSync(folder);
  const parts = [];
  if (files.some((file) => /^test_.*\.py$/.test(file))) {
    parts.push(async ({ env, interpreters, scratch }) => {
      const results = join(scratch, 'python.json');
      const args = [join(root, 'test/interop/run_unittest.py'), folder, results];
      await runCommand(`${name} (Python)`, interpreters[0], args, { cwd: folder, env, minutes, scratch });
      return readResults(results);
    });
  }
  // Each vitest file is a part by itself.
  for (const file of files.filter((name) => name.endsWith('.test.ts'))) {
    parts.push(async ({ env, scratch }) => {
      const results = join(scratch, 'vitest.json');
      const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run'];
      const reports = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
      const rest = [...reports, join(folder, file)];
      await runCommand(`${name} (${file})`, process.execPath, [...args, ...rest], {
        cwd: root,
        env,
        minutes,
        scratch,
      });
      return vitestResults(results);
    });
  }
  return parts;
}

/**
 * A suite: its name, the Python environments and servers that it needs, and how long each of its parts may take.
 * @typedef {{name: string, venvs: string[], minutes?: number, redis?: boolean, server?: boolean}} Suite
 */

/**
 * Prepares what all parts of a suite use. Throws if other people's software cannot be installed.
 * @param {Suite} suite
 */
async function prepare({ venvs, server, redis }) {
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, PMPO_BIN: program, PMPO_INTEROP: '1' };
  // A cache inside the clone instead of the user's, so that deleting the clone removes it.
  env.PMPO_CACHE = join(root, '.venvs', 'cache');
  // The compiled kernels of torch.compile are kept between runs, as the environments are.
  env.TORCHINDUCTOR_CACHE_DIR = join(root, '.venvs', 'cache', 'torchinductor');
  // Python programs of the repository leave no compiled files in it.
  env.PYTHONDONTWRITEBYTECODE = '1';
  /** @type {string[]} */
  const interpreters = [];
  try {
    for (const venv of venvs) {
      interpreters.push(ensureVenv(venv, { log: say }));
      env[`PMPO_PYTHON_${venv.toUpperCase()}`] = interpreters.at(-1);
    }
    if (redis) env.PMPO_REDIS = JSON.stringify(ensureRedis({ log: say }));
  } catch (error) {
    throw new Skipped(error.message);
  }
  // A short path: that of a Unix socket in it has at most 107 bytes.
  const temporary = mkdtempSync(join(tmpdir(), 'pi-'));
  env.TMPDIR = temporary;
  const running = server ? await startServer(env) : undefined;
  if (running !== undefined) env.PMPO_SERVER_ADDRESS = running.address;
  const end = () => {
    running?.stop();
    rmSync(temporary, { recursive: true, force: true, maxRetries: 5 });
  };
  return { env, interpreters, end };
}

/** The software of a suite is missing here. */
class Skipped extends Error {}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name));
if (unknown.length > 0) {
  fail(`unknown suite: ${unknown.join(', ')}. Suites: ${suites.map(({ name }) => name).join(', ')}`, 2);
}
if (!/^[1-9]\d*$/.test(slotsText)) {
  fail(`PMPO_INTEROP_PARTS must be a whole number of at least 1, and is '${slotsText}'`, 2);
}

await ensureInstalled();
ensureBuilt();
const scratch = mkdtempSync(join(tmpdir(), 'pmpo-interop-'));
const chosen = suites.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
/** @type {Map<string, {results: import('./results.mjs').Results, seconds: number, note?: string}>} */
const reports = new Map(chosen.map(({ name }) => [name, { results: noResults, seconds: 0 }]));
const queue = chosen.flatMap((suite) => {
  const parts = partsOf(suite);
  /** @type {{left: number, prepared?: ReturnType<typeof prepare>}} */
  const shared = { left: parts.length };
  return parts.map((part) => async () => {
    const report = /** @type {NonNullable<ReturnType<typeof reports.get>>} */ (reports.get(suite.name));
    const started = Date.now();
    try {
      shared.prepared ??= prepare(suite);
      const prepared = await shared.prepared;
      const own = mkdtempSync(join(scratch, `${suite.name}-`));
      const results = await part({ ...prepared, scratch: own });
      const { passed, skipped, failures } = results;
      const isEmpty = passed + skipped + failures.length === 0;
      report.results = addResults(report.results, isEmpty ? oneFailure('no tests were found') : results);
    } catch (error) {
      const isSkipped = error instanceof Skipped;
      if (isSkipped) report.note = `SKIPPED: ${error.message.split('\n')[0]}`;
      if (isSkipped) say(`\n── ${suite.name}: SKIPPED: ${error.message}`);
      report.results = addResults(
        report.results,
        isSkipped ? { ...noResults, skipped: 1 } : oneFailure(error.message),
      );
    }
    report.seconds += Math.round((Date.now() - started) / 1000);
    shared.left -= 1;
    if (shared.left === 0) (await shared.prepared?.catch(() => undefined))?.end();
  });
});
const started = Date.now();
await Promise.all(
  Array.from({ length: slots }, async () => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job();
  }),
);
rmSync(scratch, { recursive: true, force: true });

for (const report of reports.values()) {
  const { passed, skipped, failures } = report.results;
  if (passed + skipped + failures.length === 0) report.results = oneFailure('no tests were run');
}

say('');
for (const [name, { results, note, seconds }] of reports) {
  say(`${name}: ${formatCounts(results)}, ${note ?? `${seconds} s`}`);
}
const total = addResults(
  ...[...reports].map(([name, { results }]) => ({
    ...results,
    failures: results.failures.map((line) => `${name}: ${line}`),
  })),
);
writeResults(process.env.PMPO_TEST_RESULTS, total);
say(`${formatFailures(total)}${formatCounts(total)}, ${took(started)}`);
process.exitCode = total.failures.length === 0 ? 0 : 1;
