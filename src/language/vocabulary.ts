import { createHash } from 'node:crypto';

/**
 * Every token's number, by the token: those of the model in a tokenizer.json, and its added tokens.
 *
 * @param tokenizer a parsed tokenizer.json
 */
export function vocabularyOf(tokenizer: Readonly<Record<string, unknown>>): Map<string, number> {
  const { vocab } = (tokenizer.model ?? {}) as { readonly vocab?: unknown };
  // A unigram model has pairs of token and score, numbered by their place.
  const pairs = Array.isArray(vocab)
    ? vocab.map((entry: readonly [string, number], id) => [entry[0], id] as const)
    : Object.entries((vocab ?? {}) as Record<string, number>);
  const result = new Map(pairs);
  for (const { id, content } of addedTokensOf(tokenizer)) result.set(content, id);
  return result;
}

/** An entry of `added_tokens` in a tokenizer.json. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
  readonly single_word?: boolean;
}

export function addedTokensOf(tokenizer: Readonly<Record<string, unknown>>): readonly AddedToken[] {
  return Array.isArray(tokenizer.added_tokens) ? (tokenizer.added_tokens as AddedToken[]) : [];
}

/**
 * What tells one vocabulary from another: the SHA-256, hexadecimal, of the UTF-8 text that has, for every token in the
 * order of their numbers (those of the same number in the order of their bytes), the number in decimal, a tab, the token as
 * it stands in the vocabulary (byte-level tokens in their printable form), and a newline.
 *
 * In Python, with Hugging Face's `tokenizers`:
 *
 *     vocabulary = Tokenizer.from_file("tokenizer.json").get_vocab(with_added_tokens=True)
 *     lines = (f"{number}\t{token}\n" for number, token in sorted((n, t) for t, n in vocabulary.items()))
 *     hashlib.sha256("".join(lines).encode()).hexdigest()
 */
export function vocabularyHash(vocabulary: ReadonlyMap<string, number>): string {
  const entries = [...vocabulary].map(([token, id]) => ({ id, bytes: Buffer.from(token, 'utf8') }));
  entries.sort((a, b) => a.id - b.id || Buffer.compare(a.bytes, b.bytes));
  const hash = createHash('sha256');
  for (const { id, bytes } of entries) hash.update(`${id}\t`).update(bytes).update('\n');
  return hash.digest('hex');
}
