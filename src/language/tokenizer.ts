import type { ChatMessage } from '../core/chat.js';
import type { Chat } from './chat-template.js';

/** How a text is encoded. */
export interface EncodingOptions {
  /**
   * Whether `<bos>` and the like in the text become special tokens; default: false, so that no prompt can end its turn or begin
   * another.
   */
  readonly special?: boolean;
  /** Whether the begin token comes first; default: as the tokenizer's files say. */
  readonly begin?: boolean;
  /** Whether the tokens follow that the tokenizer's files put after a text, if any; default: true. With `begin` none follow. */
  readonly end?: boolean;
}

/** Converts texts to tokens and back. Shapes: T tokens, V vocabulary. */
export interface Tokenizer {
  /** V, including added tokens. */
  readonly vocabularySize: number;
  /** SHA-256 (hexadecimal) of all tokens with their ids: equal for tokenizers with the same vocabulary. */
  readonly vocabularyHash: string;
  /** The token that begins a text (BOS), if there is one. */
  readonly beginToken?: number;
  /** The token that ends a text (EOS), if there is one. */
  readonly endToken?: number;
  /** The special tokens as texts, such as `<bos>`. */
  readonly specialTokens: readonly string[];
  /** Whether `encodeChat` can be used. */
  readonly hasChatTemplate: boolean;
  /**
   * The tokens of a text, [T].
   * @throws PmpoError if `begin` is true and there is no begin token, or the vocabulary lacks a part of the text.
   */
  encode(text: string, options?: EncodingOptions): Int32Array;
  /** The text of tokens. @param options.special whether it includes special tokens; default: false. */
  decode(tokens: Int32Array | readonly number[], options?: { readonly special?: boolean }): string;
  /**
   * The tokens of a chat in the model's chat template, as `apply_chat_template` of transformers gives them, [T]; by default up to the
   * beginning of the assistant's next message. Special tokens come from the template only; in messages they are plain text.
   * @throws PmpoError if there is no template, or it does not accept these messages.
   */
  encodeChat(chat: Chat | readonly ChatMessage[]): Int32Array;
}
