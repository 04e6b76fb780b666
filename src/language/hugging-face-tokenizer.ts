import { toUSVString } from 'node:util';
import { Template } from '@huggingface/jinja';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import type { ChatMessage } from '../core/chat.js';
import { PmpoError } from '../core/errors.js';
import {
  namedTokens,
  SpecialSpellings,
  type SpecialToken,
  specialTokensOf,
  withSpellings,
} from './special-tokens.js';
import type { Tokenizer } from './tokenizer.js';
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
  readonly #names: Readonly<Record<string, string>>;
  readonly #spellings: SpecialSpellings;
  readonly #specialIds: ReadonlySet<number>;
  readonly #known: ReadonlySet<number>;
  readonly #encoder: HuggingFace;
  readonly #around: AddedAround;
  readonly #cleanUp: boolean;
  readonly #templateText: string | undefined;
  #template: Template | undefined;

  /** @throws PmpoError if tokenizer.json has no vocabulary or cannot be used. */
  constructor({ where, tokenizer, config, chatTemplate }: TokenizerFiles) {
    this.#where = where;
    const vocabulary = vocabularyOf(tokenizer);
    const special: readonly SpecialToken[] = specialTokensOf(tokenizer, config);
    const names = namedTokens(config);
    this.#names = names;
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
    this.#templateText = chatTemplate;
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
    return this.#templateText !== undefined;
  }

  encode(
    text: string,
    { special = false, begin }: { readonly special?: boolean; readonly begin?: boolean } = {},
  ): Int32Array {
    const wellFormed = toUSVString(text);
    const tokens = this.#ids(special ? this.#spellings.toSpellings(wellFormed) : wellFormed);
    if (begin === false) return Int32Array.from(tokens);
    if (begin === undefined)
      return Int32Array.from([...this.#around.before, ...tokens, ...this.#around.after]);
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

  encodeChat(messages: readonly ChatMessage[]): Int32Array {
    const protectedMessages = messages.map(({ role, content }) => ({
      role,
      content: this.#spellings.protect(toUSVString(content)),
    }));
    const rendered = this.#render(protectedMessages);
    return Int32Array.from(this.#ids(this.#spellings.unprotect(this.#spellings.toSpellings(rendered))));
  }

  #render(messages: readonly ChatMessage[]): string {
    if (this.#templateText === undefined) {
      throw new PmpoError({
        where: this.#where,
        what: 'the tokenizer has no chat template',
        remedy: 'Put a chat_template.jinja beside tokenizer.json, or use plain-text prompts',
      });
    }
    try {
      this.#template ??= new Template(this.#templateText);
      return this.#template.render({ ...this.#names, messages, add_generation_prompt: true });
    } catch (cause) {
      throw new PmpoError({
        where: this.#where,
        what: `the chat template does not accept these messages (${messages.map(({ role }) => role).join(', ')}): ${(cause as Error).message}`,
        cause,
      });
    }
  }
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
