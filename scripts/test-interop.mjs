// `npm run test:interop [NAME…]`: installs, builds, creates the Python environments, and runs the suites that test pmpo together
// with other software. A suite is a folder of test/interop/ with Python files `test_*.py` for unittest, vitest files
// `*.test.ts`, or both. A suite whose other software cannot be installed counts as skipped, with the reason.
//
// Environment variables of a suite: PMPO_PYTHON_<VENV>, its interpreters (PMPO_PYTHON_JAX, …); PMPO_BIN, the built program; and
// for suites that need them PMPO_SERVER_ADDRESS, a running `pmpo serve simulators`, and PMPO_REDIS, how to start Redis (JSON).
// TMPDIR is a folder for the suite alone, removed at its end: other people's software leaves logs and sockets there.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, fail, root, runNode, say } from './bootstrap.mjs';
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
import { ensureVenv } from './venv.mjs';

/**
 * Every suite: its folder, its Python environments (the first one runs its Python files), and whether it needs a running
 * simulator server or starts Redis servers. `minutes` is its time limit if it is more than 5 minutes.
 */
const suites = [
  { name: 'references', venvs: ['jax', 'torch', 'transformers'] },
  { name: 'operators', venvs: ['operators'] },
  { name: 'trl', venvs: ['trl', 'trl_previous'], minutes: 10 },
  { name: 'chats', venvs: ['trl'] },
  { name: 'python_feedback', venvs: ['python_feedback'] },
  { name: 'dm_env_rpc', venvs: ['dm_env_rpc'], server: true },
  { name: 'simulator_server', venvs: ['simulator_server'], minutes: 20 },
  { name: 'serve', venvs: [], minutes: 10 },
  { name: 'foreign_server', venvs: ['dm_env_rpc'] },
  { name: 'gymnasium', venvs: ['gymnasium'], server: true },
  { name: 'stable_baselines3', venvs: ['stable_baselines3'], minutes: 15 },
  { name: 'torchrl', venvs: ['torchrl'] },
  { name: 'adapters', venvs: ['adapters'] },
  { name: 'cleanrl', venvs: ['cleanrl'] },
  { name: 'mujoco', venvs: ['mujoco'] },
  { name: 'safetensors', venvs: ['safetensors'] },
  { name: 'tensorboard', venvs: ['tensorboard'] },
  { name: 'onnx', venvs: ['onnx'] },
  { name: 'embedded_model', venvs: ['transformers'] },
  { name: 'redis', venvs: [], redis: true, minutes: 10 },
  { name: 'vllm', venvs: ['vllm'], minutes: 25 },
  { name: 'vllm_trainer', venvs: ['vllm', 'torch_trainer'], minutes: 40 },
  { name: 'open_inference', venvs: ['open_inference'] },
  { name: 'torch_trainer', venvs: ['torch_trainer'], minutes: 20 },
];

const program = join(root, 'dist/cli/main.js');
const suiteMinutes = 5;

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

/** Runs the Python files and the vitest files of a suite, and returns its results. */
function runSuite(folder, interpreter, env, scratch, minutes = suiteMinutes) {
  const timeout = minutes * 60_000;
  const files = readdirSync(folder);
  let all = noResults;
  if (files.some((file) => /^test_.*\.py$/.test(file))) {
    const results = join(scratch, 'python.json');
    rmSync(results, { force: true });
    spawnSync(interpreter, [join(root, 'test/interop/run_unittest.py'), folder, results], {
      cwd: folder,
      env,
      stdio: 'inherit',
      timeout,
    });
    all = addResults(all, readResults(results));
  }
  if (files.some((file) => file.endsWith('.test.ts'))) {
    const results = join(scratch, 'vitest.json');
    rmSync(results, { force: true });
    const vitest = [join(root, 'node_modules/vitest/vitest.mjs'), 'run'];
    const output = ['--reporter=default', '--reporter=json', `--outputFile.json=${results}`];
    // The slash excludes other folders whose names begin with this one's.
    runNode([...vitest, ...output, `${folder}/`], { env, timeout });
    all = addResults(all, vitestResults(results));
  }
  return all.passed + all.skipped + all.failures.length === 0 ? oneFailure('no tests were found') : all;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name));
if (unknown.length > 0) {
  fail(`unknown suite: ${unknown.join(', ')}. Suites: ${suites.map(({ name }) => name).join(', ')}`, 2);
}

ensureInstalled();
ensureBuilt();
const scratch = mkdtempSync(join(tmpdir(), 'pmpo-interop-'));
const report = [];
for (const { name, venvs, server, redis, minutes } of suites) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  say(`\n── ${name}`);
  const env = { ...process.env, PMPO_BIN: program, PMPO_INTEROP: '1' };
  // A cache inside the clone instead of the user's, so that deleting the clone removes it.
  env.PMPO_CACHE = join(root, '.venvs', 'cache');
  // What torch.compile made is kept between runs, as the environments are.
  env.TORCHINDUCTOR_CACHE_DIR = join(root, '.venvs', 'cache', 'torchinductor');
  const interpreters = [];
  try {
    for (const venv of venvs) {
      interpreters.push(ensureVenv(venv, { log: say }));
      env[`PMPO_PYTHON_${venv.toUpperCase()}`] = interpreters.at(-1);
    }
    if (redis) env.PMPO_REDIS = JSON.stringify(ensureRedis({ log: say }));
  } catch (error) {
    report.push({ name, results: { ...noResults, skipped: 1 }, note: `SKIPPED: ${error.message}` });
    say(report.at(-1).note);
    continue;
  }
  // A short path: that of a Unix socket in it has at most 107 bytes.
  env.TMPDIR = mkdtempSync(join(tmpdir(), 'pi-'));
  const started = Date.now();
  let running;
  try {
    if (server) {
      running = await startServer(env);
      env.PMPO_SERVER_ADDRESS = running.address;
    }
    const folder = join(root, 'test/interop', name);
    report.push({
      name,
      results: runSuite(folder, interpreters[0], env, scratch, minutes),
      time: took(started),
    });
  } catch (error) {
    report.push({ name, results: oneFailure(error.message), time: took(started) });
  } finally {
    running?.stop();
    rmSync(env.TMPDIR, { recursive: true, force: true, maxRetries: 5 });
  }
}
rmSync(scratch, { recursive: true, force: true });

say('');
for (const { name, results, note, time } of report) {
  say(`${name}: ${formatCounts(results)}, ${note === undefined ? time : `(${note.split('\n')[0]})`}`);
}
const total = addResults(
  ...report.map(({ name, results }) => ({
    ...results,
    failures: results.failures.map((line) => `${name}: ${line}`),
  })),
);
writeResults(process.env.PMPO_TEST_RESULTS, total);
say(`${formatFailures(total)}${formatCounts(total)}`);
process.exitCode = total.failures.length === 0 ? 0 : 1;
