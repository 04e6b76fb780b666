import { toUSVString } from 'node:util';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import type { ChatMessage } from '../core/chat.js';
import { PmpoError } from '../core/errors.js';
import { WholeFloat } from '../core/whole-float.js';
import { type Chat, ChatTemplate } from './chat-template.js';
import {
  namedTokens,
  SpecialSpellings,
  type SpecialToken,
  specialTokensOf,
  withSpellings,
} from './special-tokens.js';
import type { EncodingOptions, Tokenizer } from './tokenizer.js';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.js';
import { vocabularyHash, vocabularyOf } from './vocabulary.js';

/** The tokens that a tokenizer.json adds before and after every text. */
interface AddedAround {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

interface PostProcessor {
  readonly type?: string;
  readonly processors?: readonly PostProcessor[];
  readonly single?: readonly { readonly SpecialToken?: { readonly id: string } }[];
  readonly special_tokens?: Readonly<Record<string, { readonly ids: readonly number[] }>>;
  readonly cls?: readonly [string, number];
  readonly sep?: readonly [string, number];
}

function addedAround(processor: PostProcessor | null | undefined): AddedAround {
  if (processor?.type === 'Sequence') {
    const parts = (processor.processors ?? []).map(addedAround);
    return {
      before: parts.toReversed().flatMap(({ before }) => before),
      after: parts.flatMap(({ after }) => after),
    };
  }
  if (processor?.type === 'TemplateProcessing') {
    const { single = [], special_tokens: ids = {} } = processor;
    const text = single.findIndex((piece) => piece.SpecialToken === undefined);
    const of = (pieces: typeof single) =>
      pieces.flatMap((piece) => ids[piece.SpecialToken?.id ?? '']?.ids ?? []);
    return { before: of(single.slice(0, text)), after: of(single.slice(text + 1)) };
  }
  const { cls, sep } = processor ?? {};
  return cls === undefined || sep === undefined
    ? { before: [], after: [] }
    : { before: [cls[1]], after: [sep[1]] };
}

/** A Hugging Face tokenizer (tokenizer.json) with its chat template. */
export class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly vocabularyHash: string;
  readonly beginToken?: number;
  readonly endToken?: number;
  readonly specialTokens: readonly string[];
  /** V without added tokens. */
  readonly textVocabularySize: number;
  readonly #where: string;
  readonly #spellings: SpecialSpellings;
  readonly #specialIds: ReadonlySet<number>;
  readonly #known: ReadonlySet<number>;
  readonly #encoder: HuggingFace;
  readonly #around: AddedAround;
  readonly #cleanUp: boolean;
  readonly #template: ChatTemplate | undefined;
  /** The template for chats with tools, where the model has one of its own for these. */
  readonly #toolTemplate: ChatTemplate | undefined;

