import type { ChatMessage } from '../core/chat.js';
import { unreadable } from './left-out.js';
import { chatIn, lastExchange, present, sameChat, textIn } from './messages.js';
import { asChat, chatPrompt, type PromptContent } from './prompts.js';

/** Pairs of a chosen and a rejected answer, whose prompt may be a column of its own or the common beginning of both. */

/** A completion: its text, and its messages if it belongs to a chat. */
export interface CompletionContent {
  /** The text, or the content of the last assistant message. */
  readonly text: string;
  /** All messages that follow the prompt, if the completion is a chat. */
  readonly messages?: readonly ChatMessage[];
}

/** A prompt and one or two sides of a pair. */
export interface SplitPair {
  readonly prompt: PromptContent;
  readonly chosen?: CompletionContent;
  readonly rejected?: CompletionContent;
}

/** The values of a pair's columns. */
export interface PairCells {
  readonly prompt?: PromptContent;
  readonly chosen: unknown;
  readonly rejected: unknown;
  /** The names of the two columns, for messages. */
  readonly names?: SideNames;
}

interface SideNames {
  readonly chosen: string;
  readonly rejected: string;
}
const usualNames: SideNames = { chosen: 'chosen', rejected: 'rejected' };
const both = ({ chosen, rejected }: SideNames) => `'${chosen}' and '${rejected}'`;

/** The turns of an answer. @param field the column, for messages. @throws UnreadableRow if they hold no answer. */
export function answerOf(messages: readonly ChatMessage[], field: string): CompletionContent {
  const [first, last] = [messages[0], messages.at(-1)];
  if (first === undefined) return unreadable(`'${field}' has no answer after the prompt`);
  if (first.role !== 'assistant')
    return unreadable(`the answer in '${field}' begins with a message of the ${first.role}`);
  if (last!.role !== 'assistant')
    return unreadable(`'${field}' does not end with an answer of the assistant`);
  if (last!.content.trim() === '' && last!.tool_calls === undefined && last!.function_call === undefined)
    return unreadable(`'${field}' is empty`);
  // OpenAI: a message of weight 0 is not to be learned.
  if (messages.every(({ weight }) => weight === 0))
    return unreadable(`the answer in '${field}' has weight 0`);
  return { text: last!.content, messages };
}

/** An answer that stands alone in a column, after a prompt. A chat may repeat the prompt. @throws UnreadableRow */
export function answerAfter(prompt: PromptContent, value: unknown, field: string): CompletionContent {
  const messages = chatIn(value, field);
  if (messages === undefined) return { text: textIn(value, field) };
  const before = asChat(prompt).messages;
  const repeats = sameChat(messages.slice(0, before.length), before);
  return answerOf(repeats ? messages.slice(before.length) : messages, field);
}

/**
 * Where two texts part, as in TRL's `extract_prompt`: at their first difference, or at a space just before it. Of dialogues with the turns
 * `\n\nHuman:` and `\n\nAssistant:` it is the last `Assistant:` that they share (as TRL prepares HH-RLHF), because their answers may begin
 * with the same words.
 */
export function textCut(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  let cut = 0;
  while (cut < shorter - 1 && a[cut] === b[cut]) cut += 1;
  const differs = a[cut] !== b[cut];
  // A cut must not divide a surrogate pair, which is one character.
  if (/[\udc00-\udfff]/.test(a[cut] ?? '') && /[\ud800-\udbff]/.test(a[cut - 1] ?? '')) cut -= 1;
  const turn = '\n\nAssistant:';
  const shared = a.slice(0, cut).lastIndexOf(turn);
  if (shared >= 0) return shared + turn.length;
  if (cut > 0 && differs && a[cut - 1] === ' ') return cut - 1;
  return cut;
}

/** Where two chats part: at the first message that differs. */
function chatCut(a: readonly ChatMessage[], b: readonly ChatMessage[]): number {
  let cut = 0;
  while (cut < Math.min(a.length, b.length) && sameChat([a[cut]], [b[cut]])) cut += 1;
  return cut;
}

