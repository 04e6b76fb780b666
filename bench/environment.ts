import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createVectorEnvironment } from '../src/environments/create-vector-environment.js';
import { RemoteEnvironment } from '../src/environments/remote-environment.js';

/**
 * `npm run bench environment [ROUNDS]`: remote steps per second on cartpole_swingup over 1 and 16 streams, our client
 * against dm_env_rpc's own Python client, both on the same embedded server in a process of its own, all observations
 * requested, the sides in turn; medians and their ratio.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const simulator = 'cartpole_swingup';
const rounds = Number(process.argv[2] ?? 5);
const stepsPerStream: Record<number, number> = { 1: 3000, 16: 500 };

const server = spawn(
  process.execPath,
  [join(root, 'dist/cli/main.js'), 'serve', 'simulators', '--port', '0'],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
const address = await new Promise<string>((resolve, reject) => {
  server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  createInterface({ input: server.stdout }).on('line', (line) => {
    const found = /\b[\w.[\]-]+:\d+\b/.exec(line)?.[0];
    if (found !== undefined) resolve(found);
  });
});

async function ours(streams: number, steps: number): Promise<number> {
  const worlds = await createVectorEnvironment({
    connect: () =>
      RemoteEnvironment.connect({
        address,
        deadlineSeconds: 30,
        createSettings: { simulator },
        reuseArrays: true,
      }),
    size: streams,
    episodeSeed: (world, episode) => 1000 * world + episode,
    reconnect: { attempts: 0, initialDelaySeconds: 1, maxDelaySeconds: 1 },
    notice: (message) => console.error(message),
  });
  const actions = new Float32Array(streams * worlds.actionSize);
  await worlds.reset();
  for (let t = 0; t < 100; t++) await worlds.step(actions);
  const started = performance.now();
  for (let t = 0; t < steps; t++) await worlds.step(actions);
  const seconds = (performance.now() - started) / 1000;
  await worlds.close();
  return (streams * steps) / seconds;
}

const { ensureVenv } = (await import(new URL('../scripts/venv.mjs', import.meta.url).href)) as {
  ensureVenv(name: string): string;
};
const python = ensureVenv('dm_env_rpc');

async function theirs(streams: number, steps: number): Promise<number> {
  const script = join(root, 'bench/environment_python_client.py');
  const args = [script, address, simulator, streams, steps].map(String);
  const { stdout } = await promisify(execFile)(python, args);
  return Number(stdout);
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const results: Record<string, unknown> = {};
for (const [streams, steps] of Object.entries(stepsPerStream).map(([s, n]) => [Number(s), n])) {
  const [pmpo, python_]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    pmpo.push(await ours(streams, steps));
    python_.push(await theirs(streams, steps));
    console.error(
      `${streams} streams, round ${round + 1}: ${pmpo[round].toFixed(0)} against ${python_[round].toFixed(0)} steps/s`,
    );
  }
  const ratios = pmpo.map((value, i) => value / python_[i]);
  results[`streams${streams}`] = {
    stepsPerSecond: { pmpo: median(pmpo), pythonClient: median(python_) },
    medianRatio: median(ratios),
    ratios: { minimum: Math.min(...ratios), maximum: Math.max(...ratios) },
  };
}
server.kill('SIGINT');
console.log(JSON.stringify({ benchmark: 'environment', simulator, rounds, ...results }));
