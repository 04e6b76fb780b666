import { describe, expect, it } from 'vitest';
import { readFixture } from '../../test/references/read.js';
import { distinct, repetition, selfBleu, wordsOf } from './text-diversity.js';

interface Case {
  readonly texts: readonly string[];
  readonly distinct: readonly number[];
  readonly repetition: number;
  readonly selfBleu: number;
}
const { cases } = readFixture<{ cases: readonly Case[] }>('text_diversity_nltk');

describe('the diversity of texts', () => {
  it.each(cases)('is that of NLTK for $texts', ({ texts, ...expected }) => {
    const words = texts.map(wordsOf);
    expect(distinct(words, 1)).toBeCloseTo(expected.distinct[0]!, 9);
    expect(distinct(words, 2)).toBeCloseTo(expected.distinct[1]!, 9);
    expect(repetition(words)).toBeCloseTo(expected.repetition, 9);
    expect(selfBleu(words)).toBeCloseTo(expected.selfBleu, 9);
  });

  it('does not count punctuation and capitals', () => {
    expect(wordsOf(' We LOVED it: the café’s soup, wasn’t it?')).toEqual([
      'we',
      'loved',
      'it',
      'the',
      "café's",
      'soup',
      "wasn't",
      'it',
    ]);
    expect(wordsOf("It's 7.")).toEqual(["it's", '7']);
    expect(wordsOf("'Good' and ‘good’, the diners' rock 'n' roll")).toEqual(
      'good and good the diners rock n roll'.split(' '),
    );
    // Accents and vowel signs of their own.
    expect(wordsOf('cafe\u0301 हिन्दी')).toEqual(['cafe\u0301', 'हिन्दी']);
  });

  it('is NaN where there is nothing to count', () => {
    expect(distinct([['one'], []], 2)).toBeNaN();
    expect(repetition([['one', 'two', 'three']])).toBeNaN();
    expect(selfBleu([['one', 'two']])).toBeNaN();
    expect(selfBleu([[], ['one']])).toBe(0);
  });
});
