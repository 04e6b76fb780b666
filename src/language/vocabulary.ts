import { createHash } from 'node:crypto';

/**
 * The vocabulary of a tokenizer.json: the id of every token, added tokens included.
 * @param tokenizer the parsed file.
 */
export function vocabularyOf(tokenizer: Readonly<Record<string, unknown>>): Map<string, number> {
  const { vocab } = (tokenizer.model ?? {}) as { readonly vocab?: unknown };
  // A unigram model has a list of [token, score]; the id is the position.
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
 * A hash that identifies a vocabulary: SHA-256 (hexadecimal) of a UTF-8 text with one line per token, sorted by id and then by bytes.
 * A line is the id in decimal, a tab, and the token as the vocabulary has it (byte-level tokens in their printable form).
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
