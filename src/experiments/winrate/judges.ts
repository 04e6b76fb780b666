import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { createCatalogue } from '../../config/catalogue.js';
import { tlsFiles, withAbsolutePaths } from '../../config/file-keys.js';
import { ConfigError } from '../../core/errors.js';
import { foreignText } from '../../core/foreign-text.js';
import { formatPath } from '../../core/key-path.js';
import { foldIn, randomKey, randomSeed } from '../../core/random-keys.js';
import { explainIssues } from '../../core/schema-problems.js';
import { checkPattern, verdictIn } from '../../language/judges/answers.js';
import {
  askUntilParsed,
  firstNotices,
  type JudgeModel,
  judgeModelSettings,
  openJudgeModel,
} from '../../language/judges/judge-model.js';
import { readTemplate, type Template } from '../../language/judges/template.js';
import type { Reward, RewardContext } from '../../language/rewards/reward.js';
import type { UserCodeContext } from '../../system/user-code.js';
import type { PublicModules } from '../../system/user-module.js';
import { openUserJudge, type Pair } from './user-judge.js';
import type { Winner } from './verdicts.js';

/** A judge's decision about two completions. */
export interface Decision {
  readonly better: 'first' | 'second' | 'tie' | 'unanswered';
  /** The judge's answer: its text, or two rewards. */
  readonly answer: string;
}

/** Decides which of two completions is better. */
export interface PairJudge {
  /** Whether the order could influence the decision, so that both orders must be asked. */
  readonly bothOrders: boolean;
  /** The rewards of completions, if the judge gives each its own; undefined for one that it cannot judge. */
  readonly rewardsOf?: Reward['evaluate'];
  /** The judge's settings or source as text. Judges with different texts are different judges. */
  readonly identity: string;
  decide(pair: Pair, signal?: AbortSignal): Promise<Decision>;
  close(): Promise<void>;
}

type Notice = RewardContext['notice'];

/** A judge that prefers the completion with the greater reward. */
function rewardJudge(reward: Reward, identity: string): PairJudge {
  return {
    identity,
    bothOrders: false,
    rewardsOf: (inputs, signal) => reward.evaluate(inputs, signal),
    async decide({ prompt, conversation, row, first, second, finishReasons }, signal) {
      const inputs = [first, second].map((completion, i) => ({
        prompt,
        conversation,
        completion,
        finishReason: finishReasons[i]!,
        row,
      }));
      const [one, other] = await reward.evaluate(inputs, signal);
      if (one === undefined || other === undefined)
        return { better: 'unanswered', answer: `${one} and ${other}` };
      const better = one > other ? 'first' : one < other ? 'second' : 'tie';
      return { better, answer: `${one} and ${other}` };
    },
    close: () => reward.close(),
  };
}

const comparisonSettings = z.strictObject({
  name: z.literal('language-model'),
  ...judgeModelSettings,
  template: z
    .string()
    .describe(
      'A file with the question to the judge. {{prompt}} (or {{conversation}}: all messages of a chat), {{first}} and {{second}} are filled in',
    ),
  first: z.string().default('A').describe('The word in an answer that stands for the first completion'),
  second: z.string().default('B').describe('The word that stands for the second completion'),
  tie: z.string().default('TIE').describe('The word for a tie'),
  pattern: z
    .string()
    .optional()
    .describe(
      'A regular expression whose one group is one of these words; its last match counts. Without a match, the answer must be nothing but one of the words, or end with it after `Verdict:`',
    ),
  attempts: z.int().min(1).default(2).describe('How often to ask until the answer has a verdict'),
});
type ComparisonSettings = z.infer<typeof comparisonSettings>;

function languageModelJudge(
  settings: ComparisonSettings,
  template: Template,
  model: JudgeModel,
  { identity, notice, key }: { readonly identity: string; readonly notice: Notice; readonly key: string },
): PairJudge {
  const noticeFirst = firstNotices(notice);
  const report = (problem: string) => noticeFirst(`${key}: ${problem}`);
  return {
    // Verdicts that were read in another way belong to another judge.
    identity: `${identity}\nreading: 2`,
    bothOrders: true,
    async decide({ prompt, conversation, first, second }, signal) {
      const question = template({ prompt, conversation, first, second });
      const asked = await askUntilParsed(
        model,
        question,
        {
          attempts: settings.attempts,
          seedOf: (attempt) => randomSeed(foldIn(randomKey(attempt), question)) >>> 1,
          parse: (answer) => verdictIn(answer, settings),
        },
        signal,
      );
      if ('error' in asked) {
        report(asked.error.message);
        return { better: 'unanswered', answer: asked.error.message };
      }
      if (asked.value === undefined) {
        const { first: a, second: b, tie } = settings;
        report(`the answer '${foreignText(asked.answer, 200)}' has no verdict: ${a}, ${b} or ${tie}`);
      }
      return { better: asked.value ?? 'unanswered', answer: asked.answer };
    },
    close: () => model.close(),
  };
}

