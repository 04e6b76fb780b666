import type { ChatMessage } from '../core/chat.js';
import { PythonTemplate } from './python-jinja.js';

/** What a chat template renders. */
export interface Chat {
  readonly messages: readonly ChatMessage[];
  /** The tools that the model may call, as JSON Schemas. */
  readonly tools?: readonly unknown[];
  /** Other variables of the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /**
   * `prompt` (the default): the chat ends where the assistant's answer begins; if its last message is the assistant's own, where
   * that message goes on. `whole`: the chat ends as the template ends its last message.
   */
  readonly ending?: 'prompt' | 'whole';
}

/** Fields in which messages have the reasoning of a model; templates of different models read different ones. */
const reasoningFields = ['reasoning_content', 'thinking', 'reasoning'] as const;

/** A message as transformers shows it to a template: without empty fields, and its reasoning under both usual names. */
function shown(message: ChatMessage): Record<string, unknown> {
  const given = Object.fromEntries(Object.entries(message).filter(([, value]) => value != null));
  const reasoning = reasoningFields.map((name) => given[name]).find((value) => value !== undefined);
  return reasoning === undefined ? given : { thinking: reasoning, ...given, reasoning_content: reasoning };
}

/**
 * Refuses objects in which a key such as `10` has others beside it: JavaScript puts it before them, so that its place is lost, and a
 * template would write them in another order than in Python.
 */
function refuseNumericKeys(value: unknown, what: string): void {
  if (typeof value !== 'object' || value === null) return;
  const keys = Array.isArray(value) ? [] : Object.keys(value);
  const numeric = keys.find((key) => /^(0|[1-9]\d*)$/.test(key) && Number(key) < 2 ** 32 - 1);
  if (numeric !== undefined && keys.length > 1)
    throw new Error(`${what} have the key '${numeric}' beside others, and its place among them is not known`);
  for (const own of Object.values(value)) refuseNumericKeys(own, what);
}

const continued = 'CONTINUE_FINAL_MESSAGE_TAG ';

/** A chat template, rendered as `apply_chat_template` of transformers renders it. */
export class ChatTemplate {
  readonly #source: string;
  readonly #names: Readonly<Record<string, string>>;
  #template: PythonTemplate | undefined;

  /** @param names the tokens that templates know by name, such as `bos_token`. */
  constructor(source: string, names: Readonly<Record<string, string>>) {
    this.#source = source;
    this.#names = names;
  }

  /** @throws Error if the template cannot be parsed, or does not accept the chat. */
  render({ messages, tools, variables, ending = 'prompt' }: Chat): string {
    refuseNumericKeys(tools, 'the tools');
    for (const { tool_calls } of messages) refuseNumericKeys(tool_calls, 'the tool calls');
    const last = messages.at(-1);
    const continues = ending === 'prompt' && last?.role === 'assistant';
    const chat = messages.map(shown);
    if (continues) chat[chat.length - 1]!.content = last.content + continued;
    this.#template ??= new PythonTemplate(this.#source);
    const text = this.#template.render({
      ...this.#names,
      ...variables,
      messages: chat,
      tools: tools ?? null,
      documents: null,
      add_generation_prompt: ending === 'prompt' && !continues,
    });
    return continues ? cutAtContinuation(text, last.content) : text;
  }
}

/** The text up to the end of the last message, which is marked in it. */
function cutAtContinuation(text: string, content: string): string {
  const at = text.lastIndexOf(continued.trim());
  if (at < 0 || !text.includes(content.trim())) {
    throw new Error('the template changes the last message, so that it cannot be continued');
  }
  // A template that trims messages has trimmed the space at the end of the mark.
  return text.startsWith(continued, at) ? text.slice(0, at) : text.slice(0, at).trimEnd();
}
