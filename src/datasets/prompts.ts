import { type ChatMessage, chatText } from '../core/chat.js';
import { PmpoError } from '../core/errors.js';
import type { PlacedRow, Row } from './rows.js';

/** A prompt from a data file: plain text or a chat. */
export interface PromptRow {
  /** The prompt's text; for a chat, its last user message. */
  readonly text: string;
  /** All messages before the answer, the system message included, if the prompt is a chat. */
  readonly messages?: readonly ChatMessage[];
  /** The tools that the chat template is told of. */
  readonly tools?: readonly unknown[];
  readonly row: Row;
  /** The row's place, for error messages. */
  readonly where: string;
}

/** The whole prompt as one text: for a chat, `role: content` of each message, separated by blank lines. */
export function conversationOf({ text, messages }: Pick<PromptRow, 'text' | 'messages'>): string {
  return messages === undefined ? text : chatText(messages);
}

const roles = ['system', 'user', 'assistant'];

/** The start of any value as JSON, for error messages. */
export function excerptOf(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? Number(part) : part));
  return (text ?? String(value)).slice(0, 60);
}

/** The value as chat messages; undefined if it is not a list of them. */
export function asMessages(value: unknown): readonly ChatMessage[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const whole = value.every(
    (message) => roles.includes(message?.role as string) && typeof message?.content === 'string',
  );
  return whole ? (value as ChatMessage[]) : undefined;
}

/**
 * The prompt in column `field` of a row.
 * @throws PmpoError if the column is missing, or is neither text nor a chat with a user message.
 */
export function promptOf({ row, where }: PlacedRow, field: string): PromptRow {
  const value = row[field];
  if (typeof value === 'string' && value !== '') return { text: value, row, where };
  const messages = asMessages(value);
  const last = messages?.findLast(({ role }) => role === 'user');
  if (messages !== undefined && last !== undefined) return { text: last.content, messages, row, where };
  throw new PmpoError({
    where,
    what:
      value === undefined
        ? `the row has no '${field}'. It has ${Object.keys(row).join(', ')}`
        : `'${field}' is neither text nor a chat: ${excerptOf(value)}`,
    remedy: 'Give a text, or a list of {role, content} with a user message',
  });
}
