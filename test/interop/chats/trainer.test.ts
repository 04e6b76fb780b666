import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadLanguageConfig } from '../../../src/config/load.js';
import { readDataset, readPrompts } from '../../../src/experiments/language-data.js';
import { openTrainer, type TrainerClient } from '../../../src/language/trainer-client.js';
import { VllmClient } from '../../../src/language/vllm-client.js';
import { type PythonProgram, startPythonProgram } from '../../../src/python/program.js';
import { run, writeConfig } from '../../end-to-end/program.js';

// Data sets of chats and of texts reach a model in a trainer with the tokens, and so the log-probs, that transformers and TRL give them.

const here = fileURLToPath(new URL('.', import.meta.url));
const plugin = fileURLToPath(new URL('../../../plugins/torch-trainer', import.meta.url));
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const tool = { type: 'function', function: { name: 'now', description: 'The time', parameters: {} } };
/** Chats, a text with a chat's answer, a chat with several turns to learn, and one with tools. */
const chats = [
  { prompt: [user('What is 2 + 2?')], completion: [assistant('four')] },
  { prompt: 'What is the sum?', completion: [assistant('  the sum\n')] },
  { prompt: [{ role: 'system', content: 'Be brief' }, user('Hello')], completion: [assistant('Yes')] },
  { prompt: [user('one')], completion: [assistant('four'), user('Sure?'), assistant('I see')] },
  { prompt: [user('When?')], completion: [assistant('end.')], tools: [tool] },
];
const texts = [
  { prompt: 'the sum of two and fo', completion: 'ur, fourth' },
  { prompt: 'What is', completion: ' four' },
];

interface Score {
  readonly prompt: readonly number[];
  readonly completion: readonly number[];
  readonly logProb: number;
  readonly sampled: readonly number[];
}

describe.each([
  ['qwen-2.5', chats],
  ['qwen-2.5', texts],
  ['llama-2', texts],
  ['gemma-3', chats],
])('%s', (family, rows) => {
  let folder: string;
  let program: PythonProgram;
  let sampler: VllmClient;
  let trainer: TrainerClient;
  let expected: readonly Score[];
  let file: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pmpo-chats-'));
    const [data, scores, model] = ['data.jsonl', 'scores.json', 'model'].map((name) => join(folder, name));
    await writeFile(data!, rows.map((row) => `${JSON.stringify({ ...row, label: true })}\n`).join(''));
    const script = join(here, 'make_model.py');
    await promisify(execFile)(process.env.PMPO_PYTHON_TRL!, ['-B', script, family, model!, data!, scores!]);
    expected = JSON.parse(await readFile(scores!, 'utf8'));
    program = await startPythonProgram({
      name: 'the trainer',
      python: process.env.PMPO_PYTHON_TORCH_TRAINER!,
      args: [
        ...['-B', '-m', 'pmpo_torch_trainer', '--model', model!, '--folder', folder],
        ...['--port', '0', '--device', 'cpu', '--until-stdin-closes'],
      ],
      env: { ...process.env, PYTHONPATH: [plugin, process.env.PYTHONPATH ?? ''].join(delimiter) },
      readyLine: /^Serving .* on (\S+:\d+)/m,
    });
    const address = program.ready;
    sampler = await VllmClient.connect({ address });
    trainer = await openTrainer({ address, sampler });
    file = await writeConfig(folder, 'run.yaml', {
      language: { model: { name: 'trainer', address }, dataset: { file: data, heldOut: 0 } },
      operator: { name: 'behavior-cloning' },
    });
  }, 240_000);
  afterAll(async () => {
    await trainer?.close();
    await sampler?.close();
    await program?.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  test('has the tokens and the log-probs that transformers gives', async () => {
    const loaded = await loadLanguageConfig(file);
    const { contexts } = await readDataset(loaded, sampler.tokenizer, 512, () => {});
    const sequences = contexts.map(({ prompt, completions }) => {
      return { prompt: prompt.tokens, completion: completions[0]!.tokens };
    });
    expect(sequences.map(({ prompt, completion }) => [[...prompt], [...completion]])).toEqual(
      expected.map(({ prompt, completion }) => [prompt, completion]),
    );
    const scores = await trainer.score(sequences, { policy: true });
    scores.forEach(({ logProb }, i) => {
      const sum = logProb!.reduce((total, value) => total + value, 0);
      expect(sum).toBeCloseTo(expected[i]!.logProb, 3);
    });
  });

  test('gives sampled jobs the prompt of apply_chat_template', async () => {
    const own = chats === rows;
    const prompts = rows.flatMap(({ prompt, ...row }, i) => [
      { ...row, prompt: own && typeof prompt === 'string' ? [user(prompt)] : prompt, i },
    ]);
    const data = join(folder, 'prompts.jsonl');
    await writeFile(data, prompts.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const sampling = await writeConfig(folder, 'sampling.yaml', {
      language: {
        model: { name: 'trainer', address: program.ready },
        prompts: { file: data, heldOut: 1 },
        reward: { name: 'program', file: 'reward.mjs' },
      },
      learner: { batchSize: 1 },
    });
    const { config } = await loadLanguageConfig(sampling);
    const { training, heldOut } = await readPrompts(config, sampler.tokenizer, 512, () => {});
    const tokens = [...training, ...heldOut].map((prompt) => [...prompt.tokens]);
    expect(tokens).toEqual(expected.map(({ sampled }) => sampled));
    const ends = [...training, ...heldOut].map(({ stopTokens = [] }) =>
      sampler.tokenizer.decode(stopTokens, { special: true }),
    );
    const end = { 'qwen-2.5': '<|im_end|>', 'gemma-3': '<end_of_turn>', 'llama-2': '' }[family as 'llama-2'];
    expect(new Set(ends)).toEqual(new Set([own ? end : '']));
  });

  test('is shown by pmpo data, token by token', async () => {
    const { stdout, code } = await run(['data', file, '--count', '1']);
    const [first] = expected;
    expect(stdout).toMatch(/^Example 1\n {2}prompt, /);
    expect(stdout).toContain(`prompt, ${first!.prompt.length} tokens: │`);
    expect(stdout).toContain(`learned with 1, ${first!.completion.length} tokens: │`);
    expect(code).toBe(0);
  });
});
