import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveLanguageConfig } from '../config/load.js';
import { ConfigError } from '../core/errors.js';
import { trainTokenizer } from '../language/embedded/tokenizer-training.js';
import { HuggingFaceTokenizer } from '../language/hugging-face-tokenizer.js';
import { checkDataset, datasetUse } from './dataset-checks.js';
import { readDataset, readPrompts } from './language-data.js';

const tokenizer = new HuggingFaceTokenizer(
  trainTokenizer(['The soup was warm.'], { vocabularySize: 270, contextLength: 48 }),
);

const chatTokenizer = new HuggingFaceTokenizer({
  ...trainTokenizer(['The soup was warm.'], { vocabularySize: 270, contextLength: 48 }),
  chatTemplate: '{% for message in messages %}{{ message.content }}|{% endfor %}',
});

let folder: string;
const notices: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-language-data-'));
  const rows = (count: number) =>
    Array.from({ length: count }, (_, i) => `${JSON.stringify({ prompt: `Soup ${i}` })}\n`).join('');
  await writeFile(join(folder, 'prompts.jsonl'), rows(6));
  await writeFile(join(folder, 'held-out.jsonl'), rows(2).replaceAll('Soup', 'Stew'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function promptsOf(
  heldOut: string | number,
  batchSize: number,
  file = 'prompts.jsonl',
  reads: HuggingFaceTokenizer = tokenizer,
) {
  const text = JSON.stringify({
    language: {
      model: { name: 'embedded' },
      prompts: { file, heldOut },
      sampling: { maxTokens: 8 },
      reward: { name: 'program', file: 'reward.mjs' },
    },
    learner: { updates: 1, batchSize },
  });
  const { config } = await resolveLanguageConfig(join(folder, 'run.json'), text);
  return readPrompts(config, reads, 48, (message) => notices.push(message));
}

describe('readPrompts', () => {
  it.each([
    [2, 4],
    ['held-out.jsonl', 6],
  ])('splits the prompts with heldOut: %s', async (heldOut, count) => {
    const { training, heldOut: held } = await promptsOf(heldOut, count);
    expect(training.map(({ text }) => text)).toEqual(Array.from({ length: count }, (_, i) => `Soup ${i}`));
    expect(held).toHaveLength(2);
  });

  it.each([
    [2, 5, 4],
    ['held-out.jsonl', 7, 6],
  ])('refuses a batch that would repeat prompts, with heldOut: %s', async (heldOut, batchSize, count) => {
    const reading = promptsOf(heldOut, batchSize);
    await expect(reading).rejects.toThrow(ConfigError);
    await expect(reading).rejects.toThrow(
      `learner.batchSize: ${batchSize} exceeds the ${count} prompts to learn from`,
    );
  });

  it('learns from no prompt that is held out, and says so', async () => {
    const prompts = ['a', 'b', 'c', 'a'].map((prompt) => `${JSON.stringify({ prompt })}\n`);
    await writeFile(join(folder, 'repeated.jsonl'), prompts.join(''));
    notices.length = 0;
    const { training, heldOut } = await promptsOf(1, 2, 'repeated.jsonl');
    expect(training.map(({ text }) => text)).toEqual(['b', 'c']);
    expect(heldOut.map(({ text }) => text)).toEqual(['a']);
    expect(notices).toEqual([
      expect.stringMatching(/repeated\.jsonl: 1 rows have prompts that are held out/),
    ]);
  });

  it('reads the system message of a row, and says which columns it does not read', async () => {
    const rows = [
      { prompt: 'a', system: 'S', answer: 1 },
      { prompt: 'b', answer: 2 },
      { prompt: 'a', answer: 3 },
    ];
    await writeFile(join(folder, 'system.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    notices.length = 0;
    const { training, heldOut } = await promptsOf(1, 2, 'system.jsonl', chatTokenizer);
    expect([...training, ...heldOut].map(({ messages }) => messages)).toEqual([
      [
        { role: 'system', content: 'S' },
        { role: 'user', content: 'a' },
      ],
      [{ role: 'user', content: 'b' }],
      [{ role: 'user', content: 'a' }],
    ]);
    expect(notices).toEqual([
      expect.stringMatching(/system\.jsonl: columns that are no part of the prompts, .*: answer$/),
    ]);
  });

  it('takes rows with other tools for other prompts', async () => {
    const rows = ['add', 'add', 'subtract'].map((name) => ({
      prompt: [{ role: 'user', content: 'a' }],
      tools: [{ name }],
    }));
    await writeFile(join(folder, 'tools.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    expect((await promptsOf(1, 2, 'tools.jsonl', chatTokenizer)).training).toHaveLength(2);
  });

  it('leaves out, names and counts prompts that cannot be read or do not fit', async () => {
    const rows = [
      { prompt: 'a' },
      { prompt: '' },
      { prompt: 'b' },
      { prompt: 'x '.repeat(60) },
      { prompt: 'c' },
    ];
    await writeFile(join(folder, 'some.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    notices.length = 0;
    const { training } = await promptsOf(1, 2, 'some.jsonl');
    expect(training.map(({ text }) => text)).toEqual(['a', 'b']);
    expect(notices).toEqual([
      expect.stringMatching(
        /some\.jsonl: of 5 rows, 2 left out: 1 because 'prompt' is empty \(first at .*some\.jsonl:2\), 1 because the prompt has more than the 40 tokens that fit into a context of 48 with a completion of 8 \(first at .*:4\)/,
      ),
    ]);
  });
});

/** Reads rows for an operator and a feedback and checks them, as a run does. @returns the contexts and the notices. */
async function dataFor(
  rows: readonly object[],
  operator: object,
  { feedback, ...dataset }: { readonly feedback?: object; readonly [setting: string]: unknown } = {},
) {
  await writeFile(join(folder, 'data.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const text = JSON.stringify({
    language: { model: { name: 'embedded' }, dataset: { file: 'data.jsonl', ...dataset } },
    operator,
    ...(feedback === undefined ? {} : { feedback }),
    learner: { updates: 1, batchSize: 1 },
  });
  const loaded = await resolveLanguageConfig(join(folder, 'run.json'), text);
  const said: string[] = [];
  const { contexts, evaluations } = await readDataset(loaded, tokenizer, 48, (line) => said.push(line));
  const use = datasetUse(loaded, evaluations);
  return {
    evaluations,
    contexts: checkDataset(contexts, use, (line) => said.push(line)),
    said: said.join('\n'),
  };
}

/** Two prompts with two completions each, in whose column `label` are the given values. */
const labelled = (...labels: readonly unknown[]) =>
  labels.map((label, i) => ({ prompt: `p${i >> 1}`, completion: `c${i}`, label }));

describe('readDataset and checkDataset', () => {
  const imitating = [
    { name: 'mpo' },
    { name: 'v-mpo' },
    { name: 'awr' },
    { name: 'crr', filter: 'exponential' },
  ];

  it.each(imitating)('refuse completions that are all labelled −1 for $name', async (operator) => {
    for (const label of [-1, false]) {
      await expect(dataFor(labelled(label, label, label, label), operator)).rejects.toThrow(
        /data\.jsonl: every prompt has rejected completions only, and the operator/,
      );
    }
  });

  it.each(imitating)('leave out prompts with completions labelled −1 only for $name', async (operator) => {
    const { evaluations, contexts, said } = await dataFor(labelled(1, -1, -1, -1), operator);
    expect(evaluations).toBe('labels');
    expect(contexts.map(({ prompt }) => prompt.text)).toEqual(['p0']);
    expect(said).toMatch(/1 accepted and 3 rejected completions/);
    expect(said).toMatch(/prompts with rejected completions only: 1 of 2\. They are left out/);
  });

  it('give scores to mpo where labels cannot be meant, or where the configuration says so', async () => {
    expect((await dataFor(labelled(3, -1, 2, 0), { name: 'mpo' })).evaluations).toBe('scores');
    const columns = { score: 'label' };
    expect((await dataFor(labelled(-1, -0.5, 0, 1), { name: 'mpo' }, { columns })).evaluations).toBe(
      'scores',
    );
  });

  it.each([{ name: 'threshold', value: 0.5 }, { name: 'top-k', accept: 1, reject: 1 }, { name: 'median' }])(
    'refuse labels for the feedback $name',
    async (feedback) => {
      for (const labels of [
        [true, false, true, false],
        [1, -1, 1, -1],
      ]) {
        await expect(dataFor(labelled(...labels), { name: 'pmpo' }, { feedback })).rejects.toThrow(
          `data.jsonl: the rows have labels, but the feedback '${feedback.name}' reads scores`,
        );
      }
      const columns = { score: 'label' };
      const { evaluations } = await dataFor(labelled(1, -1, 1, -1), { name: 'pmpo' }, { feedback, columns });
      expect(evaluations).toBe('scores');
    },
  );
});
