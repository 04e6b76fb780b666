import type { ChatMessage } from '../../core/chat.js';
import { ConfigError, PmpoError } from '../../core/errors.js';
import type { LabeledCompletion, PreferenceContext } from '../../datasets/preferences.js';
import { asChat, type PromptRow } from '../../datasets/prompts.js';
import type { Chat } from '../../language/chat-template.js';
import type { Tokenizer } from '../../language/tokenizer.js';

/**
 * Lays out prompts and completions as tokens. Prompt and completion are encoded together, as one text or one chat, and cut where the
 * completion begins; a completion that is encoded by itself would have other tokens. Shapes: N completions, T tokens.
 */

/** A prompt with its completions as tokens. */
export interface LaidOutContext {
  readonly prompt: Int32Array;
  /** The tokens that follow the prompt, all of which are learned, [N] × [T]. */
  readonly completions: readonly Int32Array[];
  /** The last tokens of the prompt by itself that its tokens with a completion do not have; usually empty. */
  readonly replaced: Int32Array;
  /** A special token that a message of the chat spells, where it is plain text; transformers would read the token. */
  readonly spelled?: string;
}

/** How a data set is laid out. */
export interface LayoutSettings {
  /** Whether a prompt that is a text becomes a user's message. */
  readonly chat: boolean;
  /** The special token that ends a completion that is a text; default: the tokenizer's. Chats end as their template says. */
  readonly endToken?: string;
}

/** The messages of a prompt; undefined if it is a plain text. */
function messagesOf(prompt: PromptRow, chat: boolean): readonly ChatMessage[] | undefined {
  return chat ? asChat(prompt).messages : prompt.messages;
}

/** The chat of a prompt, with everything that its template is told. */
function chatOf(
  { tools, templateVariables: variables }: PromptRow,
  messages: readonly ChatMessage[],
  ending: Chat['ending'],
): Chat {
  return {
    messages,
    ending,
    ...(tools === undefined ? {} : { tools }),
    ...(variables === undefined ? {} : { variables }),
  };
}

/** Runs `encode`, so that its error names the row. */
function atRow<T>(where: string, encode: () => T): T {
  try {
    return encode();
  } catch (cause) {
    if (!(cause instanceof PmpoError)) throw cause;
    const { what, remedy } = cause.details;
    throw new PmpoError({ where, what, remedy, cause });
  }
}

/**
 * The tokens of a prompt that the model is to complete, [T]: a chat up to where the answer begins (or, if its last message is the
 * assistant's, where that message goes on), a text without the tokens that would end it.
 * @param chat whether a text is formatted as a user's message.
 * @throws PmpoError with the row's place if the template refuses the chat, or the prompt has no tokens.
 */
export function promptTokens(tokenizer: Tokenizer, prompt: PromptRow, chat: boolean): Int32Array {
  const messages = messagesOf(prompt, chat);
  const tokens = atRow(prompt.where, () =>
    messages === undefined
      ? tokenizer.encode(prompt.text, { special: true, end: false })
      : tokenizer.encodeChat(chatOf(prompt, messages, 'prompt')),
  );
  if (tokens.length > 0) return tokens;
  throw new PmpoError({ where: prompt.where, what: 'the prompt has no tokens' });
}

/** The special token called `name`, or the tokenizer's end token, as a text. @throws ConfigError if there is none of that name. */
function endOfTexts(tokenizer: Tokenizer, name: string | undefined): string {
  const { endToken, specialTokens } = tokenizer;
  if (name === undefined)
    return endToken === undefined ? '' : tokenizer.decode([endToken], { special: true });
  if (specialTokens.includes(name)) return name;
  throw new ConfigError({
    where: 'language.dataset.endToken',
    what: `the tokenizer has no special token '${name}'`,
    remedy: `It has ${specialTokens.slice(0, 12).join(', ')}`,
  });
}

/** The tokens of a text that ends with the end token, [T]; as in TRL it is added to the text, which may have it already. */
function endedText(tokenizer: Tokenizer, text: string, end: string): Int32Array {
  return tokenizer.encode(text.endsWith(end) ? text : text + end, { special: true, end: false });
}

/** All messages of a prompt and its completion. A text goes on with the assistant's last message, or answers the user's. */
function wholeChat(messages: readonly ChatMessage[], completion: LabeledCompletion): readonly ChatMessage[] {
  const { text, messages: turns } = completion;
  if (turns !== undefined) return [...messages, ...turns];
  const last = messages.at(-1);
  if (last?.role !== 'assistant') return [...messages, { role: 'assistant', content: text }];
  return [...messages.slice(0, -1), { ...last, content: last.content + text }];
}

