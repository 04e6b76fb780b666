import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { createCatalogue } from '../../config/catalogue.js';
import { resolvedPaths, tlsFiles } from '../../config/resolving.js';
import { ConfigError, PmpoError } from '../../core/errors.js';
import { formatPath } from '../../core/key-path.js';
import { foldIn, randomKey, randomSeed } from '../../core/random-keys.js';
import { explainIssues } from '../../core/schema-problems.js';
import {
  type Answerer,
  answererSettings,
  askUntilRead,
  openAnswerer,
} from '../../language/judges/answerer.js';
import { readTemplate, type Template } from '../../language/judges/template.js';
import type { FinishReason } from '../../language/language-model.js';
import type { Reward, RewardContext } from '../../language/rewards/reward.js';
import { importUserModule, type PublicModules } from '../../system/user-module.js';
import type { Winner } from './verdicts.js';

/** Two completions of a prompt, in the order in which they are shown. */
export interface Pair {
  /** A chat's last user message where it is a chat. */
  readonly prompt: string;
  /** The whole prompt: all turns of a chat, each with who said it. */
  readonly conversation: string;
  readonly row: Readonly<Record<string, unknown>>;
  readonly first: string;
  readonly second: string;
  /** How each ended. */
  readonly finishReasons: readonly [FinishReason, FinishReason];
}

export interface Decision {
  readonly better: 'first' | 'second' | 'tie' | 'unanswered';
  /** The judge's own words, or numbers. */
  readonly answer: string;
}

/** Who says which of two completions is better. */
export interface PairJudge {
  /** Whether the order in which they are shown could matter: then both are asked. */
  readonly bothOrders: boolean;
  /** What it judges by: another text is another judge. */
  readonly identity: string;
  decide(pair: Pair, signal?: AbortSignal): Promise<Decision>;
  close(): Promise<void>;
}

type Notice = RewardContext['notice'];

/** Whoever gives each a number prefers the greater. */
function byReward(reward: Reward, identity: string): PairJudge {
  return {
    identity,
    bothOrders: false,
    async decide({ prompt, conversation, row, first, second, finishReasons }, signal) {
      const judged = [first, second].map((completion, i) => ({
        prompt,
        conversation,
        completion,
        finishReason: finishReasons[i]!,
        row,
      }));
      const [one, other] = await reward.evaluate(judged, signal);
      if (one === undefined || other === undefined)
        return { better: 'unanswered', answer: `${one} and ${other}` };
      const better = one > other ? 'first' : one < other ? 'second' : 'tie';
      return { better, answer: `${one} and ${other}` };
    },
    close: () => reward.close(),
  };
}

const comparing = z.strictObject({
  name: z.literal('language-model'),
  ...answererSettings,
  template: z
    .string()
    .describe(
      'A file with the question, in which {{prompt}} (or {{conversation}}: all turns of a chat), {{first}} and {{second}} are filled in',
    ),
  first: z.string().default('A').describe('The word in an answer that means the first'),
  second: z.string().default('B').describe('The word that means the second'),
  tie: z.string().default('TIE').describe('The word that means neither'),
  attempts: z.int().min(1).default(2).describe('How often a question is asked until its answer is one'),
});
type Comparing = z.infer<typeof comparing>;

/** Which of the words an answer has first; undefined where it has none. */
export function decisionIn(
  answer: string,
  { first, second, tie }: Pick<Comparing, 'first' | 'second' | 'tie'>,
): 'first' | 'second' | 'tie' | undefined {
  const words = { first, second, tie };
  const escaped = (word: string) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const pattern = new RegExp(
    Object.entries(words)
      .map(([name, word]) => `(?<${name}>(?<![\\p{L}\\p{N}])${escaped(word)}(?![\\p{L}\\p{N}]))`)
      .join('|'),
    'u',
  );
  const groups = pattern.exec(answer)?.groups;
  return (['first', 'second', 'tie'] as const).find((name) => groups?.[name] !== undefined);
}

function byModel(settings: Comparing, template: Template, answerer: Answerer, identity: string): PairJudge {
  return {
    identity,
    bothOrders: true,
    async decide({ prompt, conversation, first, second }, signal) {
      const question = template({ prompt, conversation, first, second });
      const asked = await askUntilRead(
        answerer,
        question,
        {
          attempts: settings.attempts,
          seedOf: (attempt) => randomSeed(foldIn(randomKey(attempt), question)) >>> 1,
          read: (answer) => decisionIn(answer, settings),
        },
        signal,
      );
      if ('error' in asked) return { better: 'unanswered', answer: asked.error.message };
      return { better: asked.value ?? 'unanswered', answer: asked.answer };
    },
    close: () => answerer.close(),
  };
}

