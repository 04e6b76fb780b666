import { describe, expect, it } from 'vitest';
import { checkPattern, verdictIn, withoutThoughts } from './answers.js';

const words = { first: 'A', second: 'B', tie: 'TIE' };

describe('verdictIn', () => {
  it.each<[string, 'first' | 'second' | 'tie' | undefined]>([
    ['A', 'first'],
    ['B.', 'second'],
    ['tie', 'tie'],
    ['a', 'first'],
    ['**b**', 'second'],
    ['(A)', 'first'],
    ['[[B]]', 'second'],
    ['A tie.', 'tie'],
    ['Both A and B are fine. Verdict: A', 'first'],
    ['A is short.\n\n**Final verdict:** B', 'second'],
    ['My verdict is B.', 'second'],
    ['The winner is TIE', 'tie'],
    ['A is kind, B is not: [[A]]', 'first'],
    ['I thought of [[A]] first, but [[B]]', 'second'],
    // Words inside sentences are no verdicts.
    ['B is worse than A.', undefined],
    ['B is worse.', undefined],
    ['A careful look shows that B is better', undefined],
    ['The better one is B.', undefined],
    ['The worse answer: A', undefined],
    ['TIE: both are fine, A as well as B', undefined],
    ['Verdict: A or B', undefined],
    ['[[C]]', undefined],
    ['Apples and Bananas', undefined],
    ['', undefined],
  ])('of %j is %s', (answer, expected) => {
    expect(verdictIn(answer, words)).toBe(expected);
  });

  it('is what the last match of a pattern says', () => {
    const pattern = String.raw`better:\s*(\w+)`;
    expect(verdictIn('Better: A. No, better: b. A is short', { ...words, pattern })).toBe('second');
    expect(verdictIn('Better: neither', { ...words, pattern })).toBeUndefined();
    expect(verdictIn('A', { ...words, pattern })).toBe('first');
  });

  it('takes other words, and their case where it alone tells them apart', () => {
    expect(verdictIn('Response 1', { first: 'Response 1', second: 'Response 2', tie: 'equal' })).toBe(
      'first',
    );
    expect(verdictIn('b', { first: 'B', second: 'b', tie: 't' })).toBe('second');
  });
});

describe('withoutThoughts', () => {
  it.each([
    ['<think>A is x, B is y</think>A', 'A'],
    ['<Think>\nA?\n</THINK>\n\nB', 'B'],
    ['A, or B? </think> B', 'B'],
    ['<think>A</think> Hm. <think>B</think> A', 'A'],
    ['<thinking>B</thinking>A', 'A'],
    ['<think>A is better, so', ''],
    ['A', 'A'],
  ])('of %j is %j', (answer, expected) => {
    expect(withoutThoughts(answer)).toBe(expected);
  });
});

it('checkPattern wants one group', () => {
  expect(() => checkPattern('(\\w+)', 'p', 'x')).not.toThrow();
  expect(() => checkPattern('A|B', 'p', 'Verdict: (A)')).toThrow(
    'p: it has 0 groups. It must have one, as in Verdict: (A)',
  );
  expect(() => checkPattern('(', 'p', 'x')).toThrow(/p: it is not a regular expression/);
});
