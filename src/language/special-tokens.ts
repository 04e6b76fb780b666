import { addedTokensOf, vocabularyOf } from './vocabulary.js';

/** A control token, such as one that begins, ends or separates texts. */
export interface SpecialToken {
  readonly id: number;
  readonly content: string;
}

const namedKeys = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const; // prettier-ignore
export type NamedToken = (typeof namedKeys)[number];

/** tokenizer_config.json has a token as a string, or as an object with its content. */
function contentOf(entry: unknown): string | undefined {
  if (typeof entry === 'string') return entry;
  const content = (entry as { readonly content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

/** The tokens with a role (BOS, EOS, …) in tokenizer_config.json. */
export function namedTokens(
  config: Readonly<Record<string, unknown>>,
): Readonly<Partial<Record<NamedToken, string>>> {
  const found = namedKeys.map((key) => [key, contentOf(config[key])] as const);
  return Object.fromEntries(found.filter(([, content]) => content !== undefined));
}

/** All tokens of the vocabulary that one of the tokenizer's files declares special. */
export function specialTokensOf(
  tokenizer: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
): SpecialToken[] {
  const vocabulary = vocabularyOf(tokenizer);
  const contents = new Set(
    addedTokensOf(tokenizer)
      .filter(({ special }) => special)
      .map(({ content }) => content),
  );
  const decoder = Object.values((config.added_tokens_decoder ?? {}) as Record<string, { special?: boolean }>);
  const lists = [config.additional_special_tokens, config.extra_special_tokens].flatMap((list) =>
    Array.isArray(list) ? (list as unknown[]) : Object.values((list ?? {}) as object),
  );
  const declared = [
    ...Object.values(namedTokens(config)),
    ...decoder.filter(({ special }) => special).map(contentOf),
    ...lists.map(contentOf),
  ];
  for (const content of declared) {
    if (content) contents.add(content);
  }
  return [...contents].flatMap((content) => {
    const id = vocabulary.get(content);
    return id === undefined ? [] : [{ id, content }];
  });
}

// Lone surrogates, which no well-formed text contains.
const controlMark = '\udbff';
const literalMark = '\udbfe';

/**
 * Spellings of special tokens that no well-formed text can contain. A tokenizer that knows special tokens only by these spellings
 * treats the usual ones, such as `<bos>`, as plain text.
 */
export class SpecialSpellings {
  readonly #tokens: readonly SpecialToken[];
  readonly #places: ReadonlyMap<string, number>;
  readonly #usual: RegExp | undefined;

  constructor(tokens: readonly SpecialToken[]) {
    // Longest first, so that a token wins over its prefixes.
    this.#tokens = [...tokens].sort((a, b) => b.content.length - a.content.length);
    this.#places = new Map(this.#tokens.map(({ content }, place) => [content, place]));
    const patterns = this.#tokens.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
    this.#usual = patterns.length === 0 ? undefined : new RegExp(patterns.join('|'), 'g');
  }

  /** The spelling of a special token; undefined for other tokens. */
  spelling(content: string): string | undefined {
    const place = this.#places.get(content);
    return place === undefined ? undefined : `${controlMark}${place}${controlMark}`;
  }

  #replace(text: string, mark: string): string {
    if (this.#usual === undefined) return text;
    return text.replace(this.#usual, (content) => `${mark}${this.#places.get(content)}${mark}`);
  }

  #restore(text: string, mark: string): string {
    const marked = new RegExp(`${mark}(\\d+)${mark}`, 'g');
    return text.replace(marked, (_all, place: string) => this.#tokens[Number(place)]?.content ?? '');
  }

  /** Replaces special tokens in a well-formed text by their spellings. */
  toSpellings(text: string): string {
    return this.#replace(text, controlMark);
  }

  /** Reverts `toSpellings`. */
  fromSpellings(text: string): string {
    return this.#restore(text, controlMark);
  }

  /** Protects special tokens in a well-formed text from `toSpellings`. */
  protect(text: string): string {
    return this.#replace(text, literalMark);
  }

  /** Reverts `protect`. */
  unprotect(text: string): string {
    return this.#restore(text, literalMark);
  }
}

interface ModelDescription {
  readonly vocab?: unknown;
  readonly unk_token?: unknown;
}

/** A tokenizer.json in which every special token is an added token with its spelling. */
export function withSpellings(
  tokenizer: Readonly<Record<string, unknown>>,
  special: readonly SpecialToken[],
  spellings: SpecialSpellings,
): Record<string, unknown> {
  const rename = (content: string) => spellings.spelling(content) ?? content;
  const model = (tokenizer.model ?? {}) as ModelDescription;
  const vocab = Array.isArray(model.vocab)
    ? model.vocab.map(([token, score]: readonly [string, number]) => [rename(token), score])
    : Object.fromEntries(
        Object.entries((model.vocab ?? {}) as object).map(([token, id]) => [rename(token), id]),
      );
  const added = addedTokensOf(tokenizer);
  const undeclared = special.filter(({ content }) => !added.some((token) => token.content === content));
  const defaults = { single_word: false, lstrip: false, rstrip: false };
  return {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...tokenizer,
    model: {
      ...model,
      vocab,
      ...(typeof model.unk_token === 'string' ? { unk_token: rename(model.unk_token) } : {}),
    },
    added_tokens: [...added, ...undeclared].map((token) => {
      const spelling = spellings.spelling(token.content);
      const { id } = token;
      // The normalizer must not change a spelling.
      return spelling === undefined
        ? { ...defaults, ...token }
        : { ...defaults, ...token, id, content: spelling, special: true, normalized: false };
    }),
  };
}
