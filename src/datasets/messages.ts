import { canonicalJson } from '../core/canonical-json.js';
import type { ChatMessage, ChatRole } from '../core/chat.js';
import { unreadable } from './left-out.js';
import { parsePythonJson } from './python-json.js';

/** Chats as people write them: `{role, content}` as OpenAI and transformers, or `{from, value}` as ShareGPT. */

/** Other names of the roles, in lower case. */
const roleNames: Readonly<Record<string, ChatRole>> = {
  system: 'system',
  developer: 'developer',
  user: 'user',
  human: 'user',
  prompter: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  model: 'assistant',
  bot: 'assistant',
  function_call: 'assistant',
  tool_call: 'assistant',
  tool: 'tool',
  function: 'tool',
  tool_response: 'tool',
  function_response: 'tool',
  observation: 'tool',
  ipython: 'tool',
};

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a cell has a value. */
export const present = (value: unknown) => value !== null && value !== undefined;

/** The text in a cell. @param field the column, for messages. @throws UnreadableRow if it is none, or white space alone. */
export function textIn(value: unknown, field: string): string {
  if (typeof value !== 'string')
    return unreadable(
      present(value) ? `'${field}' is neither text nor a chat: ${excerptOf(value)}` : `'${field}' is missing`,
    );
  return value.trim() === '' ? unreadable(`'${field}' is empty`) : value;
}

/** The start of any value as JSON, for error messages. */
export function excerptOf(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? Number(part) : part));
  return (text ?? String(value)).slice(0, 60);
}

/** The text of a message's content, of which parts of text are joined. @throws UnreadableRow if a part is not text. */
function contentOf(content: unknown, role: string): string {
  if (typeof content === 'string') return content;
  if (Array.isArray(content)) {
    return content
      .map((part: unknown) => {
        if (typeof part === 'string') return part;
        if (isFields(part) && typeof part.text === 'string' && (part.type ?? 'text') === 'text')
          return part.text;
        const kind = isFields(part) && typeof part.type === 'string' ? part.type : excerptOf(part);
        return unreadable(`a message of the ${role} has a part that is no text: ${kind}`);
      })
      .join('');
  }
  return unreadable(
    content === null || content === undefined
      ? `a message of the ${role} has no content`
      : `the content of a message of the ${role} is not text: ${excerptOf(content)}`,
  );
}

/** The calls of a ShareGPT turn `function_call`, whose value is one call or a list of calls as JSON; undefined if it is another text. */
function callsIn(text: string): readonly object[] | undefined {
  let value: unknown;
  try {
    value = parsePythonJson(text);
  } catch {
    return undefined;
  }
  const calls = Array.isArray(value) ? value : [value];
  const areCalls = calls.length > 0 && calls.every((call) => isFields(call) && typeof call.name === 'string');
  if (!areCalls) return undefined;
  return (calls as Fields[]).map(({ name, arguments: given }) => ({
    type: 'function',
    function: { name, arguments: given ?? {} },
  }));
}

const isMessage = (value: unknown): value is Fields =>
  isFields(value) && (typeof value.role === 'string' || typeof value.from === 'string');

function messageOf(message: Fields): ChatMessage {
  const name = String(message.role ?? message.from);
  const role = Object.hasOwn(roleNames, name.toLowerCase()) ? roleNames[name.toLowerCase()] : undefined;
  if (role === undefined) return unreadable(`a message has the unknown role '${name}'`);
  const { role: _, from: __, content, value, ...others } = message;
  // Parquet gives every message all fields that any of them has.
  const fields = Object.fromEntries(Object.entries(others).filter(([, field]) => field !== null));
  const given = content ?? value;
  const calls = fields.tool_calls ?? fields.function_call;
  const hasCalls = Array.isArray(calls) ? calls.length > 0 : calls !== undefined;
  if ((given === null || given === undefined) && hasCalls) return { role, content: '', ...fields };
  const text = contentOf(given, role);
  const own = /^(?:function|tool)_call$/i.test(name) ? callsIn(text) : undefined;
  return own === undefined
    ? { role, content: text, ...fields }
    : { role, content: '', tool_calls: own, ...fields };
}

/** How the text of a list of messages begins, as JSON or as Python prints it. */
const listOfMessages = /^\s*(?:array\()?\[\s*\{\s*(['"])(?:role|from|content|value)\1\s*:/;

/** A list of messages may be JSON text, as in the columns of some Parquet files. @throws UnreadableRow if it cannot be parsed. */
function unpacked(value: unknown, field: string): unknown {
  if (typeof value !== 'string' || !/^\s*(?:array\()?\[\s*\{/.test(value)) return value;
  try {
    return parsePythonJson(value);
  } catch {
    if (!listOfMessages.test(value)) return value;
    return unreadable(`the text in '${field}' looks like a list of messages, but is not JSON`);
  }
}

/**
 * The value as a chat, which may be its JSON text; undefined if it is none.
 * @param field the column, for messages.
 * @throws UnreadableRow if it is a chat with a message that cannot be read, or looks like the text of one.
 */
export function chatIn(value: unknown, field: string): readonly ChatMessage[] | undefined {
  const plain = unpacked(value, field);
  const list = isMessage(plain) ? [plain] : plain;
  if (!Array.isArray(list) || list.length === 0 || !list.every(isMessage)) return undefined;
  return list.map(messageOf);
}

/** The variables of a chat template in a column `chat_template_kwargs`, as in TRL; undefined if there are none. @throws UnreadableRow */
export function templateVariablesIn(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (value === null || value === undefined) return undefined;
  if (!isFields(value)) return unreadable(`'chat_template_kwargs' is not an object: ${excerptOf(value)}`);
  return Object.keys(value).length === 0 ? undefined : value;
}

/** The tools in a column `tools`: a list, or its JSON text; undefined if there are none. @throws UnreadableRow */
export function toolsIn(value: unknown): readonly unknown[] | undefined {
  if (value === null || value === undefined || value === '') return undefined;
  let tools: unknown = value;
  if (typeof value === 'string') {
    try {
      tools = parsePythonJson(value);
    } catch {
      return unreadable("'tools' is not JSON");
    }
  }
  if (!Array.isArray(tools)) return unreadable("'tools' is not a list");
  // A tool may be JSON text itself.
  const parsed = tools.map((tool: unknown) => {
    if (typeof tool !== 'string') return tool;
    try {
      return parsePythonJson(tool);
    } catch {
      return unreadable("'tools' has an element that is not JSON");
    }
  });
  return parsed.length === 0 ? undefined : parsed;
}

/** Whether two chats are the same, message by message. */
export function sameChat(a: readonly ChatMessage[], b: readonly ChatMessage[]): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

/**
 * Splits a whole conversation into a prompt and the answer: all turns from the first of the assistant after the last of the user.
 * @throws UnreadableRow if there is no such answer.
 */
export function lastExchange(messages: readonly ChatMessage[]): {
  readonly prompt: readonly ChatMessage[];
  readonly answer: readonly ChatMessage[];
} {
  const user = messages.findLastIndex(({ role }) => role === 'user');
  if (user < 0) return unreadable('the conversation has no message of the user');
  const start = messages.findIndex(({ role }, i) => i > user && role === 'assistant');
  if (start < 0) return unreadable('the conversation does not end with an answer of the assistant');
  return { prompt: messages.slice(0, start), answer: messages.slice(start) };
}