/** How a judge is opened. */
interface Opening {
  readonly context: UserCodeContext;
  /** What a module may import from this package. */
  readonly modules: PublicModules;
  /** The option or the setting that names the judge, for messages. */
  readonly key: string;
}

/** A judge from a user's module, which exports `compare(pair)`, or `reward(input)` as for training. */
async function programJudge(file: string, { context, modules, key }: Opening): Promise<PairJudge> {
  const where = `${key} ${file}`;
  const ownModules = Object.keys(modules).length > 0;
  const judge = await openUserJudge({ file: resolve(file), where, ownModules }, context);
  const { compare, reward } = judge;
  const identity = `${await readFile(file, 'utf8')}${judge.identity}`;
  if (reward !== undefined) return rewardJudge(reward, identity);
  return {
    identity,
    bothOrders: true,
    async decide(pair, signal) {
      const better = await compare!(pair, signal);
      return { better, answer: better };
    },
    close: () => judge.close(),
  };
}

/** Settings with the paths at `keys` resolved from the folder of the judge's file. */
function withResolvedPaths<T>(settings: T, file: string, keys: readonly string[]): T {
  const paths = [...keys.map((key) => [key]), ...tlsFiles(['tls']), ['token', 'file']];
  return withAbsolutePaths(settings, paths, () => dirname(resolve(file)));
}

/** A judge from a file of settings. */
async function settingsJudge(
  file: string,
  { context: { notice, signal }, modules, key }: Opening,
): Promise<PairJudge> {
  const where = `${key} ${file}`;
  let text: string;
  let values: unknown;
  try {
    text = await readFile(file, 'utf8');
    values = parse(text);
  } catch (cause) {
    throw new ConfigError({
      where,
      what: `it cannot be read: ${(cause as Error).message.split('\n')[0]}`,
      cause,
    });
  }
  const { name } = (values ?? {}) as { name?: string };
  const { rewards } = createCatalogue(modules);
  const parseAs = <T>(schema: z.ZodType<T>): T => {
    const parsed = schema.safeParse(values);
    if (parsed.success) return parsed.data;
    const problems = explainIssues(parsed.error, schema, values);
    const lines = problems.map(
      ({ path, what, remedy }) => `${formatPath(path)} ${what}${remedy === undefined ? '' : `. ${remedy}`}`,
    );
    throw new ConfigError({ where, what: lines.join('\n') });
  };
  if (name === 'language-model') {
    const settings = withResolvedPaths(parseAs(comparisonSettings), file, ['template']);
    checkPattern(settings.pattern, `${where}: pattern`, String.raw`Verdict: (\w+)`);
    const template = await readTemplate(
      settings.template,
      where,
      ['first', 'second'],
      ['prompt', 'conversation', 'first', 'second'],
    );
    const identity = text + (await readFile(settings.template, 'utf8'));
    return languageModelJudge(settings, template, await openJudgeModel(settings, key, notice), {
      identity,
      notice,
      key,
    });
  }
  if (name === undefined || !rewards.names().includes(name)) {
    throw new ConfigError({
      where,
      what: `unknown judge '${String(name)}'`,
      remedy: `Set name to one of ${[...rewards.names(), 'language-model'].join(', ')}`,
    });
  }
  const definition = rewards.get(name);
  const { fileSettings = [] } = definition;
  const { name: _, ...settings } = withResolvedPaths(
    parseAs(z.strictObject({ name: z.literal(name), ...definition.settings.shape })),
    file,
    fileSettings,
  ) as Record<string, unknown>;
  const reward = await definition.open(settings, { where: key, notice, signal });
  const template = fileSettings.includes('template') ? await readFile(String(settings.template), 'utf8') : '';
  return rewardJudge(reward, text + template);
}

/**
 * Opens the judge that `--judge` or a configuration names.
 * @param file a module (`.ts`, `.js`, `.mjs`) or a judge's settings (`.yaml`).
 * @throws ConfigError if the file is of another kind or invalid; PmpoError if a server cannot be reached.
 */
export async function openJudge(file: string, opening: Opening): Promise<PairJudge> {
  if (/\.[cm]?[jt]s$/.test(file)) return programJudge(file, opening);
  if (/\.ya?ml$/.test(file)) return settingsJudge(file, opening);
  throw new ConfigError({
    where: `${opening.key} ${file}`,
    what: 'it is neither a module (.ts, .js, .mjs) nor settings (.yaml)',
  });
}

/** The winner by a decision. @param first which of A and B the judge saw first. */
export function winnerOf({ better }: Decision, first: 'a' | 'b'): Winner {
  if (better === 'tie' || better === 'unanswered') return better;
  return (better === 'first') === (first === 'a') ? 'a' : 'b';
}
