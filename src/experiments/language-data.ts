import type { ResolvedLanguageConfig } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { preferenceContexts } from '../datasets/preferences.js';
import { type PromptRow, promptOf } from '../datasets/prompts.js';
import { readRows } from '../datasets/rows.js';
import type { Tokenizer } from '../language/tokenizer.js';
import type { EvaluatedContext, Prompt } from '../learners/language/batch.js';

/** Reads the files of a language job and tokenizes them. Lengths are checked here, before anything is sampled. */

/**
 * The tokens of a prompt, [T]. A chat is formatted with the model's chat template, and so is a text (as a user message) if `chat` is
 * true.
 * @throws PmpoError with the row's place if there is no chat template or the prompt has no tokens.
 */
export function encodePrompt(tokenizer: Tokenizer, prompt: PromptRow, chat: boolean): Int32Array {
  const { text, messages, where } = prompt;
  try {
    if (messages !== undefined) return tokenizer.encodeChat(messages);
    if (chat) return tokenizer.encodeChat([{ role: 'user', content: text }]);
  } catch (cause) {
    if (!(cause instanceof PmpoError)) throw cause;
    const { what, remedy } = cause.details;
    throw new PmpoError({ where, what, remedy, cause });
  }
  const tokens = tokenizer.encode(text);
  if (tokens.length > 0) return tokens;
  throw new PmpoError({ where, what: 'the prompt has no tokens' });
}

/** The token that ends a completion: the one called `name`, or else the tokenizer's. @throws PmpoError for an unknown name. */
export function endTokenOf(tokenizer: Tokenizer, name: string | undefined): number | undefined {
  if (name === undefined) return tokenizer.endToken;
  const [token, ...more] = tokenizer.encode(name, { special: true, begin: false });
  if (token !== undefined && more.length === 0 && tokenizer.specialTokens.includes(name)) return token;
  throw new PmpoError({
    where: 'language.dataset.endToken',
    what: `the tokenizer has no special token '${name}'`,
    remedy: `It has ${tokenizer.specialTokens.slice(0, 12).join(', ')}`,
  });
}

/** The tokens of a completion followed by the end token, if there is one, [T]. */
export function encodeCompletion(
  tokenizer: Tokenizer,
  text: string,
  endToken: number | undefined,
): Int32Array {
  const tokens = tokenizer.encode(text, { begin: false });
  return endToken === undefined ? tokens : Int32Array.from([...tokens, endToken]);
}

function toPrompt(
  tokenizer: Tokenizer,
  row: PromptRow,
  chat: boolean,
  longest: number,
  reason: string,
): Prompt {
  const tokens = encodePrompt(tokenizer, row, chat);
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
    (await readRows(path)).map((row) => toPrompt(tokenizer, promptOf(row, field), chat, longest, reason));
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
 * @throws PmpoError with the place of an invalid or too long row.
 */
export async function readDataset(
  { language }: ResolvedLanguageConfig,
  tokenizer: Tokenizer,
  contextLength: number,
  merge: boolean,
): Promise<readonly EvaluatedContext[]> {
  const { file, chat, endToken: name } = language.dataset!;
  const endToken = endTokenOf(tokenizer, name);
  return preferenceContexts(await readRows(file), { merge }).map(({ prompt: row, completions }) => {
    const prompt = toPrompt(tokenizer, row, chat, contextLength - 1, `into a context of ${contextLength}`);
    return {
      prompt,
      completions: completions.map(({ text, evaluation }) => {
        const tokens = encodeCompletion(tokenizer, text, endToken);
        if (prompt.tokens.length + tokens.length <= contextLength)
          return { text, tokens, finishReason: 'stop' as const, evaluation };
        throw new PmpoError({
          where: row.where,
          what: `prompt and completion have ${prompt.tokens.length + tokens.length} tokens, but the context only ${contextLength}`,
          remedy: 'Remove the row, or shorten it',
        });
      }),
    };
  });
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
