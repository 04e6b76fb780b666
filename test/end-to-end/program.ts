import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const program = join(projectRoot, 'dist/cli/main.js');

/** Compiles src/ if it is newer than dist/, because these tests run the built program. */
export async function ensureBuilt(): Promise<void> {
  const bootstrap = (await import(join(projectRoot, 'scripts/bootstrap.mjs'))) as { ensureBuilt(): void };
  bootstrap.ensureBuilt();
}

export interface Ended {
  /** null if a signal ended the program. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `pmpo` process. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves with the output so far when it matches; rejects if the program ends before that. */
  until(pattern: RegExp, stream?: 'stdout' | 'stderr'): Promise<string>;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly timeoutSeconds?: number;
  /** Environment variables in addition to those of the tests. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts `pmpo` as a child process. It is killed after `timeoutSeconds`, so that no test hangs. */
export function start(
  args: readonly string[],
  { cwd = projectRoot, timeoutSeconds = 110, env }: StartOptions = {},
): Running {
  const child = spawn(process.execPath, [program, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { stdout: '', stderr: '' };
  const listeners = new Set<() => void>();
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (chunk: string) => {
      text[stream] += chunk;
      for (const listener of listeners) listener();
    });
  }
  const kill = () => child.kill('SIGKILL');
  const timer = setTimeout(kill, timeoutSeconds * 1000);
  // A test that fails leaves its program running, and the process of the tests may end before the timer.
  process.once('exit', kill);
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer);
      process.off('exit', kill);
      resolve({ code, ...text });
    });
  });
  const until = (pattern: RegExp, stream: 'stdout' | 'stderr' = 'stderr') =>
    new Promise<string>((resolve, reject) => {
      const check = () => {
        if (!pattern.test(text[stream])) return;
        listeners.delete(check);
        resolve(text[stream]);
      };
      listeners.add(check);
      check();
      void ended.then(({ code }) => {
        listeners.delete(check);
        reject(new Error(`pmpo ended with ${code} before ${pattern}:\n${text.stdout}\n${text.stderr}`));
      });
    });
  return { child, ended, until };
}

/** Runs `pmpo` to its end. */
export function run(args: readonly string[], options?: StartOptions): Promise<Ended> {
  return start(args, options).ended;
}

interface Program {
  runProgram(args: readonly string[]): Promise<number>;
}

/** The commands that `runHere` has been given so far; the next one waits for them. */
let earlier: Promise<unknown> = Promise.resolve();

/**
 * Runs a command of the built program in this process, which does all that `run` does but start a process and load the modules
 * anew: that takes longer than most commands. Commands wait for each other, because a process has one standard output. Use `run`
 * or `start` where a test is about the process itself: its signals, its end, what plugins register in it.
 */
export function runHere(args: readonly string[], { env }: Pick<StartOptions, 'env'> = {}): Promise<Ended> {
  const ended = earlier.then(() => runAlone(args, env ?? {}));
  earlier = ended.catch(() => {});
  return ended;
}

async function runAlone(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const { runProgram } = (await import(join(projectRoot, 'dist/cli/program.js'))) as Program;
  const text = { stdout: '', stderr: '' };
  const before = { argv: process.argv, exitCode: process.exitCode, env: { ...process.env } };
  const streams = (['stdout', 'stderr'] as const).map((name) => {
    const { write } = process[name];
    process[name].write = (chunk: string | Uint8Array) => {
      text[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
      return true;
    };
    return () => {
      process[name].write = write;
    };
  });
  process.argv = [process.execPath, program, ...args];
  process.exitCode = undefined;
  Object.assign(process.env, env);
  try {
    return { code: await runProgram(args), ...text };
  } finally {
    for (const restore of streams) restore();
    process.argv = before.argv;
    process.exitCode = before.exitCode;
    for (const name of Object.keys(env)) {
      if (before.env[name] === undefined) delete process.env[name];
      else process.env[name] = before.env[name];
    }
  }
}

/** A configuration under examples/. */
export interface ExampleConfig {
  /** Relative to examples/. */
  readonly path: string;
  readonly simulator?: string;
  /** The address of the simulator server, if it needs one. */
  readonly address?: string;
  /** The address of a feedback service, if it needs one. */
  readonly feedback?: string;
  /** The address of Redis, if it needs one. */
  readonly redis?: string;
  /** The model of a language job. */
  readonly model?: string;
}

/** The configurations of training runs under examples/, without studies, and without examples/offline, which needs its data first. */
export function exampleConfigs(): ExampleConfig[] {
  const folder = join(projectRoot, 'examples');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.ya?ml$/.test(path) && !/^(reproduce|bandit|offline)/.test(path))
    .sort()
    .map((path) => {
      const { environment, feedback, replay, language } = parse(readFileSync(join(folder, path), 'utf8')) as {
        environment?: { readonly simulator?: string; readonly address?: string };
        feedback?: { readonly address?: string };
        replay?: { readonly redis?: string };
        language?: { readonly model: { readonly name: string } };
      };
      const { simulator, address } = environment ?? {};
      const model = language?.model.name;
      return { path, simulator, address, feedback: feedback?.address, redis: replay?.redis, model };
    });
}

/** Creates a folder for one test file; `remove` deletes it. */
export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'pmpo-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** A training run of a few seconds: small networks, few steps, few environments. */
export function tinyConfig(output: string) {
  return {
    output,
    environment: {
      simulator: 'cartpole_swingup',
      numEnvs: 2,
      createSettings: { episodeSteps: 120 },
    } as Record<string, unknown>,
    operator: { name: 'pmpo' } as Record<string, unknown>,
    policy: { hidden: [16] },
    critic: { hidden: [16] },
    learner: { environmentSteps: 600, warmupSteps: 100, batchSize: 16, stepsPerUpdate: 4 },
    replay: { capacity: 1000 },
    reference: { period: 10 },
    evaluation: { every: 300, episodes: 1 },
    checkpoint: { every: 200 },
  };
}

/** Writes a configuration and returns its path. */
export async function writeConfig(folder: string, name: string, config: unknown): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, typeof config === 'string' ? config : stringify(config));
  return path;
}

/** The tensors of a checkpoint in hexadecimal, without its metadata, whose times differ between any two runs. */
export async function parameters(file: string): Promise<Record<string, string>> {
  const bytes = await readFile(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  return Object.fromEntries(
    Object.entries(header).flatMap(([name, { data_offsets }]) =>
      name === '__metadata__'
        ? []
        : [
            [
              name,
              bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]).toString('hex'),
            ],
          ],
    ),
  );
}
