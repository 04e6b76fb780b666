import type { ChatMessage } from '../core/chat.js';
import { PmpoError } from '../core/errors.js';
import type { PlacedRow, Row } from './rows.js';

/** A prompt as a data file has it: a text, or a chat. */
export interface PromptRow {
  /** A chat's last user message. */
  readonly text: string;
  readonly messages?: readonly ChatMessage[];
  readonly row: Row;
  readonly where: string;
}

/** A whole prompt as one text: a chat's turns with who said them, a blank line between them; a text as it is. */
export function conversationOf({ text, messages }: Pick<PromptRow, 'text' | 'messages'>): string {
  return messages === undefined
    ? text
    : messages.map(({ role, content }) => `${role}: ${content}`).join('\n\n');
}

const roles = ['system', 'user', 'assistant'];

/** A value in a message, whatever it is. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? Number(part) : part));
  return (text ?? String(value)).slice(0, 60);
}

/** A list of chat messages, or undefined for anything else. */
export function asMessages(value: unknown): readonly ChatMessage[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const whole = value.every(
    (message) => roles.includes(message?.role as string) && typeof message?.content === 'string',
  );
  return whole ? (value as ChatMessage[]) : undefined;
}

/**
 * The prompt in a column of a row.
 * @throws PmpoError with the row's place when it is neither a text nor a chat.
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
        ? `there is no '${field}'. The row has ${Object.keys(row).join(', ')}`
        : `'${field}' is neither a text nor a chat: ${shown(value)}`,
    remedy: 'Give a text, or a list of {role, content} with a user’s turn in it',
  });
}
