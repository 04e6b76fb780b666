import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPreferences } from './preferences.js';
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

const said = (content: string) => [{ role: 'assistant', content }];
const placed = (row: object) => ({ row: row as Record<string, unknown>, where: 'f.jsonl:3' });

describe('readRows', () => {
  it('reads JSON Lines, skips blank lines, and gives the place of each row', async () => {
    const read = await rows('{"prompt": "ä 😀"}', '', '{"prompt": "b"}\r');
    expect(read.map(({ row }) => row)).toEqual([{ prompt: 'ä 😀' }, { prompt: 'b' }]);
    expect(read[1]!.where).toMatch(/rows\.jsonl:3$/);
  });

  it.each([
    [['{"a": 1}', '{"a": '], /rows\.jsonl:2: the line is not JSON\. Each line must be one JSON object/],
    [['1'], /rows\.jsonl:1: the line is not a JSON object/],
    [['[1]'], /rows\.jsonl, row 1: the element is not a JSON object/],
    [[''], /rows\.jsonl: the file has no rows/],
  ])('%j is an error', async (lines, message) => {
    await expect(rows(...lines)).rejects.toThrow(message);
  });

  it('names a missing file, and a file that is not Parquet', async () => {
    await expect(readRows(join(folder, 'none.jsonl'))).rejects.toThrow(/none\.jsonl: there is no such file/);
    const file = join(folder, 'text.parquet');
    await writeFile(file, 'hello, this is not a parquet file at all');
    await expect(readRows(file)).rejects.toThrow(/text\.parquet: it cannot be read: .*parquet/);
  });
});

// Written by test/references/datasets_pyarrow.py.
describe('a Parquet file written by pyarrow', () => {
  const read = (name: string) =>
    readRows(fileURLToPath(new URL(`../../test/references/${name}.parquet`, import.meta.url)));

  it('gives chats and pairs, across nulls and row groups', async () => {
    const found = await read('pairs');
    expect(found[2]!.where).toMatch(/pairs\.parquet, row 3$/);
    expect(found.map(({ row }) => row.annotator)).toEqual(['a', 'a', 'b']);
    const { contexts } = readPreferences(found, 'pairs.parquet');
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
          { text: 'Streuung.', messages: said('Streuung.'), evaluation: 1 },
          { text: 'Weil er es ist.', messages: said('Weil er es ist.'), evaluation: -1 },
        ],
      ],
      ['1 + 1?', [{ role: 'user', content: '1 + 1?' }], [{ text: '2', messages: said('2'), evaluation: 1 }]],
      [
        'Who wrote Faust?',
        [{ role: 'user', content: 'Who wrote Faust?' }],
        [{ text: 'Me.', messages: said('Me.'), evaluation: -1 }],
      ],
    ]);
  });

  it('gives the same texts, labels and 64-bit integers as JSON', async () => {
    const found = await read('labels');
    expect(found.map(({ row }) => row)).toEqual([
      { prompt: 'Say hello.', completion: 'Hello!', label: true, score: null, length: 6 },
      { prompt: 'Say hello.', completion: 'No.', label: false, score: null, length: 3 },
      { prompt: 'Say bye.', completion: 'Bye!', label: null, score: 3, length: 4 },
      { prompt: 'Say bye.', completion: 'Hm.', label: null, score: -(2 ** 40), length: 3 },
    ]);
    const evaluations = (prefer: 'labels' | 'scores') =>
      readPreferences(found, 'labels.parquet', { prefer }).contexts.map(({ completions }) =>
        completions.map((c) => c.evaluation),
      );
    expect(evaluations('labels')).toEqual([[1, -1]]);
    expect(evaluations('scores')).toEqual([[3, -(2 ** 40)]]);
    expect(promptOf(found[2]!, 'prompt')).toMatchObject({ text: 'Say bye.' });
  });
});

describe('promptOf', () => {
  it('reads a text, or the last user message of a chat', () => {
    expect(promptOf(placed({ prompt: 'Hi' }), 'prompt')).toMatchObject({ text: 'Hi' });
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Bye' },
    ];
    expect(promptOf(placed({ q: messages }), 'q')).toMatchObject({ text: 'Bye', messages });
  });

  it.each([
    [{ text: 'Hi' }, /f\.jsonl:3: the row has no 'prompt'\. It has text/],
    [{ prompt: 5 }, /f\.jsonl:3: 'prompt' is neither text nor a chat: 5/],
    [{ prompt: [{ role: 'robot', content: 'x' }] }, /unknown role 'robot'/],
  ])('%j is an error', (row, message) => {
    expect(() => promptOf(placed(row), 'prompt')).toThrow(message);
  });
});
