import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isDataFile, readColumns, readRows } from './rows.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-rows-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const reference = (name: string) => fileURLToPath(new URL(`../../test/references/${name}`, import.meta.url));
const a = '{"prompt": "a"}';
const b = '{"prompt": "b"}';

/** Writes a file, and gives the prompts and places of its rows. */
async function read(name: string, content: string | Uint8Array) {
  const file = join(folder, name);
  await mkdir(join(file, '..'), { recursive: true });
  await writeFile(file, content);
  return (await readRows(file)).map(({ row, where }) => [row.prompt, where.slice(folder.length + 1)]);
}

describe('readRows reads', () => {
  it.each<[string, string | Uint8Array, readonly string[]]>([
    ['lines.jsonl', `${a}\n${b}\n`, ['lines.jsonl:1', 'lines.jsonl:2']],
    ['LINES.JSONL', `${a}\r\n\r\n${b}`, ['LINES.JSONL:1', 'LINES.JSONL:3']],
    ['array.json', `\n[${a},\n${b}]`, ['array.json, row 1', 'array.json, row 2']],
    ['array.jsonl', `\n [${a},\n${b}]`, ['array.jsonl, row 1', 'array.jsonl, row 2']],
    ['lines.json', `${a}\n${b}\n`, ['lines.json:1', 'lines.json:2']],
    ['packed.jsonl.gz', gzipSync(`${a}\n${b}\n`), ['packed.jsonl.gz:1', 'packed.jsonl.gz:2']],
    [
      'members.jsonl.gz',
      Buffer.concat([gzipSync(`${a}\n`), gzipSync(`${b}\n`)]),
      ['members.jsonl.gz:1', 'members.jsonl.gz:2'],
    ],
    ['Packed.JSON.GZ', gzipSync(`[${a}, ${b}]`), ['Packed.JSON.GZ, row 1', 'Packed.JSON.GZ, row 2']],
    ['mark.jsonl', `\ufeff${a}\n${b}`, ['mark.jsonl:1', 'mark.jsonl:2']],
    ['mark.json', `\ufeff[${a}, ${b}]`, ['mark.json, row 1', 'mark.json, row 2']],
  ])('%s', async (name, content, places) => {
    expect(await read(name, content)).toEqual([
      ['a', places[0]],
      ['b', places[1]],
    ]);
  });

  it.each(['\u2028', '\u2029', '\u0085', '\u000b'])('a text with %j as one line', async (separator) => {
    const text = `one${separator}two`;
    const line = `{"prompt": ${JSON.stringify(text).replace('\\u000b', '\\u000b')}}`;
    expect(await read('separators.jsonl', `${line}\n${b}\n`)).toEqual([
      [text, 'separators.jsonl:1'],
      ['b', 'separators.jsonl:2'],
    ]);
  });

  it('a line of 32 MB in a time that grows with its length only', async () => {
    const text = 'x'.repeat(32 * 2 ** 20);
    const file = join(folder, 'one-line.jsonl');
    await writeFile(file, `${JSON.stringify({ prompt: text })}\n${b}`);
    const start = performance.now();
    const rows = await readRows(file);
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(rows.map(({ row }) => (row.prompt as string).length)).toEqual([text.length, 1]);
  }, 60_000);

  it('characters that lie across the pieces of a file', async () => {
    const text = '🌤ä'.repeat(40_000);
    const rows = await read('long.jsonl', `{"prompt": "x${text}"}\n{"prompt": "${text}"}`);
    expect(rows.map(([prompt]) => prompt)).toEqual([`x${text}`, text]);
  });

  it.each(['zstd', 'gzip', 'brotli', 'lz4'])('Parquet with %s', async (compression) => {
    const plain = await readRows(reference('pairs.parquet'));
    const packed = await readRows(reference(`pairs-${compression}.parquet`));
    expect(packed.map(({ row }) => row)).toEqual(plain.map(({ row }) => row));
    expect(plain).toHaveLength(3);
  });

  it('Parquet in capital letters', async () => {
    const file = join(folder, 'PAIRS.PARQUET');
    await copyFile(reference('pairs.parquet'), file);
    expect(await readRows(file)).toHaveLength(3);
  });

  it('the shards of a folder in the order of their names, and leaves its other files alone', async () => {
    await read('shards/train-00001-of-00002.jsonl', b);
    await read('shards/train-00000-of-00002.jsonl.gz', gzipSync(a));
    await writeFile(join(folder, 'shards/README.md'), '# Data');
    await writeFile(join(folder, 'shards/.hidden.jsonl'), 'x');
    const rows = await readRows(join(folder, 'shards'));
    expect(rows.map(({ row }) => row.prompt)).toEqual(['a', 'b']);
    expect(rows[1]!.where).toMatch(/shards\/train-00001-of-00002\.jsonl:1$/);
  });

  it('the files that a name with * means', async () => {
    await read('splits/train-0.jsonl', a);
    await read('splits/train-1.jsonl', b);
    await read('splits/test-0.jsonl', b);
    const rows = await readRows(join(folder, 'splits', 'train-*.jsonl'));
    expect(rows.map(({ row }) => row.prompt)).toEqual(['a', 'b']);
  });
});

