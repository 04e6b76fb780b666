import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { median } from '../src/core/statistics.js';
import { round } from './support/figures.js';
import { load, machine } from './support/machine.js';
import { root } from './support/peers.js';
import { start } from './support/processes.js';
import { iterations, ours } from './support/update-side.js';

/**
 * `npm run bench startup`: how long one waits before anything happens. Imports the package's modules in fresh processes, by turns with a
 * process that imports nothing; starts `npm start` in a built clone and waits for its first line; and makes the first update of a control
 * learner, which traces the update and creates its session, in this process. All files have been read before, as they have been after an
 * installation.
 */

const rounds = 7;
const goals = { importSeconds: { 'pmpo/operators': 0.3 }, firstLineSeconds: 2, compileSeconds: 0.5 };
const modules = {
  'pmpo/operators': 'operators/index.js',
  'pmpo/feedback': 'feedback/index.js',
  pmpo: 'index.js',
};

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** The seconds that a fresh process takes to run a line of JavaScript. */
function inFreshProcess(code: string): Promise<number> {
  return seconds(async () => {
    const ended = await start(process.execPath, ['--input-type=module', '--eval', code]).ended;
    if (ended !== 0) throw new Error(`node ended with ${ended}: ${code}`);
  });
}

/** The seconds until `npm start` prints a line, with the task and all settings that it has by default. */
async function firstLine(): Promise<number> {
  const output = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
  // As `npm start` runs it, without npm's own lines.
  const args = [join(root, 'scripts/start.mjs'), '--output', output];
  const started = performance.now();
  const training = start(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const lines = [training.child.stdout!, training.child.stderr!].map(
      (input) => new Promise<void>((resolve) => createInterface({ input }).once('line', () => resolve())),
    );
    const ended = training.ended.then((code) => {
      throw new Error(`npm start ended (exit code ${code}) before it printed a line`);
    });
    await Promise.race([...lines, ended]);
    return (performance.now() - started) / 1000;
  } finally {
    await training.stop();
    rmSync(output, { recursive: true, force: true });
  }
}

/** The seconds that the first update of an agent takes longer than others, in a process that is warm after the first round. */
async function compile(): Promise<number> {
  const side = await ours('traced', 'onnx', 'pmpo', 4, iterations(1));
  const first = await side.time(1);
  const later = await side.time(20);
  await side.close();
  return (first - later) / 1000;
}

const summary = (times: readonly number[]) => ({
  median: round(median(times), 3),
  minimum: round(Math.min(...times), 3),
  maximum: round(Math.max(...times), 3),
});

const loadBefore = load();
const nothing: number[] = [];
const imports = new Map<string, number[]>(Object.keys(modules).map((name) => [name, []]));
const lines: number[] = [];
const compiles: number[] = [];
// One round more than is counted, in which files are read from the disk for the first time.
for (let i = 0; i <= rounds; i++) {
  const empty = await inFreshProcess('');
  const times = new Map<string, number>();
  for (const [name, file] of Object.entries(modules)) {
    const url = pathToFileURL(join(root, 'dist', file)).href;
    times.set(name, (await inFreshProcess(`await import('${url}')`)) - empty);
  }
  const [line, compiled] = [await firstLine(), await compile()];
  if (i === 0) continue;
  nothing.push(empty);
  for (const [name, time] of times) imports.get(name)!.push(time);
  lines.push(line);
  compiles.push(compiled);
}
console.log(
  JSON.stringify(
    {
      benchmark: 'startup',
      machine: machine(loadBefore),
      rounds,
      goals,
      emptyProcessSeconds: summary(nothing),
      importSeconds: Object.fromEntries([...imports].map(([name, times]) => [name, summary(times)])),
      firstLineSeconds: summary(lines),
      compileSeconds: summary(compiles),
    },
    undefined,
    2,
  ),
);
