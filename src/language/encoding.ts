import { PmpoError } from '../core/errors.js';
import type { PromptRow } from '../datasets/prompts.js';
import type { Tokenizer } from './tokenizer.js';

/** From the rows of data files to tokens. */

/**
 * A prompt's tokens: a chat by the model's template, a text as it is, or with `chat` as a user's turn.
 * @throws PmpoError with the row's place when there is no template, or nothing comes of it.
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

/** The token that ends a completion. @throws PmpoError when the tokenizer has none of that name. */
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

/** A completion's tokens, the end token last where there is one. */
export function encodeCompletion(
  tokenizer: Tokenizer,
  text: string,
  endToken: number | undefined,
): Int32Array {
  const tokens = tokenizer.encode(text, { begin: false });
  return endToken === undefined ? tokens : Int32Array.from([...tokens, endToken]);
}
