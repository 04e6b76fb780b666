import type { ChatMessage } from '../core/chat.js';
import { PmpoError } from '../core/errors.js';
import { asMessages, excerptOf, type PromptRow, promptOf } from './prompts.js';
import type { PlacedRow } from './rows.js';

/**
 * Data sets of judged completions, paired or not. A row is one of
 *
 *     {prompt, chosen, rejected}              a pair
 *     {prompt, chosen} or {prompt, rejected}  one side of a pair
 *     {prompt, completion, label}             label: true, false, or a number from −1 (rejected) to 1 (accepted)
 *     {prompt, completion, score}             any number, for feedback that ranks or thresholds
 *     {prompt, completions: [{completion, label or score}, …]}
 *
 * Prompts and completions may be texts or chats, as in TRL; the last assistant message of a chat is the completion.
 */

/** A completion with its evaluation. */
export interface LabeledCompletion {
  /** The text, or the content of the last assistant message. */
  readonly text: string;
  /** All messages that follow the prompt, if the completion is a chat. */
  readonly messages?: readonly ChatMessage[];
  /** The label (1 for chosen, −1 for rejected) or the score. */
  readonly evaluation: number;
}

/** A prompt with all its judged completions. */
export interface PreferenceContext {
  readonly prompt: PromptRow;
  readonly completions: readonly LabeledCompletion[];
}

function textOf(value: unknown, { where }: PlacedRow, field: string): string {
  if (typeof value === 'string' && value !== '') return value;
  const answer = asMessages(value)?.findLast(({ role }) => role === 'assistant');
  if (answer !== undefined && answer.content !== '') return answer.content;
  throw new PmpoError({
    where,
    what: value === '' ? `'${field}' is empty` : `'${field}' is not text`,
    remedy: 'Give a text, or a chat with an assistant message',
  });
}

function evaluationOf(row: Readonly<Record<string, unknown>>, { where }: PlacedRow): number {
  const value = row.label ?? row.score;
  if (typeof value === 'boolean') return value ? 1 : -1;
  const number = typeof value === 'bigint' ? Number(value) : value;
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  throw new PmpoError({
    where,
    what:
      value === undefined
        ? 'a completion has neither a label nor a score'
        : `${excerptOf(value)} is not a label`,
    remedy: 'Give `label`: true or false, or a number; or `score`: a number',
  });
}

function completionsOf(placed: PlacedRow): LabeledCompletion[] {
  const { row } = placed;
  const sides: LabeledCompletion[] = [];
  if (row.chosen != null) sides.push({ text: textOf(row.chosen, placed, 'chosen'), evaluation: 1 });
  if (row.rejected != null) sides.push({ text: textOf(row.rejected, placed, 'rejected'), evaluation: -1 });
  if (sides.length > 0) return sides;
  if (Array.isArray(row.completions)) {
    return row.completions.map((inner) => {
      const entry = (inner ?? {}) as Record<string, unknown>;
      return {
        text: textOf(entry.completion, placed, 'completion'),
        evaluation: evaluationOf(entry, placed),
      };
    });
  }
  if (row.completion !== undefined) {
    return [{ text: textOf(row.completion, placed, 'completion'), evaluation: evaluationOf(row, placed) }];
  }
  throw new PmpoError({
    where: placed.where,
    what: `the row has ${Object.keys(row).join(', ')}, but none of chosen, rejected, completion, completions`,
    remedy: 'See docs/aligning.md for the columns of a data set',
  });
}

/**
 * Groups the rows of a data set into contexts, in the order of first appearance.
 * @param options.merge whether rows with the same prompt become one context. Operators that learn from pairs need `false`: each
 *   row stays a context.
 * @throws PmpoError with the place of the first invalid row.
 */
export function preferenceContexts(
  rows: readonly PlacedRow[],
  { merge = true }: { readonly merge?: boolean } = {},
): PreferenceContext[] {
  if (!merge) {
    return rows.map((placed) => ({ prompt: promptOf(placed, 'prompt'), completions: completionsOf(placed) }));
  }
  const contexts = new Map<string, { prompt: PromptRow; completions: LabeledCompletion[] }>();
  for (const placed of rows) {
    const prompt = promptOf(placed, 'prompt');
    const key = JSON.stringify(prompt.messages ?? prompt.text);
    const known = contexts.get(key) ?? { prompt, completions: [] };
    contexts.set(key, known);
    known.completions.push(...completionsOf(placed));
  }
  return [...contexts.values()];
}
