import type { ChatMessage } from '../core/chat.js';

/** Texts as tokens and back. Letters: T tokens, V vocabulary. */
export interface Tokenizer {
  /** V, added tokens included. */
  readonly vocabularySize: number;
  /** SHA-256, hexadecimal, over every token and its number: equal where texts mean the same tokens. */
  readonly vocabularyHash: string;
  readonly beginToken?: number;
  readonly endToken?: number;
  /** The names of the special tokens. */
  readonly specialTokens: readonly string[];
  /** Whether chats can be laid out as this model expects them. */
  readonly hasChatTemplate: boolean;
  /**
   * A text's tokens. What looks like a special token in it is taken as letters, unless `special` is set: a prompt cannot end
   * a turn or begin another.
   * @param options.begin whether the model's begin token comes first; default: as the tokenizer's own files say.
   */
  encode(text: string, options?: { readonly special?: boolean; readonly begin?: boolean }): Int32Array;
  /** @param options.special whether special tokens are shown; default: false. */
  decode(tokens: Int32Array | readonly number[], options?: { readonly special?: boolean }): string;
  /**
   * A chat as the model's template lays it out, ready for the assistant's turn. Control tokens are the template's own; those
   * in the messages are letters.
   * @throws PmpoError when there is no template, or it does not take these messages.
   */
  encodeChat(messages: readonly ChatMessage[]): Int32Array;
}
