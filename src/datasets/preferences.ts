import { PmpoError } from '../core/errors.js';
import { asMessages, type PromptRow, promptOf, shown } from './prompts.js';
import type { PlacedRow } from './rows.js';

/**
 * Data sets of completions and what was said of them, paired or not. A row is one of
 *
 *     {prompt, chosen, rejected}            a pair
 *     {prompt, chosen} or {prompt, rejected}  one side of it
 *     {prompt, completion, label}           label: true or false, or a number from −1 (rejected) to 1 (accepted)
 *     {prompt, completion, score}           any number, for feedback that compares or thresholds
 *     {prompt, completions: [{completion, label or score}, …]}
 *
 * Texts may also be chats, as TRL has them: of a completion the assistant's turn counts.
 */
export interface LabelledCompletion {
  readonly text: string;
  /** The label, 1 for chosen and −1 for rejected, or the score. */
  readonly evaluation: number;
}

/** A context and everything that was said of its completions. */
export interface PreferenceContext {
  readonly prompt: PromptRow;
  readonly completions: readonly LabelledCompletion[];
}

function textOf(value: unknown, { where }: PlacedRow, field: string): string {
  if (typeof value === 'string' && value !== '') return value;
  const answer = asMessages(value)?.findLast(({ role }) => role === 'assistant');
  if (answer !== undefined && answer.content !== '') return answer.content;
  throw new PmpoError({
    where,
    what: value === '' ? `'${field}' is empty` : `'${field}' is no text`,
    remedy: "Give a text, or a chat with an assistant's turn",
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
      value === undefined ? 'a completion has neither a label nor a score' : `${shown(value)} is no label`,
    remedy: 'Give `label`: true or false, or a number; or `score`: a number',
  });
}

function completionsOf(placed: PlacedRow): LabelledCompletion[] {
  const { row } = placed;
  const sides: LabelledCompletion[] = [];
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
    what: `the row has ${Object.keys(row).join(', ')}, and none of chosen, rejected, completion, completions`,
    remedy: 'See docs/aligning.md for the columns of a data set',
  });
}

/**
 * The contexts of a data set, in the order in which they first come; rows with the same prompt are one context, unless they
 * are not to be merged: pairs stay pairs.
 * @throws PmpoError with the place of the first row that is wrong.
 */
export function preferenceContexts(
  rows: readonly PlacedRow[],
  { merge = true }: { readonly merge?: boolean } = {},
): PreferenceContext[] {
  if (!merge) {
    return rows.map((placed) => ({ prompt: promptOf(placed, 'prompt'), completions: completionsOf(placed) }));
  }
  const contexts = new Map<string, { prompt: PromptRow; completions: LabelledCompletion[] }>();
  for (const placed of rows) {
    const prompt = promptOf(placed, 'prompt');
    const key = JSON.stringify(prompt.messages ?? prompt.text);
    const known = contexts.get(key) ?? { prompt, completions: [] };
    contexts.set(key, known);
    known.completions.push(...completionsOf(placed));
  }
  return [...contexts.values()];
}
