import type { ChatMessage } from '../core/chat.js';
import { nameList } from '../core/foreign-text.js';
import { formatCount } from '../core/format.js';
import { type LabelSetting, labelMeaning, type PlacedLabel } from './labels.js';
import { LeftOut } from './left-out.js';
import { asChat, type PromptContent, type PromptRow, promptKey } from './prompts.js';
import type { PlacedRow } from './rows.js';
import type { Columns, ReadCompletion, ReadRow } from './shape-cells.js';
import { shapeOf } from './shapes.js';

/** Data sets of judged completions, paired or not, of any shape that shapes.ts knows. */

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

/** How a data set is read. */
export interface PreferenceOptions {
  /** Columns that take the place of those by which the shape is recognised. */
  readonly columns?: Columns;
  readonly labels?: LabelSetting;
  /** Whether prompts are chats, so that the turns `\n\nHuman:` and `\n\nAssistant:` of a text become messages. Default: false. */
  readonly chat?: boolean;
  /**
   * Whether rows with the same prompt become one context. Operators that learn from pairs need `false`: each row stays a context.
   * Default: true.
   */
  readonly merge?: boolean;
  /**
   * Which evaluation is wanted where a data set has labels and scores. Where scores are wanted, numeric labels of which any lies outside
   * [−1, 1] are scores, too. Default: labels.
   */
  readonly prefer?: 'labels' | 'scores';
}

/** A data set as it was read. */
export interface PreferenceData {
  readonly contexts: readonly PreferenceContext[];
  /** Whether evaluations are labels (1 accepted, −1 rejected, weights between) or scores, of which only the order is known. */
  readonly evaluations: 'labels' | 'scores';
  /** The shape and its columns. */
  readonly shape: string;
  /** The columns that were not read. */
  readonly unread: readonly string[];
  readonly rows: number;
  readonly leftOut: LeftOut;
}

const turnNames = { Human: 'user', Assistant: 'assistant' } as const;

/** The turns of a dialogue as HH-RLHF and Nectar write it, up to the answer; undefined for any other text. */
function dialogueIn(text: string): readonly ChatMessage[] | undefined {
  if (!/^\s*Human:/.test(text) || !/\n\nAssistant:\s*$/.test(text)) return undefined;
  const parts = `\n\n${text.trimStart()}`.split(/\n\n(Human|Assistant):/).slice(1);
  const turns: ChatMessage[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    turns.push({ role: turnNames[parts[i] as keyof typeof turnNames], content: parts[i + 1].trim() });
  }
  return turns.slice(0, -1);
}

/** A row whose prompt is a dialogue in one text, as a chat. */
function asDialogue(read: ReadRow): ReadRow {
  const messages = read.prompt.messages === undefined ? dialogueIn(read.prompt.text) : undefined;
  const last = messages?.at(-1);
  if (messages === undefined || last?.role !== 'user') return read;
  const prompt: PromptContent = { ...read.prompt, text: last.content, messages };
  return { prompt, completions: read.completions.map((one) => ({ ...one, text: one.text.trim() })) };
}

type Evaluate = (completion: ReadCompletion) => number | undefined;

/** The evaluation of each completion; undefined for one that has none of the kind that the data set has. */
function evaluator(
  completions: readonly (ReadCompletion & { readonly where: string })[],
  { labels: setting, prefer = 'labels' }: PreferenceOptions,
): { readonly evaluations: 'labels' | 'scores'; readonly evaluate: Evaluate; readonly missing: string } {
  const hasLabels = completions.some(({ side, label }) => side !== undefined || label !== undefined);
  const hasScores = completions.some(({ score }) => score !== undefined);
  if (hasScores && (prefer === 'scores' || !hasLabels)) {
    const missing = 'a completion has no score';
    return { evaluations: 'scores', evaluate: ({ score }) => score, missing };
  }
  const found = completions.flatMap(({ label, where }): PlacedLabel[] =>
    label === undefined ? [] : [{ value: label, where }],
  );
  const areNumbers = found.every(({ value }) => typeof value === 'number');
  // Numbers in a column `label` are scores to what reads scores, unless they could be labels: −1 says that a completion was rejected.
  const areScores = areNumbers && found.some(({ value }) => Math.abs(value as number) > 1);
  if (prefer === 'scores' && setting === undefined && areScores && found.length === completions.length) {
    return { evaluations: 'scores', evaluate: ({ label }) => label as number, missing: '' };
  }
  const meaning = labelMeaning(found, setting);
  return {
    evaluations: 'labels',
    evaluate: ({ side, label }) => side ?? (label === undefined ? undefined : meaning(label)),
    missing:
      setting === undefined || setting === 'weights'
        ? 'a completion has no label'
        : 'its label is none of those that language.dataset.labels names',
  };
}

