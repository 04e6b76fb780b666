import type { ChatMessage } from '../core/chat.js';
import { UnreadableRow, unreadable } from './left-out.js';
import { chatIn, excerptOf, present } from './messages.js';
import { answerAfter, type CompletionContent, splitPair } from './pairs.js';
import { chatPrompt, type PromptContent, promptIn } from './prompts.js';
import type { Row } from './rows.js';

/** How the parts of a row are read, whatever its shape. */

/** The parts of a row that `language.dataset.columns` can name. */
export const columnRoles = [
  'prompt',
  'input',
  'system',
  'history',
  'messages',
  'tools',
  'completion',
  'completions',
  'chosen',
  'rejected',
  'first',
  'second',
  'better',
  'label',
  'score',
] as const;
export type ColumnRole = (typeof columnRoles)[number];
/** Roles and the columns in which they are. */
export type Columns = Readonly<Partial<Record<ColumnRole, string>>>;

/** What a row says of a completion. A demonstration, a chosen and a rejected answer have `side`. */
export interface ReadCompletion extends CompletionContent {
  readonly side?: 1 | -1;
  readonly label?: unknown;
  readonly score?: number;
}

/** A row as it was read. */
export interface ReadRow {
  readonly prompt: PromptContent;
  readonly completions: readonly ReadCompletion[];
  /** Why completions of the row were left out. */
  readonly dropped?: readonly string[];
}

/** The cells of a row by role: undefined where the column is missing or null. */
export type Cells = (role: ColumnRole) => unknown;

export interface ShapeDefinition {
  /** What it is called in the line that says how a file was read. */
  readonly name: string;
  /** The columns that it reads by default; the first of several names that the data have is taken. */
  readonly columns: Readonly<Partial<Record<ColumnRole, string | readonly string[]>>>;
  /**
   * Roles that must be in the shape's own columns, because the shape gives them a meaning that the same roles have nowhere else; columns that
   * the configuration names do not count for them.
   */
  readonly ownColumns?: readonly ColumnRole[];
  /** Groups of roles: of each group the data must have at least one. */
  readonly needs: readonly (readonly ColumnRole[])[];
  /** @throws UnreadableRow */
  read(cells: Cells, nameOf: (role: ColumnRole) => string): ReadRow;
  /** What one should know of how the shape is read. */
  note?(nameOf: (role: ColumnRole) => string): string;
}

/** A score: a number, or the text of one. @throws UnreadableRow */
export function scoreIn(value: unknown, field: string): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  const isNumber = typeof number === 'number' || typeof number === 'bigint';
  if (!isNumber || !Number.isFinite(Number(number)))
    return unreadable(
      present(value) ? `'${field}' is not a number: ${excerptOf(value)}` : `'${field}' is missing`,
    );
  return Number(number);
}

/** Whether a column or field has ranks, of which 1 is the best. */
export const isRank = (field: string) => field.toLowerCase() === 'rank';

/** A score, or minus a rank: the best has the highest score. @throws UnreadableRow */
export function rankedScoreIn(value: unknown, field: string): number {
  const number = scoreIn(value, field);
  return isRank(field) ? -number : number;
}

/** What the columns `label` and `score` say; a completion of a shape without either is a demonstration. */
export function judged(cells: Cells, nameOf: (role: ColumnRole) => string): Omit<ReadCompletion, 'text'> {
  const [label, score] = [cells('label'), cells('score')];
  return {
    ...(present(label) ? { label } : {}),
    ...(present(score) ? { score: rankedScoreIn(score, nameOf('score')) } : {}),
  };
}

/** @param chosen the role of the accepted side. @throws UnreadableRow */
export function pairRow(
  cells: Cells,
  nameOf: (role: ColumnRole) => string,
  prompt: PromptContent | undefined,
  chosen: ColumnRole = 'chosen',
): ReadRow {
  const split = splitPair({
    prompt,
    chosen: cells(chosen),
    rejected: cells('rejected'),
    names: { chosen: nameOf(chosen), rejected: nameOf('rejected') },
  });
  return {
    prompt: split.prompt,
    completions: [
      ...(split.chosen === undefined ? [] : [{ ...split.chosen, side: 1 as const }]),
      ...(split.rejected === undefined ? [] : [{ ...split.rejected, side: -1 as const }]),
    ],
  };
}

