import { describe, expect, it } from 'vitest';
import { ConfigError, PmpoError } from './errors.js';
import { foreignText, nameList, quotedName } from './foreign-text.js';

describe('text from others', () => {
  it('keeps letters, accents and emoji', () => {
    expect(foreignText('größer ✓ 日本 🙂')).toBe('größer ✓ 日本 🙂');
  });

  it.each([
    ['an escape sequence', 'a\x1b[2Jb', 'a\\x1b[2Jb'],
    ['several lines', 'a\r\nb\tc', 'a\\r\\nb\\tc'],
    ['line separators of Unicode', 'a\u2028b\u0085c', 'a\\u{2028}b\\x85c'],
    ['text that runs backwards', 'a\u202ebc', 'a\\u{202e}bc'],
    ['half a character', 'a\ud83db', 'a\\u{d83d}b'],
  ])('shows %s in one line', (_what, text, shown) => {
    expect(foreignText(text)).toBe(shown);
  });

  it('is cut, also within a character of two halves', () => {
    expect(foreignText('🙂'.repeat(1000), 5)).toBe('🙂🙂… (2,000 characters)');
    expect(quotedName('n'.repeat(4_000_000)).length).toBeLessThan(120);
    const names = Array.from({ length: 1000 }, (_, i) => `o${i}`);
    expect(nameList(names)).toMatch(/^o0, o1, .*, o29, … \(1,000 in all\)$/);
    expect(nameList([])).toBe('none');
  });
});

describe('an error message', () => {
  it('is one line without control characters, whatever its parts hold', () => {
    const error = new PmpoError({ where: 'a\x1b[31m', what: 'b\nc', remedy: `d\r${'A'.repeat(100_000)}` });
    expect(error.message).toMatch(/^a\\x1b\[31m: b\\nc\. d\\rA+… \(100,002 characters\)$/);
    expect(error.message.length).toBeLessThan(3200);
    expect(error.details.what).toBe('b\\nc');
  });

  it('about a configuration has a line for each problem', () => {
    expect(new ConfigError({ what: 'a\x07\nb' }).message).toBe('a\\x07\nb');
  });
});