const hasText = (part: string) => (said: ChatMessage | string) =>
  (typeof said === 'string' ? said : said.content).includes(part);

/** The number of tokens at the beginning of `a` that `b` begins with, too. */
function commonPrefix(a: Int32Array, b: Int32Array): number {
  const end = a.findIndex((token, i) => token !== b[i]);
  return end < 0 ? a.length : end;
}

/**
 * Lays out a context. If the prompt's last tokens change when a completion follows, because a token of the whole text lies across the
 * border or the template renders the prompt alone in another way, then every completion begins where the tokens part for any of them,
 * as in TRL.
 * @throws PmpoError with the row's place if the template refuses a chat, or prompt or completion has no tokens.
 */
export function layOutContext(
  tokenizer: Tokenizer,
  { prompt: row, completions }: PreferenceContext,
  { chat, endToken }: LayoutSettings,
): LaidOutContext {
  const isChat = chat || completions.some(({ messages }) => messages !== undefined);
  const messages = messagesOf(row, isChat);
  const end = endOfTexts(tokenizer, endToken);
  const prompt = promptTokens(tokenizer, row, isChat);
  const wholes = completions.map((completion) =>
    atRow(row.where, () =>
      messages === undefined
        ? endedText(tokenizer, row.text + completion.text, end)
        : tokenizer.encodeChat(chatOf(row, wholeChat(messages, completion), 'whole')),
    ),
  );
  const cut = wholes.reduce((least, whole) => Math.min(least, commonPrefix(prompt, whole)), prompt.length);
  const learned = wholes.map((whole) => whole.slice(cut));
  if (cut === 0) {
    throw new PmpoError({
      where: row.where,
      what: 'no token of the prompt is left when a completion follows',
      remedy: 'Remove the row, or use a prompt that ends at the border of a word',
    });
  }
  if (learned.some((tokens) => tokens.length === 0)) {
    throw new PmpoError({ where: row.where, what: 'a completion has no tokens', remedy: 'Remove the row' });
  }
  const endsSo = (tokens: Int32Array) => tokenizer.decode(tokens, { special: true }).trimEnd().endsWith(end);
  if (messages !== undefined && endToken !== undefined && !learned.every(endsSo)) {
    throw new ConfigError({
      where: 'language.dataset.endToken',
      what: `the chat template does not end an answer with ${endToken} (${row.where})`,
      remedy: 'Omit it: a chat ends as its template says',
    });
  }
  const said = [messages ?? [], ...completions.map(({ text, messages: turns }) => turns ?? text)].flat();
  const spelled =
    messages === undefined ? undefined : tokenizer.specialTokens.find((name) => said.some(hasText(name)));
  return {
    prompt: prompt.slice(0, cut),
    completions: learned,
    replaced: prompt.slice(cut),
    ...(spelled === undefined ? {} : { spelled }),
  };
}

/** The ids of each tokenizer's special tokens. */
const specialIds = new WeakMap<Tokenizer, ReadonlySet<number | undefined>>();

function specialIdsOf(tokenizer: Tokenizer): ReadonlySet<number | undefined> {
  const ids =
    specialIds.get(tokenizer) ??
    new Set(
      tokenizer.specialTokens.map((name) => tokenizer.encode(name, { special: true, begin: false })[0]),
    );
  specialIds.set(tokenizer, ids);
  return ids;
}

/**
 * The special tokens at which a sampled answer to a prompt ends, in addition to the model's end tokens: the one with which the chat
 * template ends the answer, such as `<|im_end|>`. None if the template writes none, or the prompt is a plain text.
 */
export function turnEnds(tokenizer: Tokenizer, prompt: PromptRow, chat: boolean): readonly number[] {
  const messages = messagesOf(prompt, chat);
  if (messages === undefined) return [];
  const answer = 'zq';
  const before = promptTokens(tokenizer, prompt, chat);
  const whole = atRow(prompt.where, () =>
    tokenizer.encodeChat(chatOf(prompt, wholeChat(messages, { text: answer, evaluation: 0 }), 'whole')),
  );
  const learned = whole.slice(commonPrefix(before, whole));
  const special = specialIdsOf(tokenizer);
  // Some templates write more tokens after the one that ends the answer, and some write a header before the answer.
  const end = learned.find(
    (token, i) => special.has(token) && tokenizer.decode(learned.subarray(0, i)).includes(answer),
  );
  return end === undefined ? [] : [end];
}
