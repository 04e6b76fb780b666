import { z } from 'zod';
import { foldIn, randomKey, randomSeed } from '../../random/keys.js';
import { answererSettings, openAnswerer } from '../judges/answerer.js';
import { readTemplate } from '../judges/template.js';
import type { Judged, RewardDefinition } from './reward.js';

const judgeSettings = z.strictObject({
  ...answererSettings,
  template: z
    .string()
    .describe(
      'A file with the question, in which {{prompt}} and {{completion}} are filled in; the first number of the answer counts',
    ),
  range: z.tuple([z.number(), z.number()]).default([0, 10]).describe('Numbers outside it are no answer'),
  attempts: z.int().min(1).default(2).describe('How often a question is asked until its answer is one'),
});

/** The first number of an answer that lies in the range. */
export function ratingIn(answer: string, [low, high]: readonly [number, number]): number | undefined {
  const found = /[-+]?\d+(?:\.\d+)?/.exec(answer)?.[0];
  const number = found === undefined ? Number.NaN : Number(found);
  return number >= low && number <= high ? number : undefined;
}

/** A language model that is asked for a number. What it never answers with one is not judged. */
export const judgeDefinition: RewardDefinition<z.infer<typeof judgeSettings>> = {
  name: 'judge',
  description: 'A language model that rates completions, by a question in a file',
  settings: judgeSettings,
  fileSettings: ['template'],
  async open(settings, { where }) {
    const template = await readTemplate(settings.template, where, ['completion'], ['prompt', 'completion']);
    const answerer = await openAnswerer(settings, where);
    const rate = async ({ prompt, completion }: Judged, signal?: AbortSignal) => {
      const question = template({ prompt, completion });
      for (let attempt = 0; attempt < settings.attempts; attempt++) {
        const seed = randomSeed(foldIn(foldIn(randomKey(attempt), prompt), completion)) >>> 1;
        const rating = ratingIn(await answerer.answer(question, seed, signal), settings.range);
        if (rating !== undefined) return rating;
      }
      return undefined;
    };
    return {
      evaluate: (completions, signal) => Promise.all(completions.map((one) => rate(one, signal))),
      close: () => answerer.close(),
    };
  },
};
