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
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-language-data-'));
  const rows = (count: number) =>
    Array.from({ length: count }, (_, i) => `${JSON.stringify({ prompt: `Soup ${i}` })}\n`).join('');
  await writeFile(join(folder, 'prompts.jsonl'), rows(6));
  await writeFile(join(folder, 'held-out.jsonl'), rows(2));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function prompts(heldOut: string | number, batchSize: number) {
  const text = JSON.stringify({
    language: {
      model: { name: 'embedded' },
      prompts: { file: 'prompts.jsonl', heldOut },
      sampling: { maxTokens: 8 },
      reward: { name: 'program', file: 'reward.mjs' },
    },
    learner: { updates: 1, batchSize },
  });
  const { config } = await resolveLanguageConfig(join(folder, 'run.json'), text);
  return readPrompts(config, tokenizer, 48);
}

describe('readPrompts', () => {
  it.each([
    [2, 4],
    ['held-out.jsonl', 6],
  ])('splits the prompts with heldOut: %s', async (heldOut, count) => {
    const { training, heldOut: held } = await prompts(heldOut, count);
    expect(training.map(({ text }) => text)).toEqual(Array.from({ length: count }, (_, i) => `Soup ${i}`));
    expect(held).toHaveLength(2);
  });

  it.each([
    [2, 5, 4],
    ['held-out.jsonl', 7, 6],
  ])('refuses a batch that would repeat prompts, with heldOut: %s', async (heldOut, batchSize, count) => {
    const reading = prompts(heldOut, batchSize);
    await expect(reading).rejects.toThrow(ConfigError);
    await expect(reading).rejects.toThrow(
      `learner.batchSize: ${batchSize} exceeds the ${count} prompts to learn from`,
    );
  });
});
