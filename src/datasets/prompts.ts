import { canonicalJson } from '../core/canonical-json.js';
import { type ChatMessage, chatText } from '../core/chat.js';
import { PmpoError } from '../core/errors.js';
import { LeftOut, UnreadableRow, unreadable } from './left-out.js';
import { chatIn, excerptOf, present, templateVariablesIn, textIn, toolsIn } from './messages.js';
import type { PlacedRow, Row } from './rows.js';

/** What a prompt is, wherever it comes from. */
export interface PromptContent {
  /** The prompt's text; for a chat, its last user message. */
  readonly text: string;
  /** All messages before the answer, the system message included, if the prompt is a chat. */
  readonly messages?: readonly ChatMessage[];
  /** The tools that the chat template is told of. */
  readonly tools?: readonly unknown[];
  /** Other variables of the chat template. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

/** A prompt from a data file: plain text or a chat. */
export interface PromptRow extends PromptContent {
  readonly row: Row;
  /** The row's place, for error messages. */
  readonly where: string;
}

/** The whole prompt as one text: for a chat, `role: content` of each message, separated by blank lines. */
export function conversationOf({ text, messages }: Pick<PromptContent, 'text' | 'messages'>): string {
  return messages === undefined ? text : chatText(messages);
}

/** Identifies a prompt: two rows with the same key have the same prompt. */
export function promptKey({ text, messages, tools, templateVariables }: PromptContent): string {
  return canonicalJson([messages ?? text, tools, templateVariables]);
}

/** A chat as a prompt. @throws UnreadableRow if it has no message of the user, or that is empty. */
export function chatPrompt(messages: readonly ChatMessage[]): PromptContent {
  const last = messages.findLast(({ role }) => role === 'user');
  if (last === undefined) return unreadable('the prompt has no message of the user');
  if (last.content.trim() === '') return unreadable('the prompt is empty');
  return { text: last.content, messages };
}

/** The prompt as a chat: a text becomes a message of the user. */
export function asChat(prompt: PromptContent): PromptContent & { readonly messages: readonly ChatMessage[] } {
  return { ...prompt, messages: prompt.messages ?? [{ role: 'user', content: prompt.text }] };
}

const isSet = (value: unknown) => present(value) && value !== '';

/** Whether a system message or tools make any prompt a chat; then all prompts of the data are chats. @param columns of these two. */
export function haveChats(rows: readonly PlacedRow[], columns: readonly string[]): boolean {
  return columns.some((column) => rows.some(({ row }) => isSet(row[column])));
}

/**
 * The prompt with the system message, the tools and the template's variables of its row. A system message and tools make a text a chat.
 * @throws UnreadableRow if one of them cannot be read.
 */
export function completedPrompt(
  prompt: PromptContent,
  {
    system,
    tools,
    variables,
  }: { readonly system?: unknown; readonly tools?: unknown; readonly variables?: unknown },
): PromptContent {
  const templateVariables = templateVariablesIn(variables);
  const own = templateVariables === undefined ? prompt : { ...prompt, templateVariables };
  const known = toolsIn(tools);
  const isEmpty = system === null || system === undefined || system === '';
  if (!isEmpty && typeof system !== 'string') return unreadable(`'system' is not text: ${excerptOf(system)}`);
  if (isEmpty && known === undefined) return own;
  const chat = asChat(own);
  const { messages } = chat;
  const [first] = messages;
  const hasOwn = isEmpty || first!.role === 'system';
  if (!isEmpty && hasOwn && first!.content.trim() !== system.trim())
    return unreadable("'system' differs from the chat's own system message");
  return {
    ...chat,
    messages: hasOwn ? messages : [{ role: 'system', content: system }, ...messages],
    ...(known === undefined ? {} : { tools: known }),
  };
}

/**
 * A prompt in a column.
 * @param field the column's name, for messages.
 * @throws UnreadableRow if it is neither a text nor a chat with a user message.
 */
export function promptIn(value: unknown, field: string): PromptContent {
  const messages = chatIn(value, field);
  if (messages !== undefined) return chatPrompt(messages);
  return { text: textIn(value, field) };
}

/** The columns of a prompt besides its own. */
const besidePrompts = ['system', 'tools', 'chat_template_kwargs'] as const;

/** The prompt in column `field` of a row, with its system message, tools and variables. @throws UnreadableRow */
function readPrompt({ row, where }: PlacedRow, field: string): PromptRow {
  const [system, tools, variables] = besidePrompts.map((name) => (name === field ? undefined : row[name]));
  return { ...completedPrompt(promptIn(row[field], field), { system, tools, variables }), row, where };
}

/**
 * The prompt in column `field` of a row.
 * @throws PmpoError if the column is missing, or is neither text nor a chat with a user message.
 */
export function promptOf(placed: PlacedRow, field: string): PromptRow {
  const { row, where } = placed;
  try {
    return readPrompt(placed, field);
  } catch (error) {
    if (!(error instanceof UnreadableRow)) throw error;
    const what =
      field in row ? error.message : `the row has no '${field}'. It has ${Object.keys(row).join(', ')}`;
    throw new PmpoError({
      where,
      what,
      remedy: 'Give a text, or a list of {role, content} with a user message',
    });
  }
}

/** The prompts of a file. */
export interface ReadablePrompts {
  readonly prompts: readonly PromptRow[];
  readonly leftOut: LeftOut;
  /** The columns that are no part of the prompts. */
  readonly unread: readonly string[];
}

/**
 * The prompts in column `field`, without the rows that cannot be read. If any row has a system message or tools, all prompts are chats.
 * @param chat whether prompts that are texts become messages of the user.
 * @throws PmpoError if no row has the column, or none can be read.
 */
export function readablePrompts(
  rows: readonly PlacedRow[],
  field: string,
  { chat = false }: { readonly chat?: boolean } = {},
): ReadablePrompts {
  const [first] = rows;
  if (first !== undefined && rows.every(({ row }) => !(field in row))) promptOf(first, field);
  const leftOut = new LeftOut();
  const areChats =
    chat ||
    haveChats(
      rows,
      ['system', 'tools'].filter((name) => name !== field),
    );
  const prompts = rows.flatMap((placed): PromptRow[] => {
    const found = leftOut.try(placed.where, () => readPrompt(placed, field));
    return found === undefined ? [] : [areChats ? { ...found, ...asChat(found) } : found];
  });
  if (prompts.length === 0)
    throw leftOut.error('Give a text, or a list of {role, content} with a user message');
  const columns = new Set(rows.flatMap(({ row }) => Object.keys(row)));
  const unread = [...columns].filter(
    (column) => column !== field && !(besidePrompts as readonly string[]).includes(column),
  );
  return { prompts, leftOut, unread };
}
