import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { tokensPerBatch } from './batches.js';
import type { Decoder } from './decoder.js';
import type { Generation } from './generation.js';
import { Scheduler } from './scheduler.js';

const vocabularySize = 4;
const contextLength = 4096;

/** A model that gives every token the same probability, and records the lengths of the prompts it processes. */
function evenDecoder(slots: number) {
  const read: number[][] = [];
  const decoder: Decoder = {
    slots,
    capacity: contextLength,
    reserve: async () => {},
    async prefill(prompts) {
      read.push(prompts.map(({ length }) => length));
      return prompts.map(() => ({ logits: new Float32Array(vocabularySize) }));
    },
    step: async () => new Float32Array(slots * vocabularySize),
  };
  return { decoder, read };
}

function generation(promptLength: number, completions = 1): Generation {
  return {
    prompt: new Int32Array(promptLength),
    completions,
    maxTokens: 3,
    minTokens: 0,
    temperature: 1,
    topP: 1,
    topK: 0,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    stopTexts: [],
    stopTokens: new Set(),
    key: randomKey(promptLength),
    topLogProbs: 0,
  };
}

/** The lengths of the prompts that were processed together, after all completions have ended. */
async function readTogether(slots: number, generations: readonly Generation[]): Promise<number[][]> {
  const { decoder, read } = evenDecoder(slots);
  const scheduler = new Scheduler({ decoder, contextLength, vocabularySize, decode: () => '' });
  const ends: number[] = [];
  await Promise.all(
    generations.map(
      ({ completions }, i) =>
        new Promise<void>((resolve, reject) => {
          let open = completions;
          scheduler.submit(generations[i]!, {
            token: () => {},
            end: () => {
              ends.push(i);
              open -= 1;
              if (open === 0) resolve();
            },
            fail: reject,
          });
        }),
    ),
  );
  await scheduler.close();
  expect(ends).toHaveLength(generations.reduce((sum, { completions }) => sum + completions, 0));
  return read;
}

describe('prompts that are processed together', () => {
  it('are as many as there are slots, if they are short', async () => {
    const read = await readTogether(8, [generation(3), generation(5, 4), generation(2, 3), generation(9)]);
    expect(read).toEqual([[3, 5, 2], [9]]);
  });

  it('have at most the tokens of a training batch, including padding', async () => {
    const read = await readTogether(
      32,
      Array.from({ length: 6 }, () => generation(1500)),
    );
    expect(read).toEqual([
      [1500, 1500],
      [1500, 1500],
      [1500, 1500],
    ]);
    // Three prompts would be padded to four.
    expect(4 * 1504).toBeGreaterThan(tokensPerBatch);
  });

  it('wait for a long one before them, which is always admitted', async () => {
    const read = await readTogether(32, [generation(4000), generation(3), generation(3)]);
    expect(read).toEqual([[4000], [3, 3]]);
  });
});
