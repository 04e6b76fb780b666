import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from './program.js';

const examples = join(projectRoot, 'examples/language');

/** The configuration of a language run that takes a few seconds, in a folder that has `writeReward`'s file. */
export function tinyLanguageIn(
  folder: string,
  more: { readonly language?: object; readonly learner?: object } = {},
) {
  return {
    output: join(folder, 'runs'),
    threads: 1,
    language: {
      model: {
        name: 'embedded',
        layers: 1,
        width: 16,
        heads: 2,
        keyValueHeads: 1,
        hidden: 32,
        pretraining: { steps: 10 },
      },
      prompts: { file: join(examples, 'prompts.jsonl'), heldOut: join(examples, 'held-out.jsonl') },
      sampling: { maxTokens: 12 },
      reward: { name: 'program', file: join(folder, 'reward.mjs') },
      ...more.language,
    } as Record<string, unknown>,
    reference: { period: 2 },
    learner: { updates: 6, batchSize: 2, learningRate: 1e-3, ...more.learner },
    evaluation: { every: 3 },
    checkpoint: { every: 2 },
  };
}

/** Writes a reward for longer completions into a folder. */
export const writeReward = (folder: string) =>
  writeFile(
    join(folder, 'reward.mjs'),
    'export const reward = ({ completion }) => completion.length / 100;\n',
  );
