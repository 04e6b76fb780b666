import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TokenSequence } from '../../../src/language/trainable-model.js';
import { openTrainer } from '../../../src/language/trainer-client.js';
import { VllmClient } from '../../../src/language/vllm-client.js';
import { type PythonProgram, startPythonProgram } from '../../../src/python/program.js';
import { run as pmpo } from '../../end-to-end/program.js';
import { freePort } from '../../support/free-port.js';
import { vllmArguments, vllmEnvironment } from '../vllm/server.js';

// Runs examples/language/vllm.yaml on a tiny model: plugins/torch-trainer trains, and vLLM samples. examples/language/restart-vllm.sh
// restarts vLLM whenever the reference has changed.

const vllmPython = process.env.PMPO_PYTHON_VLLM!;
const trainerPython = process.env.PMPO_PYTHON_TORCH_TRAINER!;
if (vllmPython === undefined || trainerPython === undefined) {
  throw new Error('run this with `npm run test:interop vllm_trainer`');
}
const run = promisify(execFile);
const root = fileURLToPath(new URL('../../..', import.meta.url));
const script = join(root, 'examples/language/restart-vllm.sh');
const plugin = join(root, 'plugins/torch-trainer');
const minutes = 60_000;

let folder: string;
let port: number;
let env: Record<string, string>;
/** Sequences sampled from the initial model, and their log-probs in vLLM. */
let sequences: TokenSequence[];
let base: Float32Array[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-publish-'));
  await run(vllmPython, [join(root, 'test/interop/vllm/make_models.py'), folder]);
  port = await freePort();
  env = {
    ...vllmEnvironment,
    STATE: join(folder, 'state'),
    TRAINER_PYTHON: trainerPython,
  };
  await restart(join(folder, 'llama'));
  const client = await connect();
  sequences = [];
  for (const text of ['the quick', 'a policy 🎉']) {
    const prompt = client.tokenizer.encode(text);
    const drawn = await client.sample({
      prompt,
      completions: 3,
      maxTokens: 12,
      seed: 4,
      ignoreEnd: true,
    });
    sequences.push(...drawn.map(({ tokens }) => ({ prompt, completion: tokens })));
  }
  await client.close();
  base = await scoresAtVllm(sequences);
}, 12 * minutes);
afterAll(async () => {
  await stopVllm();
  await rm(folder, { recursive: true, force: true });
});

const command = () => [vllmPython, ...vllmArguments('MODEL', 'PORT')];
const restart = (model: string) =>
  run('bash', [script, model, String(port), ...command()], { env: { ...process.env, ...env } });
const state = (name: string) => readFile(join(folder, `state/vllm-${port}.${name}`), 'utf8');

/** Kills the server that the script started. */
async function stopVllm(): Promise<void> {
  const pid = Number.parseInt(await state('pid').catch(() => ''), 10);
  if (pid > 0) process.kill(-pid, 'SIGKILL');
}

async function startTrainer(name: string, options: readonly string[]): Promise<PythonProgram> {
  const weights = join(folder, name);
  await mkdir(weights);
  return startPythonProgram({
    name: 'the trainer',
    python: trainerPython,
    args: [
      ...['-B', '-m', 'pmpo_torch_trainer', '--model', join(folder, 'llama'), '--folder', weights],
      ...['--port', '0', '--device', 'cpu', '--until-stdin-closes', ...options],
    ],
    env: { ...process.env, PYTHONPATH: [plugin, process.env.PYTHONPATH ?? ''].join(delimiter) },
    readyLine: /^Serving .* on (\S+:\d+)/m,
  });
}

const connect = () => VllmClient.connect({ address: `127.0.0.1:${port}`, deadlineSeconds: 240 });

/** The log-probs of sequences in vLLM now. */
async function scoresAtVllm(of: readonly TokenSequence[]): Promise<Float32Array[]> {
  const client = await connect();
  try {
    return await Promise.all(of.map(({ prompt, completion }) => client.score(prompt, completion)));
  } finally {
    await client.close();
  }
}

