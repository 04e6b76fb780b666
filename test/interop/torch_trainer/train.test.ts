import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openTrainer } from '../../../src/language/trainer-client.js';
import { VllmClient } from '../../../src/language/vllm-client.js';
import { type PythonProgram, startPythonProgram } from '../../../src/python/program.js';
import { run, writeConfig } from '../../end-to-end/program.js';

// `pmpo train` on a model in plugins/torch-trainer, with the same configuration for every operator.

const python = process.env.PMPO_PYTHON_TORCH_TRAINER;
if (python === undefined) throw new Error('run this with `npm run test:interop torch_trainer`');
const here = fileURLToPath(new URL('.', import.meta.url));
const plugin = fileURLToPath(new URL('../../../plugins/torch-trainer', import.meta.url));
const timeoutSeconds = 240;

let folder: string;
let program: PythonProgram;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-trainer-runs-'));
  await promisify(execFile)(python, ['-B', join(here, 'small_models.py'), folder]);
  const prompts = Array.from({ length: 12 }, (_, i) => `${JSON.stringify({ prompt: `number ${i}` })}\n`);
  await writeFile(join(folder, 'prompts.jsonl'), prompts.join(''));
  await writeFile(
    join(folder, 'reward.mjs'),
    'export const reward = ({ completion }) => completion.length;\n',
  );
  await writeFile(
    join(folder, 'plain.ts'),
    `import type { PluginApi } from 'pmpo';
export function register({ operators, z, tf }: PluginApi) {
  operators.register({
    name: 'plain',
    description: 'Accepted up, rejected down',
    settings: z.strictObject({}),
    create: () => ({
      needs: { feedback: 'both', evaluation: false, exactKl: false },
      initialState: () => ({}),
      loss: ({ logProb, accept, reject }) => {
        const loss = tf.mean(tf.mul(logProb, tf.sub(reject, accept))) as never;
        return { loss, metrics: {} };
      },
    }),
  } as never);
}
`,
  );
}, 600_000);
afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** Each test starts with a new trainer, because a run needs one that has not been trained. */
beforeEach(async () => {
  const options = ['--port', '0', '--device', 'cpu', '--lora-rank', '4', '--until-stdin-closes'];
  program = await startPythonProgram({
    name: 'the trainer',
    python,
    args: [
      '-B',
      '-m',
      'pmpo_torch_trainer',
      '--model',
      join(folder, 'gemma3'),
      '--folder',
      folder,
      ...options,
    ],
    env: { ...process.env, PYTHONPATH: [plugin, process.env.PYTHONPATH ?? ''].join(delimiter) },
    readyLine: /^Serving .* on (\S+:\d+)/m,
  });
}, 300_000);
afterEach(() => program?.close());

const config = () => ({
  output: join(folder, 'runs'),
  plugins: ['./plain.ts'],
  language: {
    model: { name: 'trainer', address: program.ready, deadlineSeconds: timeoutSeconds },
    prompts: { file: 'prompts.jsonl', heldOut: 4 },
    sampling: { maxTokens: 6 },
    reward: { name: 'program', file: 'reward.mjs' },
  } as Record<string, unknown>,
  reference: { period: 2 },
  learner: { updates: 3, batchSize: 2, samples: 4, learningRate: 1e-3 },
  evaluation: { every: 2 },
  checkpoint: { every: 2 },
});

describe('pmpo train on a trainer', () => {
  test.each(['pmpo', 'dpo', 'kto', 'mpo', 'plain'])(
    'improves with the operator %s',
    async (operator) => {
      const file = await writeConfig(folder, 'run.yaml', config());
      const args = ['train', file, '--operator', operator, '--name', operator];
      const { code, stderr } = await run(args, { timeoutSeconds });
      expect(stderr).toMatch(/Done: 24 completions, 3 updates/);
      expect(code).toBe(0);
      const left = join(folder, 'runs', operator);
      expect(await readFile(join(left, 'completions.html'), 'utf8')).toContain('number 11');
      const lines = (await readFile(join(left, 'metrics.jsonl'), 'utf8')).trim().split('\n');
      const updates = lines
        .map((line) => JSON.parse(line).values)
        .filter((v) => v?.['policy/gradientNorm'] !== undefined);
      expect(updates).toHaveLength(3);
      for (const values of updates) {
        expect(values['policy/gradientNorm']).toBeGreaterThan(0);
        // The trainer samples with the same model that it scores with, so the log-probs agree.
        expect(values['sampler/logProbDifference']).toBeLessThan(1e-3);
      }
      // The policy is published as an adapter, in the trainer's folder.
      const own = (await readdir(folder)).find((name) => name.startsWith(`${operator}-`));
      expect(await readdir(join(folder, own!, 'policy'))).toContain('adapter_model.safetensors');
    },
    300_000,
  );

  test('resumes from a checkpoint', async () => {
    const file = await writeConfig(folder, 'more.yaml', {
      ...config(),
      learner: { ...config().learner, updates: 5 },
    });
    const whole = await run(['train', file, '--name', 'whole'], { timeoutSeconds });
    expect(whole.code).toBe(0);
    await rm(join(folder, 'runs/whole/summary.json'));
    const again = await run(['train', '--resume', join(folder, 'runs/whole')], { timeoutSeconds });
    expect(again.stderr).toMatch(/Done: 40 completions, 5 updates/);
    expect(again.code).toBe(0);
  }, 300_000);

  test('resets a trained trainer, so that a run is the same as on a new one', async () => {
    const file = await writeConfig(folder, 'used.yaml', config());
    const [first, second] = ['first', 'second'];
    expect((await run(['train', file, '--name', first], { timeoutSeconds })).code).toBe(0);
    const again = await run(['train', file, '--name', second], { timeoutSeconds });
    expect(again.stderr).toMatch(/had already made 3 steps and was reset to its initial weights/);
    expect(again.code).toBe(0);
    const completionsOf = (name: string) =>
      readFile(join(folder, 'runs', name, 'completions/update-00000003.jsonl'), 'utf8');
    expect(await completionsOf(second)).toBe(await completionsOf(first));
  }, 300_000);

  test('refuses a trainer that another run is using', async () => {
    const own = await VllmClient.connect({ address: program.ready });
    const holder = await openTrainer({ address: program.ready, sampler: own, holder: 'the run before' });
    const file = await writeConfig(folder, 'busy.yaml', config());
    const busy = await run(['train', file, '--name', 'busy'], { timeoutSeconds });
    expect(busy.stderr).toMatch(/the run before is using this trainer; stop it, wait until it ends/);
    expect(busy.code).toBe(1);
    await expect(readdir(join(folder, 'runs', 'busy'))).rejects.toThrow('ENOENT');
    await holder.close();
    await own.close();
  }, 300_000);

  test('refuses chat prompts without a chat template, and names their line', async () => {
    const { language, ...rest } = config();
    const chat = { ...language, prompts: { file: 'prompts.jsonl', heldOut: 4, chat: true } };
    const file = await writeConfig(folder, 'chat.yaml', { ...rest, language: chat });
    const { code, stderr } = await run(['train', file], { timeoutSeconds });
    expect(stderr).toMatch(/prompts\.jsonl:1: .*chat template/);
    expect(code).toBe(1);
  }, 300_000);
});