/** A whole conversation in the column `messages`. @throws UnreadableRow */
export function conversation(cells: Cells, nameOf: (role: ColumnRole) => string): readonly ChatMessage[] {
  const messages = chatIn(cells('messages'), nameOf('messages'));
  if (messages !== undefined) return messages;
  const value = cells('messages');
  return unreadable(
    present(value)
      ? `'${nameOf('messages')}' is not a chat: ${excerptOf(value)}`
      : `'${nameOf('messages')}' is missing`,
  );
}

function list(value: unknown, field: string): readonly Row[] {
  const isList = Array.isArray(value) && value.length > 0;
  if (!isList) return unreadable(present(value) ? `'${field}' is not a list` : `'${field}' is missing`);
  return value.map((entry: unknown) =>
    typeof entry === 'object' && entry !== null && !Array.isArray(entry)
      ? (entry as Row)
      : unreadable(`'${field}' has an element that is no object: ${excerptOf(entry)}`),
  );
}

/** The names that a completion, its label and its score have in a list of completions; of a rank, 1 is the best. */
const innerText = ['completion', 'response', 'answer', 'text', 'output'];

/** A row with a list of completions, of which those that cannot be read are dropped. @throws UnreadableRow if all are. */
export function listRow(cells: Cells, nameOf: (role: ColumnRole) => string, prompt: PromptContent): ReadRow {
  const dropped: string[] = [];
  const read = (entry: Row): ReadCompletion => {
    const field = innerText.find((name) => present(entry[name])) ?? 'completion';
    const answer = answerAfter(prompt, entry[field], field);
    const scoreField = nameOf('score');
    const score = entry[scoreField] ?? undefined;
    if (present(entry.label)) return { ...answer, label: entry.label };
    return { ...answer, score: rankedScoreIn(score, scoreField) };
  };
  const completions = list(cells('completions'), nameOf('completions')).flatMap((entry) => {
    try {
      return [read(entry)];
    } catch (error) {
      if (!(error instanceof UnreadableRow)) throw error;
      dropped.push(error.message);
      return [];
    }
  });
  return completions.length === 0 ? unreadable(dropped[0]) : { prompt, completions, dropped };
}

/** The prompt of Alpaca's columns: the earlier turns, and the instruction with its input below it. @throws UnreadableRow */
export function alpacaPrompt(cells: Cells, nameOf: (role: ColumnRole) => string): PromptContent {
  const prompt = promptIn(cells('prompt'), nameOf('prompt'));
  const input = cells('input');
  if (present(input) && typeof input !== 'string')
    return unreadable(`'${nameOf('input')}' is not text: ${excerptOf(input)}`);
  const text = present(input) && input !== '' ? `${prompt.text}\n${input as string}` : prompt.text;
  const history = cells('history');
  if (!present(history) || (Array.isArray(history) && history.length === 0))
    return prompt.messages === undefined ? { text } : prompt;
  const isTurns =
    Array.isArray(history) &&
    history.every(
      (turn) => Array.isArray(turn) && turn.length === 2 && turn.every((side) => typeof side === 'string'),
    );
  if (!isTurns) return unreadable(`'${nameOf('history')}' is not a list of [question, answer]`);
  const turns = (history as [string, string][]).flatMap(([question, answer]): ChatMessage[] => [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ]);
  return chatPrompt([...turns, { role: 'user', content: text }]);
}

/** A row of two answers of which one is better. @throws UnreadableRow */
export function twoAnswers(
  cells: Cells,
  nameOf: (role: ColumnRole) => string,
  firstIsBetter: boolean,
): ReadRow {
  const prompt = promptIn(cells('prompt'), nameOf('prompt'));
  const [first, second] = (['first', 'second'] as const).map((role) =>
    answerAfter(prompt, cells(role), nameOf(role)),
  );
  if (first.text === second.text) return unreadable('the two answers are the same');
  const [chosen, rejected] = firstIsBetter ? [first, second] : [second, first];
  return {
    prompt,
    completions: [
      { ...chosen, side: 1 },
      { ...rejected, side: -1 },
    ],
  };
}