/** The largest difference at any token. */
const largest = (a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]) =>
  Math.max(...a.flatMap((row, i) => Array.from(row, (value, t) => Math.abs(value - b[i]![t]!))));

describe.each([
  ['a whole model', 'whole', []],
  ['an adapter, merged into its model', 'adapter', ['--lora-rank', '4']],
] as const)('%s', (_, name, options) => {
  let trainer: PythonProgram;
  beforeAll(async () => {
    trainer = await startTrainer(name, options);
  }, 5 * minutes);
  afterAll(() => trainer?.close());

  test(
    'reaches vLLM during a job',
    async () => {
      const firstStart = await state('pid');

      const settings = {
        output: join(folder, 'runs'),
        name,
        'language.model.address': trainer.ready,
        'language.model.sampler.address': `127.0.0.1:${port}`,
        'language.model.sampler.publish.command': [
          ...['bash', 'examples/language/restart-vllm.sh', '{folder}', String(port)],
          ...command(),
        ],
        'language.prompts.heldOut': 4,
        'language.sampling.maxTokens': 12,
        'learner.updates': 3,
        'learner.batchSize': 2,
        'learner.learningRate': 0.01,
        'reference.period': 2,
      };
      const set = Object.entries(settings).flatMap(([key, value]) => [
        '--set',
        `${key}=${JSON.stringify(value)}`,
      ]);
      const { code, stderr } = await pmpo(['train', 'examples/language/vllm.yaml', ...set], {
        timeoutSeconds: 1500,
        env,
      });
      // 3 updates of 2 prompts with 4 completions each: the restarts lost none.
      expect(stderr).toMatch(/Done: 24 completions, 3 updates/);
      expect(code).toBe(0);
      expect(await state('pid')).not.toBe(firstStart);

      const lines = (await readFile(join(folder, 'runs', name, 'metrics.jsonl'), 'utf8')).trim().split('\n');
      const differences = lines
        .map((line) => JSON.parse(line).values?.['sampler/logProbDifference'])
        .filter((value) => value !== undefined);
      expect(differences).toHaveLength(3);
      // The third update uses completions of the weights that were published after the second.
      for (const difference of differences) expect(difference).toBeLessThan(1e-3);

      // vLLM uses the tokenizer in the new folder.
      const sampler = await connect();
      const model = await openTrainer({ address: trainer.ready, sampler, deadlineSeconds: 60 });
      expect(sampler.tokenizer.vocabularyHash).toBe(model.info.vocabularyHash);
      expect(sampler.info.name).toContain(join(folder, name));
      const scores = await model.score(sequences, { policy: true, reference: true });
      await model.close();
      await sampler.close();
      const now = await scoresAtVllm(sequences);
      const of = (part: 'logProb' | 'referenceLogProb') => scores.map((score) => score[part]!);
      expect(largest(now, of('referenceLogProb'))).toBeLessThan(1e-3);
      // It serves neither the base model nor the policy, which has been updated since.
      expect(largest(now, base)).toBeGreaterThan(0.01);
      expect(largest(now, of('logProb'))).toBeGreaterThan(1e-3);
    },
    30 * minutes,
  );
});

test(
  'the script reports why a server does not start, and that its port is taken',
  async () => {
    await expect(
      run('bash', [script, folder, String(port), 'false'], { env: { ...process.env, ...env } }),
    ).rejects.toThrow(/the server ended before it answered; its log is .*vllm-\d+\.log/);
    const other = await freePort();
    const holder = `require('net').createServer().listen(${other}, '127.0.0.1', () => console.log())`;
    const child = execFile(process.execPath, ['-e', holder]);
    try {
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      await expect(
        run('bash', [script, folder, String(other), 'true'], { env: { ...process.env, ...env } }),
      ).rejects.toThrow(/port \d+ is used by a process that this script did not start/);
    } finally {
      child.kill();
    }
  },
  2 * minutes,
);
