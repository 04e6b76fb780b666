import { ConfigError } from '../../core/errors.js';

/** How the answer of a judge is read: its thoughts, patterns, and the verdict on two completions. */

/**
 * An answer without what a reasoning model thought before it. A thought that was begun and not ended leaves nothing; one that was
 * begun by the chat template ends at the last `</think>`.
 */
export function withoutThoughts(answer: string): string {
  const end = /^[\s\S]*<\/think(?:ing)?>/i;
  return answer
    .replace(end, '')
    .replace(/<think(?:ing)?>[\s\S]*$/i, '')
    .trim();
}

/**
 * Checks a pattern that picks the decisive part out of an answer.
 * @param example of a pattern, for the message.
 * @throws ConfigError if it is no regular expression with exactly one group.
 */
export function checkPattern(pattern: string | undefined, where: string, example: string): void {
  if (pattern === undefined) return;
  let groups: number;
  try {
    // The empty alternative always matches, so that exec() gives the number of groups.
    groups = new RegExp(`${pattern}|`).exec('')!.length - 1;
  } catch (cause) {
    const what = `it is not a regular expression: ${(cause as Error).message}`;
    throw new ConfigError({ where, what, cause });
  }
  if (groups !== 1) {
    throw new ConfigError({
      where,
      what: `it has ${groups} groups`,
      remedy: `It must have one, as in ${example}`,
    });
  }
}

/** What the group of a pattern holds where the pattern matches last; undefined if it does not match. */
export function lastMatch(answer: string, pattern: string): string | undefined {
  return Array.from(answer.matchAll(new RegExp(pattern, 'gi')), (match) => match[1] ?? '')
    .at(-1)
    ?.trim();
}

/** The words of a verdict. */
export interface VerdictWords {
  readonly first: string;
  readonly second: string;
  readonly tie: string;
  /** A regular expression whose one group is one of the words. */
  readonly pattern?: string;
}

export type Verdict = 'first' | 'second' | 'tie';

const escaped = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
/** What may stand around a word: no letter and no digit. */
const marks = String.raw`[^\p{L}\p{N}]*`;

/** Finds one of the words that `around` leaves room for. */
function wordIn(answer: string, words: Omit<VerdictWords, 'pattern'>, around: (word: string) => string) {
  const names = ['first', 'second', 'tie'] as const;
  // Words that only their case tells apart must be compared with it.
  const differ = new Set(names.map((name) => words[name].toLowerCase())).size === names.length;
  const flags = differ ? 'iu' : 'u';
  return names.find((name) => new RegExp(around(escaped(words[name])), flags).test(answer));
}

/** `Verdict: A` at the end of an answer, by itself or after a sentence. */
const labelled = String.raw`(?:^|[.!?\n])${marks}(?:(?:my|the|final)\s+)*(?:verdict|answer|winner|decision)(?:\s+is)?\s*[:=]?`;

/**
 * The verdict in an answer without thoughts: what the pattern picks out; else the answer if it is nothing but one of the words (`A`,
 * `**b**`, `[[A]]`), or ends with one after `Verdict:` or the like. A word inside a sentence is no verdict: "B is worse than A."
 * @returns undefined if there is no verdict.
 */
export function verdictIn(answer: string, { pattern, ...words }: VerdictWords): Verdict | undefined {
  if (pattern !== undefined) {
    const found = lastMatch(answer, pattern);
    if (found !== undefined) return wordIn(found, words, (word) => `^${marks}${word}${marks}$`);
  }
  const bracketed = Array.from(answer.matchAll(/\[\[([^[\]]+)\]\]/g), (match) => match[1]!);
  if (bracketed.length > 0) {
    return wordIn(bracketed.at(-1)!, words, (word) => `^${marks}${word}${marks}$`);
  }
  return (
    wordIn(answer, words, (word) => `^${marks}${word}${marks}$`) ??
    wordIn(answer, words, (word) => `${labelled}${marks}${word}${marks}$`) ??
    (wordIn(answer, words, (word) => `^${marks}an?\\s+${word}${marks}$`) === 'tie' ? 'tie' : undefined)
  );
}
