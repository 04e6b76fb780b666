import { z } from 'zod';
import { foreignText } from '../../core/foreign-text.js';
import { foldIn, randomKey, randomSeed } from '../../core/random-keys.js';
import { checkPattern, lastMatch } from '../judges/answers.js';
import { askUntilParsed, firstNotices, judgeModelSettings, openJudgeModel } from '../judges/judge-model.js';
import { readTemplate } from '../judges/template.js';
import type { RewardDefinition, RewardInput } from './reward.js';

const judgeSettings = z.strictObject({
  ...judgeModelSettings,
  template: z
    .string()
    .describe(
      'A file with the question to the judge. {{completion}} and {{prompt}} (or {{conversation}}: all messages of a chat) are filled in. It should ask for nothing but a number',
    ),
  range: z
    .tuple([z.number(), z.number()])
    .default([0, 10])
    .describe('The range of ratings; numbers outside it are ignored'),
  pattern: z
    .string()
    .optional()
    .describe(
      'A regular expression whose one group is the rating; its last match counts. Default: the only number of the answer in the range',
    ),
  attempts: z.int().min(1).default(2).describe('How often to ask until the answer has a rating'),
});

type JudgeSettings = z.infer<typeof judgeSettings>;

const numbers = /[-+]?\d+(?:\.\d+)?/g;

/**
 * The rating in an answer. Without a `pattern` it is the only number of the answer in the range: `8`, `Rating: 8`, `8/10`,
 * `8 out of 10`. An answer with several numbers (`On a scale of 0 to 10: 8`) is ambiguous and has no rating.
 * @returns undefined if the answer has no rating.
 */
export function ratingIn(
  answer: string,
  { range: [low, high], pattern }: Pick<JudgeSettings, 'range' | 'pattern'>,
): number | undefined {
  const inRange = (text: string) => Number(text) >= low && Number(text) <= high;
  if (pattern !== undefined) {
    const last = lastMatch(answer, pattern) ?? '';
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

/** The reward `judge`: a language model that is asked to rate completions. Without a rating, a completion is not judged. */
export const judgeDefinition: RewardDefinition<JudgeSettings> = {
  name: 'judge',
  description: 'A language model that rates completions; the question is in a file',
  settings: judgeSettings,
  fileSettings: ['template'],
  async open(settings, { where, notice }) {
    checkPattern(settings.pattern, `${where}.pattern`, 'Overall: (\\d+), around the number');
    const placeholders = ['prompt', 'conversation', 'completion'];
    const template = await readTemplate(settings.template, where, ['completion'], placeholders);
    const model = await openJudgeModel(settings, where, notice);
    const noticeFirst = firstNotices(notice);
    const report = (problem: string) => noticeFirst(`${where}: a completion was not judged: ${problem}`);
    const rate = async ({ prompt, conversation, completion }: RewardInput, signal?: AbortSignal) => {
      const question = template({ prompt, conversation, completion });
      const asked = await askUntilParsed(
        model,
        question,
        {
          attempts: settings.attempts,
          seedOf: (attempt) => randomSeed(foldIn(foldIn(randomKey(attempt), prompt), completion)) >>> 1,
          parse: (answer) => ratingIn(answer, settings),
        },
        signal,
      );
      if (asked.value !== undefined) return asked.value;
      report(
        'error' in asked
          ? asked.error.message
          : `the answer '${foreignText(asked.answer, 200)}' has no unambiguous number from ${settings.range.join(' to ')}`,
      );
      return undefined;
    };
    return {
      evaluate: (completions, signal) => Promise.all(completions.map((one) => rate(one, signal))),
      close: () => model.close(),
    };
  },
};
