import { addedTokensOf, vocabularyOf } from './vocabulary.js';

/** A token that is no text: it begins, ends or separates. */
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

/** A name in tokenizer_config.json stands by itself, or within an object. */
function contentOf(entry: unknown): string | undefined {
  if (typeof entry === 'string') return entry;
  const content = (entry as { readonly content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

/** What tokenizer_config.json says of the tokens that have a part of their own. */
export function namedTokens(
  config: Readonly<Record<string, unknown>>,
): Readonly<Partial<Record<NamedToken, string>>> {
  const found = namedKeys.map((key) => [key, contentOf(config[key])] as const);
  return Object.fromEntries(found.filter(([, content]) => content !== undefined));
}

/** Every token that one of the tokenizer's files declares special and that the vocabulary has. */
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

// Halves of UTF-16 pairs without their other half: no text that has been made well-formed holds them.
const control = '\udbff';
const letters = '\udbfe';

/**
 * Special tokens under spellings that no text can contain, so that a tokenizer that knows only these takes the usual ones as
 * letters.
 */
export class SpecialSpellings {
  readonly #tokens: readonly SpecialToken[];
  readonly #places: ReadonlyMap<string, number>;
  readonly #usual: RegExp | undefined;

  constructor(tokens: readonly SpecialToken[]) {
    // The longest first: where two begin at the same place, it is the one meant.
    this.#tokens = [...tokens].sort((a, b) => b.content.length - a.content.length);
    this.#places = new Map(this.#tokens.map(({ content }, place) => [content, place]));
    const patterns = this.#tokens.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'));
    this.#usual = patterns.length === 0 ? undefined : new RegExp(patterns.join('|'), 'g');
  }

  /** The spelling of a token that stands for itself; undefined for tokens that are not special. */
  spelling(content: string): string | undefined {
    const place = this.#places.get(content);
    return place === undefined ? undefined : `${control}${place}${control}`;
  }

  #replace(text: string, mark: string): string {
    if (this.#usual === undefined) return text;
    return text.replace(this.#usual, (content) => `${mark}${this.#places.get(content)}${mark}`);
  }

  #restore(text: string, mark: string): string {
    const marked = new RegExp(`${mark}(\\d+)${mark}`, 'g');
    return text.replace(marked, (_all, place: string) => this.#tokens[Number(place)]?.content ?? '');
  }

  /** A well-formed text in which each special token stands for itself. */
  asControl(text: string): string {
    return this.#replace(text, control);
  }

  /** The text that `asControl` was given. */
  asText(text: string): string {
    return this.#restore(text, control);
  }

  /** A well-formed text whose special tokens are hidden from `asControl`, until `showLetters`. */
  hideLetters(text: string): string {
    return this.#replace(text, letters);
  }

  showLetters(text: string): string {
    return this.#restore(text, letters);
  }
}

interface ModelDescription {
  readonly vocab?: unknown;
  readonly unk_token?: unknown;
}

/** A tokenizer.json in which every special token is an added one and has the spelling that no text contains. */
export function respelled(
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
      // What normalising would do to a text must not happen to a spelling.
      return spelling === undefined
        ? { ...defaults, ...token }
        : { ...defaults, ...token, id, content: spelling, special: true, normalized: false };
    }),
  };
}
