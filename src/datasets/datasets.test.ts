import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { preferenceContexts } from './preferences.js';
import { promptOf } from './prompts.js';
import { readRows } from './rows.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-datasets-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function rows(...lines: string[]) {
  const file = join(folder, 'rows.jsonl');
  await writeFile(file, `${lines.join('\n')}\n`);
  return readRows(file);
}

const placed = (row: object) => ({ row: row as Record<string, unknown>, where: 'f.jsonl:3' });

describe('readRows', () => {
  it('reads JSON Lines, blank lines aside, and knows the place of each', async () => {
    const read = await rows('{"prompt": "ä 😀"}', '', '{"prompt": "b"}\r');
    expect(read.map(({ row }) => row)).toEqual([{ prompt: 'ä 😀' }, { prompt: 'b' }]);
    expect(read[1]!.where).toMatch(/rows\.jsonl:3$/);
  });

  it.each([
    [['{"a": 1}', '{"a": '], /rows\.jsonl:2: the line is not JSON\. One JSON object on each line/],
    [['[1]'], /rows\.jsonl:1: the line is no JSON object/],
    [[''], /rows\.jsonl: there are no rows in it/],
  ])('%j is refused', async (lines, message) => {
    await expect(rows(...lines)).rejects.toThrow(message);
  });

  it('names a file that is not there, and one that is no Parquet', async () => {
    await expect(readRows(join(folder, 'none.jsonl'))).rejects.toThrow(/none\.jsonl: there is no such file/);
    const file = join(folder, 'text.parquet');
    await writeFile(file, 'hello, this is no parquet file at all');
    await expect(readRows(file)).rejects.toThrow(/text\.parquet: it cannot be read: .*parquet/);
  });
});

// Written by test/references/datasets_pyarrow.py.
describe('a Parquet file of pyarrow', () => {
  const read = (name: string) =>
    readRows(fileURLToPath(new URL(`../../test/references/${name}.parquet`, import.meta.url)));

  it('has its chats and pairs read, through nulls and row groups', async () => {
    const found = await read('pairs');
    expect(found[2]!.where).toMatch(/pairs\.parquet, row 3$/);
    expect(found.map(({ row }) => row.annotator)).toEqual(['a', 'a', 'b']);
    const contexts = preferenceContexts(found);
    expect(
      contexts.map(({ prompt: { text, messages }, completions }) => [text, messages, completions]),
    ).toEqual([
      [
        'Warum ist der Himmel blau? 🌤',
        [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content: 'Warum ist der Himmel blau? 🌤' },
        ],
        [
          { text: 'Streuung.', evaluation: 1 },
          { text: 'Weil er es ist.', evaluation: -1 },
        ],
      ],
      ['1 + 1?', [{ role: 'user', content: '1 + 1?' }], [{ text: '2', evaluation: 1 }]],
      [
        'Who wrote Faust?',
        [{ role: 'user', content: 'Who wrote Faust?' }],
        [{ text: 'Me.', evaluation: -1 }],
      ],
    ]);
  });

  it('has its texts, labels and numbers of 64 bits read as those of JSON are', async () => {
    const found = await read('labels');
    expect(found.map(({ row }) => row)).toEqual([
      { prompt: 'Say hello.', completion: 'Hello!', label: true, score: null, length: 6 },
      { prompt: 'Say hello.', completion: 'No.', label: false, score: null, length: 3 },
      { prompt: 'Say bye.', completion: 'Bye!', label: null, score: 3, length: 4 },
      { prompt: 'Say bye.', completion: 'Hm.', label: null, score: -(2 ** 40), length: 3 },
    ]);
    expect(preferenceContexts(found).map(({ completions }) => completions.map((c) => c.evaluation))).toEqual([
      [1, -1],
      [3, -(2 ** 40)],
    ]);
    expect(promptOf(found[2]!, 'prompt')).toMatchObject({ text: 'Say bye.' });
  });
});

describe('promptOf', () => {
  it('takes a text, or a chat by its last user message', () => {
    expect(promptOf(placed({ prompt: 'Hi' }), 'prompt')).toMatchObject({ text: 'Hi' });
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Bye' },
    ];
    expect(promptOf(placed({ q: messages }), 'q')).toMatchObject({ text: 'Bye', messages });
  });

  it.each([
    [{ text: 'Hi' }, /f\.jsonl:3: there is no 'prompt'\. The row has text/],
    [{ prompt: 5 }, /f\.jsonl:3: 'prompt' is neither a text nor a chat: 5/],
    [{ prompt: [{ role: 'robot', content: 'x' }] }, /neither a text nor a chat/],
  ])('%j is refused', (row, message) => {
    expect(() => promptOf(placed(row), 'prompt')).toThrow(message);
  });
});

describe('preferenceContexts', () => {
  it('takes pairs, single sides, labels, scores and lists, and puts the same prompt together', () => {
    const contexts = preferenceContexts(
      [
        { prompt: 'a', chosen: 'good', rejected: 'bad' },
        { prompt: 'b', rejected: 'bad' },
        { prompt: 'a', completion: 'fine', label: true },
        { prompt: 'c', completion: 'so', score: 0.25 },
        { prompt: 'c', completions: [{ completion: 'worse', label: -0.5 }] },
        { prompt: 'd', chosen: [{ role: 'assistant', content: 'Yes' }] },
      ].map(placed),
    );
    expect(contexts.map(({ prompt, completions }) => [prompt.text, completions])).toEqual([
      [
        'a',
        [
          { text: 'good', evaluation: 1 },
          { text: 'bad', evaluation: -1 },
          { text: 'fine', evaluation: 1 },
        ],
      ],
      ['b', [{ text: 'bad', evaluation: -1 }]],
      [
        'c',
        [
          { text: 'so', evaluation: 0.25 },
          { text: 'worse', evaluation: -0.5 },
        ],
      ],
      ['d', [{ text: 'Yes', evaluation: 1 }]],
    ]);
  });

  it.each([
    [{ prompt: 'a' }, /the row has prompt, and none of chosen, rejected, completion/],
    [{ prompt: 'a', completion: 'x' }, /a completion has neither a label nor a score/],
    [{ prompt: 'a', completion: 'x', label: 'yes' }, /"yes" is no label/],
    [{ prompt: 'a', chosen: '' }, /'chosen' is empty/],
    [{ prompt: 'a', completion: 7, label: 1 }, /'completion' is no text/],
  ])('%j is refused', (row, message) => {
    expect(() => preferenceContexts([placed(row)])).toThrow(message);
  });
});
