import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveLanguageConfig } from '../config/load.js';
import { ConfigError } from '../core/errors.js';
import { trainTokenizer } from '../language/embedded/tokenizer-training.js';
import { HuggingFaceTokenizer } from '../language/hugging-face-tokenizer.js';
import { readPrompts } from './language-data.js';

const tokenizer = new HuggingFaceTokenizer(
  trainTokenizer(['The soup was warm.'], { vocabularySize: 270, contextLength: 48 }),
);

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

async function promptsOf(heldOut: string | number, batchSize: number, file = 'prompts.jsonl') {
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
  return readPrompts(config, tokenizer, 48, (message) => notices.push(message));
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
