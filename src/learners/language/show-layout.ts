import { visibleText } from '../../core/foreign-text.js';
import type { Tokenizer } from '../../language/tokenizer.js';
import type { EvaluatedContext, Prompt } from './batch.js';

/** Laid-out prompts and completions as lines for people, with the borders of tokens. */

/** How much is shown. */
export interface ShowOptions {
  /** Shortens prompts and completions to about this many characters; default: shows all. */
  readonly width?: number;
}

const border = '│';

/**
 * The text that each token adds to those before it. A token that ends within a character adds `�`, and the one that completes the
 * character adds that.
 */
function piecesOf(tokenizer: Tokenizer, tokens: readonly number[]): string[] {
  // Few tokens before one suffice for its text, so that long texts take no quadratic time.
  const before = 8;
  return tokens.map((_, i) => {
    const from = Math.max(0, i - before);
    const decode = (end: number) => tokenizer.decode(tokens.slice(from, end), { special: true });
    const known = decode(i).replace(/\ufffd+$/, '');
    const text = decode(i + 1);
    return visibleText(text.startsWith(known) ? text.slice(known.length) : text);
  });
}

/** The first and last pieces of a text, within about `width` characters. The end of a text gets `endShare` of them. */
function shortened(
  pieces: readonly string[],
  endShare: number,
  width: number | undefined,
): readonly string[] {
  const length = pieces.reduce((sum, piece) => sum + piece.length + 1, 0);
  if (width === undefined || length <= width) return pieces;
  const within = (some: readonly string[], limit: number) => {
    let used = 0;
    return some.filter((piece) => {
      used += piece.length + 1;
      return used <= limit;
    });
  };
  const end = within(pieces.toReversed(), width * endShare).toReversed();
  return [...within(pieces, width * (1 - endShare)), '…', ...end];
}

const joined = (pieces: readonly string[]) => `${border}${pieces.join(border)}${border}`;

function count(tokens: number, what: string): string {
  return `${tokens} ${tokens === 1 ? 'token' : 'tokens'}${what}`;
}

/** A prompt that completions are sampled for. */
export function showPrompt(
  tokenizer: Tokenizer,
  { tokens, stopTokens = [] }: Prompt,
  { width }: ShowOptions = {},
): string[] {
  const pieces = piecesOf(tokenizer, Array.from(tokens));
  const ends = stopTokens.map((token) => visibleText(tokenizer.decode([token], { special: true })));
  return [
    `  prompt, ${count(tokens.length, '')}: ${joined(shortened(pieces, 0.75, width))}`,
    ...(ends.length === 0 ? [] : [`  an answer ends with: ${ends.join(' ')}`]),
  ];
}

/** A context of a data set: its prompt, and its completions, which are learned, with their evaluations. */
export function showContext(
  tokenizer: Tokenizer,
  { prompt, completions }: EvaluatedContext,
  { width }: ShowOptions = {},
): string[] {
  const start = Array.from(prompt.tokens);
  return [
    ...showPrompt(tokenizer, prompt, { width }),
    ...completions.map(({ tokens, evaluation }) => {
      // The text of a token may depend on those before it, so the completion is decoded behind its prompt.
      const pieces = piecesOf(tokenizer, [...start, ...tokens]).slice(start.length);
      const learned = joined(shortened(pieces, 0.4, width));
      return `  learned with ${evaluation ?? 'no evaluation'}, ${count(tokens.length, '')}: ${learned}`;
    }),
  ];
}
