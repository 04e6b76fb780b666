import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HuggingFaceTokenizer } from '../hugging-face-tokenizer.js';
import { trainTokenizer } from './tokenizer-training.js';

const texts = ['The soup was warm.', 'The soup was cold, and the bread was warm.', 'The waiter was kind.'];
const size = { vocabularySize: 270, contextLength: 64 };
const files = trainTokenizer(texts, size);
const tokenizer = new HuggingFaceTokenizer(files);

describe('a tokenizer trained on texts', () => {
  it('has the requested number of tokens, the special ones first', () => {
    expect(tokenizer.vocabularySize).toBe(270);
    expect(tokenizer.specialTokens).toEqual(['<pad>', '<bos>', '<eos>']);
    expect([tokenizer.beginToken, tokenizer.endToken]).toEqual([1, 2]);
  });

  it('has tokens for frequent pairs', () => {
    const { vocab, merges } = files.tokenizer.model as { vocab: object; merges: string[] };
    expect(vocab).toHaveProperty('Ġwas');
    expect(vocab).toHaveProperty('The');
    // "wa" and " w" both occur seven times; " w" is later in the alphabet.
    expect(merges[0]).toBe('w a');
  });

  it('begins texts with <bos>, and needs fewer tokens than bytes', () => {
    const tokens = tokenizer.encode('The soup was warm.');
    expect(tokens[0]).toBe(1);
    expect(tokens.length).toBeLessThan(10);
    expect(tokenizer.decode(tokens)).toBe('The soup was warm.');
  });

  it('decodes any encoded text to the same text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 300 },
    );
  });

  it('is the same for the same texts, and stops when no pair occurs twice', () => {
    expect(trainTokenizer([...texts], size)).toEqual(files);
    const small = new HuggingFaceTokenizer(trainTokenizer(['ab'], { ...size, vocabularySize: 1000 }));
    expect(small.vocabularySize).toBe(259);
  });

  it('cannot have fewer tokens than bytes', () => {
    expect(() => trainTokenizer(texts, { ...size, vocabularySize: 100 })).toThrow(/Give 259 or more/);
  });
});
