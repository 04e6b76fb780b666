import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { splitPair, textCut } from './pairs.js';

// Written by test/references/datasets_trl.py.
const pairs = JSON.parse(
  readFileSync(new URL('../../test/references/trl-pairs.json', import.meta.url), 'utf8'),
) as readonly {
  readonly chosen: unknown;
  readonly rejected: unknown;
  readonly expected: { readonly prompt: unknown; readonly chosen: unknown; readonly rejected: unknown };
}[];

describe('splitPair', () => {
  it.each(pairs)("splits as TRL's extract_prompt: $expected.prompt", ({ chosen, rejected, expected }) => {
    const split = splitPair({ chosen, rejected });
    expect({
      prompt: split.prompt.messages ?? split.prompt.text,
      chosen: split.chosen!.messages ?? split.chosen!.text,
      rejected: split.rejected!.messages ?? split.rejected!.text,
    }).toEqual(expected);
  });

  it('takes the prompt out of whole conversations beside a text prompt', () => {
    const chosen = [
      { role: 'user', content: 'What is 2 + 2?' },
      { role: 'assistant', content: 'four' },
    ];
    expect(splitPair({ prompt: { text: 'What is 2 + 2?' }, chosen, rejected: null })).toEqual({
      prompt: { text: 'What is 2 + 2?', messages: chosen.slice(0, 1) },
      chosen: { text: 'four', messages: chosen.slice(1) },
    });
  });

  it('drops the prompt that a side repeats', () => {
    const messages = [{ role: 'user' as const, content: 'Hi' }];
    const answer = { role: 'assistant' as const, content: 'Hello' };
    const { chosen } = splitPair({
      prompt: { text: 'Hi', messages },
      chosen: [...messages, answer],
      rejected: null,
    });
    expect(chosen!.messages).toEqual([answer]);
  });
});

describe('a pair that cannot be read is described with its own columns:', () => {
  const names = { chosen: 'good', rejected: 'bad' };
  const user = { role: 'user', content: 'a' };
  const assistant = { role: 'assistant', content: 'b' };
  it.each([
    [{ chosen: null, rejected: null }, "there is neither 'good' nor 'bad'"],
    [{ chosen: 'same', rejected: 'same' }, "'good' and 'bad' are the same"],
    [{ prompt: { text: 'p' }, chosen: 'same', rejected: 'same' }, "'good' and 'bad' are the same"],
    [{ chosen: [user, assistant], rejected: [user, assistant] }, "'good' and 'bad' are the same"],
    [{ chosen: 'a', rejected: 'b' }, "'good' and 'bad' have no common beginning"],
    [{ chosen: 'a', rejected: null }, "only one of 'good' and 'bad'"],
    [{ chosen: [user, assistant], rejected: 'b' }, "one of 'good' and 'bad' is a chat"],
    [{ chosen: [assistant], rejected: null }, "before the answers in 'good' and 'bad'"],
  ])('%j', (cells, message) => {
    expect(() => splitPair({ ...cells, names })).toThrow(message);
  });
});

describe('textCut', () => {
  it('never cuts a character in two', () => {
    const [a, b] = ['x🌤', 'x🌧'];
    expect(a.slice(0, textCut(a, b))).toBe('x');
  });

  it('ends the prompt of a dialogue before answers that begin alike', () => {
    const turn = '\n\nHuman: Hi\n\nAssistant:';
    expect(textCut(`${turn} I can.`, `${turn} I cannot.`)).toBe(turn.length);
  });
});