describe('readRows refuses', () => {
  it.each<[string, string | Uint8Array, RegExp]>([
    ['bad.json', '[{"a": 1}, ', /bad\.json: it is not JSON\. Give an array of objects/],
    ['numbers.json', '[1]', /numbers\.json, row 1: the element is not a JSON object/],
    ['latin.jsonl', Buffer.from('{"prompt": "\xe4"}', 'latin1'), /latin\.jsonl: its text is not UTF-8/],
    ['wide.jsonl', Buffer.from(`\ufeff${a}`, 'utf16le'), /wide\.jsonl: its text is not UTF-8/],
    [
      'cut.jsonl.gz',
      gzipSync(`${a}\n`.repeat(100)).subarray(0, 30),
      /cut\.jsonl\.gz: it cannot be read: unexpected end/,
    ],
    ['not.jsonl.gz', a, /not\.jsonl\.gz: it cannot be read: incorrect header/],
    ['empty.json', '[]', /empty\.json: the file has no rows/],
  ])('%s', async (name, content, message) => {
    await expect(read(name, content)).rejects.toThrow(message);
  });

  it('a missing file', async () => {
    for (const name of ['none.jsonl.gz', 'none.json', 'none-*.jsonl'])
      await expect(readRows(join(folder, name))).rejects.toThrow(/there is no such file|no data file fits/);
  });

  it('a folder without data, and one whose files do not belong together', async () => {
    await mkdir(join(folder, 'bare'));
    await expect(readRows(join(folder, 'bare'))).rejects.toThrow(/bare: the folder has no data files/);
    await read('both/train-0.jsonl', a);
    await read('both/test-0.jsonl', b);
    await expect(readRows(join(folder, 'both'))).rejects.toThrow(
      /both: it has files of several splits: test, train\. Name the files/,
    );
    await read('formats/x.jsonl', a);
    await copyFile(reference('pairs.parquet'), join(folder, 'formats', 'x.parquet'));
    await expect(readRows(join(folder, 'formats'))).rejects.toThrow(
      /files of several formats: JSON, Parquet/,
    );
  });
});

describe('readColumns', () => {
  it.each<[string, string | Uint8Array]>([
    ['columns.jsonl', '\n{"prompt": "a", "label": true}\n'],
    ['columns.json', '[{"prompt": "a", "label": true}, {"other": 1}]'],
    ['columns.jsonl.gz', gzipSync('{"prompt": "a", "label": true}\n')],
    // Rows after the first are not read.
    ['broken-later.jsonl', '{"prompt": "a", "label": true}\n{"prompt'],
  ])('reads those of the first row of %s', async (name, content) => {
    await writeFile(join(folder, name), content);
    expect([...(await readColumns(join(folder, name)))]).toEqual(['prompt', 'label']);
  });

  it('reads those of a Parquet file', async () => {
    const file = reference('pairs-zstd.parquet');
    const [{ row }] = await readRows(file);
    expect(await readColumns(file)).toEqual(new Set(Object.keys(row)));
  });

  it('skips files without rows, and refuses a folder that has no others', async () => {
    const shards = join(folder, 'empty-first');
    await mkdir(shards);
    await writeFile(join(shards, '0.jsonl'), '\n');
    await expect(readColumns(shards)).rejects.toThrow(/empty-first: the file has no rows/);
    await writeFile(join(shards, '1.jsonl'), a);
    expect([...(await readColumns(shards))]).toEqual(['prompt']);
  });

  it('closes a file of which it has read the beginning', async () => {
    const file = join(folder, 'long.jsonl');
    await writeFile(file, `${a}\n`.repeat(200_000));
    const open = async () => (await readdir('/proc/self/fd').catch(() => [])).length;
    await readColumns(file);
    const before = await open();
    for (let i = 0; i < 20; i++) await readColumns(file);
    await expect.poll(open).toBeLessThanOrEqual(before);
  });
});

it('isDataFile knows data files by their endings', () => {
  for (const name of ['a.jsonl', 'a.JSON', 'a.jsonl.gz', 'a.Json.GZ', 'a.PARQUET'])
    expect(isDataFile(name)).toBe(true);
  for (const name of ['host:50051', 'runs/x/model', 'a.csv', 'a.gz', 'jsonl'])
    expect(isDataFile(name)).toBe(false);
});