  /** @throws PmpoError if tokenizer.json has no vocabulary or cannot be used. */
  constructor({ where, tokenizer, config, chatTemplate, toolTemplate }: TokenizerFiles) {
    this.#where = where;
    const vocabulary = vocabularyOf(tokenizer);
    const special: readonly SpecialToken[] = specialTokensOf(tokenizer, config);
    const names = namedTokens(config);
    this.#spellings = new SpecialSpellings(special);
    this.#specialIds = new Set(special.map(({ id }) => id));
    this.#known = new Set(vocabulary.values());
    this.specialTokens = special.map(({ content }) => content);
    this.vocabularySize = largest(this.#known) + 1;
    if (this.vocabularySize === 0) {
      throw new PmpoError({ where, what: 'its tokenizer.json cannot be used: it has no vocabulary' });
    }
    const withoutAdded = vocabularyOf({ model: tokenizer.model });
    this.textVocabularySize = largest(withoutAdded.values()) + 1;
    this.vocabularyHash = vocabularyHash(vocabulary);
    this.beginToken = names.bos_token === undefined ? undefined : vocabulary.get(names.bos_token);
    this.endToken = names.eos_token === undefined ? undefined : vocabulary.get(names.eos_token);
    this.#around = addedAround(tokenizer.post_processor as PostProcessor | null | undefined);
    this.#cleanUp = config.clean_up_tokenization_spaces === true;
    const templateOf = (text: string | undefined) =>
      text === undefined ? undefined : new ChatTemplate(text, tokensByName(config));
    this.#template = templateOf(chatTemplate);
    this.#toolTemplate = templateOf(toolTemplate);
    try {
      this.#encoder = new HuggingFace(withSpellings(tokenizer, special, this.#spellings), config);
    } catch (cause) {
      throw new PmpoError({
        where,
        what: `its tokenizer.json cannot be used: ${(cause as Error).message}`,
        remedy: 'It must be written by Hugging Face tokenizers',
        cause,
      });
    }
  }

  get hasChatTemplate(): boolean {
    return this.#template !== undefined;
  }

  encode(text: string, { special = false, begin, end = true }: EncodingOptions = {}): Int32Array {
    const wellFormed = toUSVString(text);
    const tokens = this.#ids(special ? this.#spellings.toSpellings(wellFormed) : wellFormed);
    if (begin === false) return Int32Array.from(tokens);
    if (begin === undefined) {
      return Int32Array.from([...this.#around.before, ...tokens, ...(end ? this.#around.after : [])]);
    }
    if (this.beginToken === undefined) {
      throw new PmpoError({
        where: this.#where,
        what: 'the tokenizer has no token that begins a text (bos_token)',
        remedy: 'Encode without a begin token',
      });
    }
    return Int32Array.from([this.beginToken, ...tokens]);
  }

  #ids(text: string): readonly number[] {
    const { ids } = this.#encoder.encode(text, { add_special_tokens: false });
    if ((ids as readonly (number | undefined)[]).includes(undefined)) {
      throw new PmpoError({
        where: this.#where,
        what: 'the vocabulary has neither a token for a part of the text nor an unknown token',
      });
    }
    return ids;
  }

  decode(
    tokens: Int32Array | readonly number[],
    { special = false }: { readonly special?: boolean } = {},
  ): string {
    // A model may have more ids than its tokenizer has tokens; these have no text.
    const shown = Array.from(tokens).filter(
      (id) => this.#known.has(id) && (special || !this.#specialIds.has(id)),
    );
    if (shown.length === 0) return '';
    const text = this.#encoder.decode(shown, {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: this.#cleanUp,
    });
    return this.#spellings.fromSpellings(text);
  }

  encodeChat(chat: Chat | readonly ChatMessage[]): Int32Array {
    const given: Chat = 'messages' in chat ? chat : { messages: chat };
    const protect = (value: unknown): unknown => {
      if (typeof value === 'string') return this.#spellings.protect(toUSVString(value));
      if (Array.isArray(value)) return value.map(protect);
      if (typeof value !== 'object' || value === null || value instanceof WholeFloat) return value;
      return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, protect(own)]));
    };
    const rendered = this.#render({
      ...given,
      messages: protect(given.messages) as readonly ChatMessage[],
      ...(given.tools === undefined ? {} : { tools: protect(given.tools) as readonly unknown[] }),
    });
    return Int32Array.from(this.#ids(this.#spellings.unprotect(this.#spellings.toSpellings(rendered))));
  }

  #render(chat: Chat): string {
    const template = chat.tools === undefined ? this.#template : (this.#toolTemplate ?? this.#template);
    if (template === undefined) {
      throw new PmpoError({
        where: this.#where,
        what: 'the tokenizer has no chat template',
        remedy: 'Put a chat_template.jinja beside tokenizer.json, or use plain-text prompts',
      });
    }
    try {
      return template.render(chat);
    } catch (cause) {
      const roles = chat.messages.map(({ role }) => role).join(', ');
      throw new PmpoError({
        where: this.#where,
        what: `the chat template does not accept these messages (${roles}): ${(cause as Error).message}`,
        cause,
      });
    }
  }
}

/** Every token that tokenizer_config.json gives a name, such as `bos_token` or a model's own `image_token`. */
function tokensByName(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const own = Object.entries(config).filter(
    ([key, value]) => key.endsWith('_token') && typeof value === 'string',
  );
  return { ...(Object.fromEntries(own) as Record<string, string>), ...namedTokens(config) };
}

function largest(numbers: Iterable<number>): number {
  let result = -1;
  for (const number of numbers) result = Math.max(result, number);
  return result;
}

/**
 * Loads a Hugging Face tokenizer.
 * @param path a tokenizer.json, or the folder with that file.
 * @throws PmpoError if there is none, or it cannot be read.
 */
export async function loadTokenizer(path: string): Promise<HuggingFaceTokenizer> {
  return new HuggingFaceTokenizer(await readTokenizerFiles(path));
}
