import type { ResolvedLanguageConfig } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { preferenceContexts } from '../datasets/preferences.js';
import { type PromptRow, promptOf } from '../datasets/prompts.js';
import { readRows } from '../datasets/rows.js';
import type { Tokenizer } from '../language/tokenizer.js';
import type { EvaluatedContext, Prompt } from '../learners/language/batch.js';
import { layOutContext, promptTokens, turnEnds } from '../learners/language/layout.js';

/** Reads the files of a language job and tokenizes them. Lengths are checked here, before anything is sampled. */

function toPrompt(row: PromptRow, tokens: Int32Array, longest: number, reason: string): Prompt {
  if (tokens.length > longest) {
    throw new PmpoError({
      where: row.where,
      what: `the prompt has ${tokens.length} tokens, but only ${longest} fit ${reason}`,
      remedy: 'Remove the row, or shorten the prompt',
    });
  }
  const { text, messages } = row;
  return { text, ...(messages === undefined ? {} : { messages }), tokens, row: row.row };
}

/** The prompts of a language job. */
export interface Prompts {
  /** Prompts to learn from. */
  readonly training: readonly Prompt[];
  /** Prompts for evaluation only. */
  readonly heldOut: readonly Prompt[];
}

/**
 * Reads the prompts of a configuration, split into those to learn from and those held out.
 * @throws PmpoError for an invalid or too long prompt, with the row's place; ConfigError if the prompts to learn from do not fill a
 *   batch.
 */
export async function readPrompts(
  { language, learner }: ResolvedLanguageConfig,
  tokenizer: Tokenizer,
  contextLength: number,
): Promise<Prompts> {
  const { file, field, chat, heldOut } = language.prompts!;
  const longest = contextLength - language.sampling.maxTokens;
  const reason = `into a context of ${contextLength} with a completion of ${language.sampling.maxTokens}`;
  const read = async (path: string) =>
    (await readRows(path)).map((placed) => {
      const row = promptOf(placed, field);
      const prompt = toPrompt(row, promptTokens(tokenizer, row, chat), longest, reason);
      return { ...prompt, stopTokens: turnEnds(tokenizer, row, chat) };
    });
  const prompts = await read(file);
  if (typeof heldOut === 'number' && heldOut >= prompts.length) {
    throw new ConfigError({
      where: 'language.prompts.heldOut',
      what: `holding out ${heldOut} of the ${prompts.length} prompts in ${file} leaves none to learn from`,
      remedy: 'Lower it',
    });
  }
  const training = typeof heldOut === 'number' ? prompts.slice(0, -heldOut) : prompts;
  if (training.length < learner.batchSize) {
    throw new ConfigError({
      where: 'learner.batchSize',
      what: `${learner.batchSize} exceeds the ${training.length} prompts to learn from, so a batch would repeat prompts`,
      remedy: `Lower it to ${training.length} or less, or add prompts`,
    });
  }
  return { training, heldOut: typeof heldOut === 'number' ? prompts.slice(-heldOut) : await read(heldOut) };
}

/**
 * Reads and tokenizes the data set of a configuration.
 * @param merge whether rows with the same prompt become one context.
 * @param notice shows the user where prompt and completion are not cut at the border of their texts.
 * @throws PmpoError with the place of an invalid or too long row.
 */
export async function readDataset(
  { language }: ResolvedLanguageConfig,
  tokenizer: Tokenizer,
  contextLength: number,
  merge: boolean,
  notice: (message: string) => void,
): Promise<readonly EvaluatedContext[]> {
  const { file, chat, endToken } = language.dataset!;
  const contexts = preferenceContexts(await readRows(file), { merge });
  const replaced: Int32Array[] = [];
  const laidOut = contexts.map((context) => {
    const { prompt: row, completions } = context;
    const layout = layOutContext(tokenizer, context, { chat, endToken });
    if (layout.replaced.length > 0) replaced.push(layout.replaced);
    const reason = `into a context of ${contextLength}`;
    return {
      prompt: toPrompt(row, layout.prompt, contextLength - 1, reason),
      completions: completions.map(({ text, evaluation }, i) => {
        const tokens = layout.completions[i]!;
        const length = layout.prompt.length + tokens.length;
        if (length <= contextLength) return { text, tokens, finishReason: 'stop' as const, evaluation };
        throw new PmpoError({
          where: row.where,
          what: `prompt and completion have ${length} tokens, but the context only ${contextLength}`,
          remedy: 'Remove the row, or shorten it',
        });
      }),
    };
  });
  if (replaced.length > 0) {
    const example = JSON.stringify(tokenizer.decode(replaced[0]!, { special: true }));
    notice(
      `Warning: in ${replaced.length} of ${contexts.length} contexts the last tokens of the prompt, such as ${example}, are others when a completion follows. The completions begin where the tokens part, as in TRL (\`pmpo data\` shows it)`,
    );
  }
  return laidOut;
}

/** Reads the texts whose perplexity is recorded, truncated to the context length. @throws PmpoError for a row without text. */
export async function readTexts(
  file: string,
  tokenizer: Tokenizer,
  contextLength: number,
): Promise<readonly Int32Array[]> {
  return (await readRows(file)).map((placed) => {
    const begin = tokenizer.beginToken !== undefined;
    const tokens = tokenizer.encode(promptOf(placed, 'text').text, { begin });
    if (tokens.length < 2)
      throw new PmpoError({ where: placed.where, what: 'the text is too short to score' });
    return tokens.slice(0, contextLength);
  });
}

/** The number of completions in the largest context; at least 1. */
export function largestContext(contexts: readonly EvaluatedContext[]): number {
  return contexts.reduce((most, { completions }) => Math.max(most, completions.length), 1);
}