/**
 * Reads a data set: recognises its shape, reads its rows, leaves out those that cannot be read, and groups them into contexts in the order
 * of first appearance.
 * @param source the file or folder, for messages.
 * @throws PmpoError if the shape is unknown, the labels may mean several things, or no row can be read.
 */
export function readPreferences(
  rows: readonly PlacedRow[],
  source: string,
  options: PreferenceOptions = {},
): PreferenceData {
  const shape = shapeOf(rows, source, {
    columns: options.columns,
    demonstrations: options.labels === 'none',
  });
  const leftOut = new LeftOut();
  const read = rows.flatMap((placed) => {
    const { where } = placed;
    const found = leftOut.try(where, () => shape.read(placed.row));
    if (found === undefined) return [];
    for (const reason of found.dropped ?? []) leftOut.add(where, reason, undefined, 1);
    if (options.chat !== true) return [{ placed, ...found }];
    const dialogue = asDialogue(found);
    // A text and a chat with the same words are one prompt.
    return [{ placed, ...dialogue, prompt: asChat(dialogue.prompt) }];
  });
  if (read.length === 0)
    throw leftOut.error(
      `The rows were read as ${shape.description}; docs/aligning.md lists the shapes, and language.dataset.columns names other columns`,
    );
  const { evaluations, evaluate, missing } = evaluator(
    read.flatMap(({ placed: { where }, completions }) => completions.map((one) => ({ ...one, where }))),
    options,
  );
  const contexts = new Map<string, { prompt: PromptRow; completions: LabeledCompletion[] }>();
  read.forEach(({ placed, prompt, completions }, i) => {
    const evaluated = completions.flatMap((completion): LabeledCompletion[] => {
      const evaluation = evaluate(completion);
      if (evaluation === undefined) {
        leftOut.add(placed.where, missing, undefined, completions.length > 1 ? 1 : 0);
        return [];
      }
      const { text, messages } = completion;
      return [{ text, ...(messages === undefined ? {} : { messages }), evaluation }];
    });
    if (evaluated.length === 0) return;
    const key = options.merge === false ? String(i) : promptKey(prompt);
    const known = contexts.get(key) ?? { prompt: { ...prompt, ...placed }, completions: [] };
    contexts.set(key, known);
    known.completions.push(...evaluated);
  });
  if (contexts.size === 0) {
    throw leftOut.error(
      'Give each completion a label (true, false, or a number from −1 to 1) or a score: docs/aligning.md lists the shapes of data sets',
    );
  }
  return {
    contexts: [...contexts.values()],
    evaluations,
    shape: shape.description,
    unread: shape.unread,
    rows: rows.length,
    leftOut,
  };
}

const counted = (count: number, one: string, many = `${one}s`) =>
  `${formatCount(count)} ${count === 1 ? one : many}`;

/** What a data set was read as, and what was left out, in one line. @param source the file or folder. */
export function readAsLine(
  source: string,
  { contexts, evaluations, shape, unread, rows, leftOut }: PreferenceData,
): string {
  const all = contexts.flatMap(({ completions }) => completions.map(({ evaluation }) => evaluation));
  const of = (keep: (evaluation: number) => boolean) => all.filter(keep).length;
  const neither = of((one) => one === 0);
  const found =
    evaluations === 'scores'
      ? [counted(all.length, 'scored completion')]
      : [
          `${formatCount(of((one) => one > 0))} accepted and ${counted(
            of((one) => one < 0),
            'rejected completion',
          )}`,
          ...(neither > 0 ? [`${formatCount(neither)} that are neither`] : []),
        ];
  const facts = [counted(rows, 'row'), counted(contexts.length, 'context'), ...found].join(', ');
  const notes = [
    leftOut.summary,
    unread.length === 0 ? undefined : `columns that are not read: ${nameList(unread)}`,
  ].filter((note) => note !== undefined);
  return [`${source}: read as ${shape}: ${facts}`, ...notes].join('; ');
}
