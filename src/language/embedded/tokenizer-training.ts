import { PmpoError } from '../../core/errors.js';
import type { TokenizerFiles } from '../tokenizer-files.js';

/**
 * Trains a byte-level BPE tokenizer (Sennrich et al., arXiv 1508.07909; over bytes as in GPT-2), in the format of Hugging Face's
 * tokenizer.json. It encodes any text without loss. The same texts give the same tokenizer.
 */

export const specialTokens = { pad: '<pad>', begin: '<bos>', end: '<eos>' } as const;

/** They are the first tokens. The begin token must not be 0, which means "none" in vLLM's protocol. */
const specials = [specialTokens.pad, specialTokens.begin, specialTokens.end];

/** GPT-2's division of a text into words before merging: a space belongs to the word after it. */
const words = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** GPT-2's letters for the 256 bytes: printable bytes are themselves, the others are letters from U+0100 on. */
function byteLetters(): string[] {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++));
}

interface Word {
  pieces: string[];
  readonly count: number;
}

function countWords(texts: Iterable<string>, letters: readonly string[]): Word[] {
  const encoder = new TextEncoder();
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [word] of text.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].map(([word, count]) => ({
    pieces: Array.from(encoder.encode(word), (byte) => letters[byte]!),
    count,
  }));
}

/** The most frequent pair of neighbors, the alphabetically first one of equally frequent pairs; undefined if none occurs twice. */
function mostFrequentPair(found: readonly Word[]): readonly [string, string] | undefined {
  const counts = new Map<string, number>();
  for (const { pieces, count } of found) {
    for (let i = 1; i < pieces.length; i++) {
      const pair = `${pieces[i - 1]} ${pieces[i]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  }
  let best: string | undefined;
  let most = 1;
  for (const [pair, count] of counts) {
    if (count < most || (count === most && (best === undefined || pair > best))) continue;
    best = pair;
    most = count;
  }
  return best?.split(' ') as [string, string] | undefined;
}

function merge(pieces: readonly string[], [left, right]: readonly [string, string]): string[] {
  const merged: string[] = [];
  for (let i = 0; i < pieces.length; i++) {
    const isPair = pieces[i] === left && pieces[i + 1] === right;
    merged.push(isPair ? left + right : pieces[i]!);
    if (isPair) i++;
  }
  return merged;
}

/**
 * @param texts the texts to learn merges from
 * @param vocabularySize the number of special tokens, bytes and merges; it is smaller if nothing is left to merge
 * @param contextLength written into tokenizer_config.json
 * @returns tokenizer.json and tokenizer_config.json, parsed. Encoded texts begin with `<bos>`.
 * @throws PmpoError when the vocabulary size is too small for all bytes.
 */
export function trainTokenizer(
  texts: Iterable<string>,
  { vocabularySize, contextLength }: { readonly vocabularySize: number; readonly contextLength: number },
): TokenizerFiles {
  const letters = byteLetters();
  const smallest = specials.length + letters.length;
  if (vocabularySize < smallest) {
    throw new PmpoError({
      where: 'tokenizer',
      what: `a vocabulary of ${vocabularySize} tokens is too small for the 256 bytes and ${specials.length} special tokens`,
      remedy: `Give ${smallest} or more`,
    });
  }
  const tokens = [...specials, ...[...letters].sort()];
  const found = countWords(texts, letters);
  const merges: string[] = [];
  while (tokens.length < vocabularySize) {
    const pair = mostFrequentPair(found);
    if (pair === undefined) break;
    for (const word of found) word.pieces = merge(word.pieces, pair);
    merges.push(pair.join(' '));
    tokens.push(pair.join(''));
  }
  const beginId = specials.indexOf(specialTokens.begin);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    where: 'the tokenizer trained on the corpus',
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specials.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: specialTokens.begin, type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
        ],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: {
          [specialTokens.begin]: { id: specialTokens.begin, ids: [beginId], tokens: [specialTokens.begin] },
        },
      },
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges,
      },
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: specialTokens.begin,
      eos_token: specialTokens.end,
      pad_token: specialTokens.pad,
      model_max_length: contextLength,
      clean_up_tokenization_spaces: false,
    },
  };
}
