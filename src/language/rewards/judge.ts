import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { foldIn, randomKey, randomSeed } from '../../core/random-keys.js';
import { answererSettings, askUntilRead, openAnswerer } from '../judges/answerer.js';
import { readTemplate } from '../judges/template.js';
import type { Judged, RewardDefinition } from './reward.js';

const judgeSettings = z.strictObject({
  ...answererSettings,
  template: z
    .string()
    .describe(
      'A file with the question, in which {{completion}} and {{prompt}} (or {{conversation}}: all turns of a chat) are filled in. It should ask for a number alone',
    ),
  range: z.tuple([z.number(), z.number()]).default([0, 10]).describe('Numbers outside it are no answer'),
  pattern: z
    .string()
    .optional()
    .describe(
      'A regular expression with one group, the number, of which the last match counts; default: the one number in the range that the answer has',
    ),
  attempts: z.int().min(1).default(2).describe('How often a question is asked until its answer is one'),
});

type JudgeSettings = z.infer<typeof judgeSettings>;

const numbers = /[-+]?\d+(?:\.\d+)?/g;

/**
 * The rating in an answer. Without a `pattern` it is the one number in the range that the answer has: `8`, `Rating: 8`, `8/10`,
 * `8 out of 10`. An answer with several says several things (`On a scale of 0 to 10: 8`), and which is meant nobody can know.
 * @returns undefined where there is none.
 */
export function ratingIn(
  answer: string,
  { range: [low, high], pattern }: Pick<JudgeSettings, 'range' | 'pattern'>,
): number | undefined {
  const inRange = (text: string) => Number(text) >= low && Number(text) <= high;
  if (pattern !== undefined) {
    const found = Array.from(answer.matchAll(new RegExp(pattern, 'gi')), (match) => match[1] ?? '');
    const last = found.at(-1)?.trim() ?? '';
    return last !== '' && inRange(last) ? Number(last) : undefined;
  }
  const outOf = new RegExp(
    String.raw`(\d)\s*(?:/|out of)\s*${String(high).replace('.', String.raw`\.`)}(?![\d.]*\d)`,
    'gi',
  );
  const found = new Set((answer.replace(outOf, '$1').match(numbers) ?? []).filter(inRange).map(Number));
  const [rating] = found;
  return found.size === 1 ? rating : undefined;
}

function checkPattern(pattern: string | undefined, where: string): void {
  if (pattern === undefined) return;
  let groups: number;
  try {
    // Beside nothing, which always matches.
    groups = new RegExp(`${pattern}|`).exec('')!.length - 1;
  } catch (cause) {
    throw new ConfigError({ where, what: `it is no regular expression: ${(cause as Error).message}`, cause });
  }
  if (groups !== 1) {
    throw new ConfigError({
      where,
      what: `it has ${groups} groups`,
      remedy: 'Give it one, around the number: Overall: (\\d+)',
    });
  }
}

/** What is said of single answers; more of the same would say nothing new. */
const mostNotices = 3;

/** A language model that is asked for a number. What it never answers with one is not judged. */
export const judgeDefinition: RewardDefinition<JudgeSettings> = {
  name: 'judge',
  description: 'A language model that rates completions, by a question in a file',
  settings: judgeSettings,
  fileSettings: ['template'],
  async open(settings, { where, notice }) {
    checkPattern(settings.pattern, `${where}.pattern`);
    const holes = ['prompt', 'conversation', 'completion'];
    const template = await readTemplate(settings.template, where, ['completion'], holes);
    const answerer = await openAnswerer(settings, where, notice);
    let notices = 0;
    const tell = (problem: string) => {
      if (notices++ < mostNotices) notice(`${where}: a completion was not judged: ${problem}`);
    };
    const rate = async ({ prompt, conversation, completion }: Judged, signal?: AbortSignal) => {
      const question = template({ prompt, conversation, completion });
      const asked = await askUntilRead(
        answerer,
        question,
        {
          attempts: settings.attempts,
          seedOf: (attempt) => randomSeed(foldIn(foldIn(randomKey(attempt), prompt), completion)) >>> 1,
          read: (answer) => ratingIn(answer, settings),
        },
        signal,
      );
      if (asked.value !== undefined) return asked.value;
      tell(
        'error' in asked
          ? asked.error.message
          : `no single number from ${settings.range.join(' to ')} can be read from the answer ${JSON.stringify(asked.answer.slice(0, 200))}`,
      );
      return undefined;
    };
    return {
      evaluate: (completions, signal) => Promise.all(completions.map((one) => rate(one, signal))),
      close: () => answerer.close(),
    };
  },
};
