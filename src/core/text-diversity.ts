import { mean } from './statistics.js';

/**
 * How long and how diverse texts are, without judging them. The tokens are words in lower case; punctuation does not count. In languages
 * that put no spaces between words, everything between two punctuation marks is one word, so that these numbers say little there.
 */

/** The words of a text in lower case. An apostrophe, straight or curved, belongs to a word if letters are on both sides of it. */
export function wordsOf(text: string): string[] {
  const straight = text.toLowerCase().replaceAll('’', "'");
  return straight.match(/[\p{L}\p{N}\p{M}]+(?:'[\p{L}\p{M}]+)*/gu) ?? [];
}

function ngrams(words: readonly string[], n: number): string[] {
  return words.slice(n - 1).map((_, i) => words.slice(i, i + n).join(' '));
}

const ratio = (part: number, whole: number) => (whole === 0 ? Number.NaN : part / whole);

/**
 * distinct-n: different n-grams divided by all n-grams, over all texts together (Li et al., arXiv 1510.03055).
 * It falls with the number and the length of the texts, so compare it between equal numbers of texts.
 * @returns a share; NaN if there is no n-gram.
 */
export function distinct(texts: readonly (readonly string[])[], n: number): number {
  const all = texts.flatMap((words) => ngrams(words, n));
  return ratio(new Set(all).size, all.length);
}

/**
 * seq-rep-n: the share of a text's n-grams that the same text has already had, on average over the texts that have n-grams (Welleck et
 * al., arXiv 1908.04319, equation 6).
 * @returns a share; NaN if no text has an n-gram.
 */
export function repetition(texts: readonly (readonly string[])[], n = 4): number {
  const shares = texts
    .map((words) => ngrams(words, n))
    .filter((grams) => grams.length > 0)
    .map((grams) => 1 - new Set(grams).size / grams.length);
  return ratio(
    shares.reduce((sum, share) => sum + share, 0),
    shares.length,
  );
}

function counted(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

/** How often each n-gram occurs at most in one text, in which text that is, and how often at most in any other. */
function largestCounts(texts: readonly ReadonlyMap<string, number>[]) {
  const largest = new Map<string, { count: number; text: number; elsewhere: number }>();
  texts.forEach((counts, text) => {
    for (const [gram, count] of counts) {
      const found = largest.get(gram);
      if (found === undefined) largest.set(gram, { count, text, elsewhere: 0 });
      else if (count > found.count) largest.set(gram, { count, text, elsewhere: found.count });
      else found.elsewhere = Math.max(found.elsewhere, count);
    }
  });
  return largest;
}

/** What is added to a count of 0, as in `SmoothingFunction().method1` of NLTK and in Texygen. */
const smoothing = 0.1;

/**
 * Self-BLEU: the BLEU-4 of each text with all others as its references, on average (Zhu et al., arXiv 1802.01886, section 3). 1: every
 * text is a part of others; the lower, the more diverse. Equals `sentence_bleu` of NLTK with equal weights and `method1`.
 * @returns NaN for fewer than two texts.
 */
export function selfBleu(texts: readonly (readonly string[])[]): number {
  if (texts.length < 2) return Number.NaN;
  const orders = [1, 2, 3, 4].map((n) => {
    const counts = texts.map((words) => counted(ngrams(words, n)));
    return { counts, largest: largestCounts(counts) };
  });
  const withLength = counted(texts.map(({ length }) => String(length)));
  const bleu = ({ length }: readonly string[], text: number): number => {
    const logPrecisions = orders.map(({ counts, largest }) => {
      let [matches, all] = [0, 0];
      for (const [gram, count] of counts[text]!) {
        const most = largest.get(gram)!;
        matches += Math.min(count, most.text === text ? most.elsewhere : most.count);
        all += count;
      }
      return { matches, log: Math.log((matches === 0 ? smoothing : matches) / Math.max(1, all)) };
    });
    if (logPrecisions[0]!.matches === 0) return 0;
    const others = [...withLength]
      .filter(([own, count]) => Number(own) !== length || count > 1)
      .map(([own]) => Number(own));
    const reference = others.reduce((best, own) => {
      const [is, was] = [Math.abs(own - length), Math.abs(best - length)];
      return is < was || (is === was && own < best) ? own : best;
    });
    const brevity = length > reference ? 0 : 1 - reference / length;
    return Math.exp(brevity + logPrecisions.reduce((sum, { log }) => sum + log / 4, 0));
  };
  return ratio(
    texts.map(bleu).reduce((sum, value) => sum + value, 0),
    texts.length,
  );
}

/** How long and how diverse texts are. */
export interface TextDiversity {
  /** Words, on average. */
  readonly words: number;
  readonly distinct1: number;
  readonly distinct2: number;
  readonly selfBleu: number;
  /** seq-rep-4. */
  readonly repetition: number;
}

/** How long and how diverse texts are. NaN where nothing can be said. */
export function textDiversity(texts: readonly string[]): TextDiversity {
  const words = texts.map(wordsOf);
  return {
    words: mean(words.map(({ length }) => length)),
    distinct1: distinct(words, 1),
    distinct2: distinct(words, 2),
    selfBleu: selfBleu(words),
    repetition: repetition(words),
  };
}