const better = z.enum(['first', 'second', 'tie']);

/** A module of the user's: `compare(pair)`, or `reward(judged)` as for training. */
async function ofProgram(file: string, notice: Notice, modules: PublicModules): Promise<PairJudge> {
  const where = `--judge ${file}`;
  const { compare } = await importUserModule(resolve(file), where, modules);
  if (compare === undefined) {
    const reward = createCatalogue(modules).rewards.get('program');
    return byReward(
      await reward.open({ file: resolve(file) }, { where: '--judge', notice }),
      await textOf(file),
    );
  }
  if (typeof compare !== 'function') throw new ConfigError({ where, what: '`compare` is no function' });
  return {
    identity: await textOf(file),
    bothOrders: true,
    async decide(pair) {
      let said: unknown;
      try {
        said = await (compare as (pair: Pair) => unknown)(pair);
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : String(cause);
        throw new PmpoError({ where, what: `compare threw: ${message}`, cause });
      }
      const decision = better.safeParse(said);
      if (decision.success) return { better: decision.data, answer: decision.data };
      throw new PmpoError({ where, what: "compare must return 'first', 'second' or 'tie'" });
    },
    close: async () => {},
  };
}

/** The text of a judge's file; that it cannot be read is told by whoever needs it. */
function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8');
}

/** Settings whose files are meant from where the file of a judge is. */
function besideJudge<T>(settings: T, file: string, keys: readonly string[]): T {
  const paths = [...keys.map((key) => [key]), ...tlsFiles(['tls']), ['token', 'file']];
  return resolvedPaths(settings, paths, () => dirname(resolve(file)));
}

async function ofSettings(file: string, notice: Notice): Promise<PairJudge> {
  const where = `--judge ${file}`;
  let text: string;
  let values: unknown;
  try {
    text = await textOf(file);
    values = parse(text);
  } catch (cause) {
    throw new ConfigError({
      where,
      what: `it cannot be read: ${(cause as Error).message.split('\n')[0]}`,
      cause,
    });
  }
  const { name } = (values ?? {}) as { name?: string };
  const { rewards } = createCatalogue();
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
    const settings = besideJudge(parseAs(comparing), file, ['template']);
    const template = await readTemplate(
      settings.template,
      where,
      ['first', 'second'],
      ['prompt', 'conversation', 'first', 'second'],
    );
    const identity = text + (await textOf(settings.template));
    return byModel(settings, template, await openAnswerer(settings, '--judge', notice), identity);
  }
  if (name === undefined || !rewards.names().includes(name)) {
    throw new ConfigError({
      where,
      what: `there is no judge '${String(name)}'`,
      remedy: `Give name: one of ${[...rewards.names(), 'language-model'].join(', ')}`,
    });
  }
  const definition = rewards.get(name);
  const { fileSettings = [] } = definition;
  const { name: _, ...settings } = besideJudge(
    parseAs(z.strictObject({ name: z.literal(name), ...definition.settings.shape })),
    file,
    fileSettings,
  ) as Record<string, unknown>;
  const reward = await definition.open(settings, { where: '--judge', notice });
  const template = fileSettings.includes('template') ? await textOf(String(settings.template)) : '';
  return byReward(reward, text + template);
}

/**
 * Opens what `--judge` names: a module (`.ts`, `.js`, `.mjs`) or the settings of a judge (`.yaml`).
 * @param modules what a module may import from this package.
 * @throws ConfigError when it is neither, or wrong; PmpoError when whoever judges cannot be reached.
 */
export async function openJudge(file: string, notice: Notice, modules: PublicModules): Promise<PairJudge> {
  if (/\.[cm]?[jt]s$/.test(file)) return ofProgram(file, notice, modules);
  if (/\.ya?ml$/.test(file)) return ofSettings(file, notice);
  throw new ConfigError({
    where: `--judge ${file}`,
    what: 'it is neither a module (.ts, .js, .mjs) nor settings (.yaml)',
  });
}

/** A decision on what was shown in an order, as who wins. */
export function winnerOf({ better }: Decision, first: 'a' | 'b'): Winner {
  if (better === 'tie' || better === 'unanswered') return better;
  return (better === 'first') === (first === 'a') ? 'a' : 'b';
}