/** @throws UnreadableRow if the two sides say the same, so that neither is better. */
function checkedPair(pair: SplitPair, names: SideNames): SplitPair {
  const { chosen, rejected } = pair;
  const isSame = chosen !== undefined && rejected !== undefined && chosen.text === rejected.text;
  const sameTurns = sameChat(chosen?.messages ?? [], rejected?.messages ?? []);
  return isSame && sameTurns ? unreadable(`${both(names)} are the same`) : pair;
}

/** The sides of a pair of texts or answers that have a prompt of their own. */
function withPrompt(prompt: PromptContent, { chosen, rejected, names = usualNames }: PairCells): SplitPair {
  return {
    prompt,
    ...(present(chosen) ? { chosen: answerAfter(prompt, chosen, names.chosen) } : {}),
    ...(present(rejected) ? { rejected: answerAfter(prompt, rejected, names.rejected) } : {}),
  };
}

/** Chats that hold the whole conversation: the prompt is their common beginning, or of one chat alone all before its last answer. */
function fromChats(
  chosen: readonly ChatMessage[] | undefined,
  rejected: readonly ChatMessage[] | undefined,
  names: SideNames,
): SplitPair {
  const [first, second] = [chosen ?? rejected!, rejected ?? chosen!];
  const cut =
    chosen === undefined || rejected === undefined
      ? lastExchange(first).prompt.length
      : chatCut(first, second);
  if (cut === 0) return unreadable(`${both(names)} have no common beginning`);
  if (chosen !== undefined && rejected !== undefined && sameChat(chosen, rejected))
    return unreadable(`${both(names)} are the same`);
  return {
    prompt: chatPrompt(first.slice(0, cut)),
    ...(chosen === undefined ? {} : { chosen: answerOf(chosen.slice(cut), names.chosen) }),
    ...(rejected === undefined ? {} : { rejected: answerOf(rejected.slice(cut), names.rejected) }),
  };
}

/** Two texts that hold prompt and answer: the prompt is their common beginning. */
function fromTexts(chosen: unknown, rejected: unknown, names: SideNames): SplitPair {
  if (!present(chosen) || !present(rejected))
    return unreadable(`there is no prompt, and only one of ${both(names)}, which hides where it ends`);
  const [a, b] = [textIn(chosen, names.chosen), textIn(rejected, names.rejected)];
  if (a === b) return unreadable(`${both(names)} are the same`);
  const cut = textCut(a, b);
  const text = a.slice(0, cut);
  if (text.trim() === '') return unreadable(`${both(names)} have no common beginning`);
  return {
    prompt: { text },
    chosen: { text: textIn(a.slice(cut), names.chosen) },
    rejected: { text: textIn(b.slice(cut), names.rejected) },
  };
}

/**
 * Splits a pair into its prompt and its sides. As in TRL's `maybe_extract_prompt`, the prompt is the common beginning of both sides if
 * there is no prompt, or if it is a text and the sides are whole conversations.
 * @throws UnreadableRow
 */
export function splitPair(cells: PairCells): SplitPair {
  const { prompt, names = usualNames } = cells;
  if (!present(cells.chosen) && !present(cells.rejected))
    return unreadable(`there is neither '${names.chosen}' nor '${names.rejected}'`);
  const [chosen, rejected] = [chatIn(cells.chosen, names.chosen), chatIn(cells.rejected, names.rejected)];
  const sides = [chosen, rejected].filter((side) => side !== undefined);
  if (sides.length === 0)
    return checkedPair(
      prompt === undefined ? fromTexts(cells.chosen, cells.rejected, names) : withPrompt(prompt, cells),
      names,
    );
  const given = [cells.chosen, cells.rejected].filter(present);
  if (given.length > sides.length) return unreadable(`one of ${both(names)} is a chat, the other is not`);
  const isWhole = sides.every(([first]) => first!.role !== 'assistant');
  if (prompt?.messages === undefined && isWhole) return fromChats(chosen, rejected, names);
  if (prompt === undefined) return unreadable(`there is no prompt before the answers in ${both(names)}`);
  // The answers are messages, so the prompt is one, too.
  return checkedPair(withPrompt(asChat(prompt), cells), names);
}
