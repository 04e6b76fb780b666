import { createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import type { AsyncBuffer } from 'hyparquet';
import { PmpoError } from '../core/errors.js';
import { bytesOf, parquetColumns, parquetRows } from './parquet-library.js';
import { rowJsonParser } from './python-json.js';

/** A row of a data file: its columns by name. */
export type Row = Readonly<Record<string, unknown>>;

/** A row and its place, for error messages: `prompts.jsonl:12`. */
export interface PlacedRow {
  readonly row: Row;
  readonly where: string;
}

const dataFile = /\.(?:jsonl?(?:\.gz)?|parquet)$/i;

/** Whether a path names a data file by its ending: `.jsonl`, `.json`, `.jsonl.gz`, `.json.gz` or `.parquet`, in any letter case. */
export function isDataFile(path: string): boolean {
  return dataFile.test(path);
}

function fileError(file: string, cause: unknown): PmpoError {
  const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
  const what = missing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`;
  return new PmpoError({ where: file, what, cause });
}

/** The text of a file in pieces, without a byte order mark. @throws PmpoError if it is not UTF-8. */
async function* textOf(file: string): AsyncGenerator<string> {
  const bytes = createReadStream(file);
  const source = /\.gz$/i.test(file) ? bytes.pipe(createGunzip()) : bytes;
  // `pipe` does not pass errors on.
  bytes.on('error', (error) => source.destroy(error));
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (piece?: Uint8Array) => {
    try {
      return decoder.decode(piece, { stream: piece !== undefined });
    } catch (cause) {
      throw new PmpoError({ where: file, what: 'its text is not UTF-8', remedy: 'Save it as UTF-8', cause });
    }
  };
  try {
    for await (const piece of source) yield decode(piece as Uint8Array);
    yield decode();
  } finally {
    // A reader who leaves early closes `source` alone.
    bytes.destroy();
  }
}

/** The lines of a file, which end with a line feed and with nothing else: U+2028 is part of a text. */
async function* linesOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  // The pieces of a line that has not ended, joined once: a line may be as long as the file.
  let open: string[] = [];
  for await (const piece of pieces) {
    const [first, ...others] = piece.split('\n');
    open.push(first!);
    if (others.length === 0) continue;
    yield open.join('');
    open = [others.pop()!];
    yield* others;
  }
  yield open.join('');
}

type ParseJson = (text: string) => unknown;

function parsed(parse: ParseJson, text: string, where: string, what: string, remedy: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new PmpoError({ where, what, remedy, cause });
  }
}

function rowOf(value: unknown, where: string, what: string): PlacedRow {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return { row: value as Row, where };
  throw new PmpoError({
    where,
    what: `the ${what} is not a JSON object`,
    remedy: 'For example: {"prompt": "…"}',
  });
}

async function* jsonLineRows(
  file: string,
  pieces: AsyncIterable<string>,
  parse: ParseJson,
): AsyncGenerator<PlacedRow> {
  let number = 0;
  for await (const line of linesOf(pieces)) {
    number += 1;
    if (line.trim() === '') continue;
    const where = `${file}:${number}`;
    const value = parsed(parse, line, where, 'the line is not JSON', 'Each line must be one JSON object');
    yield rowOf(value, where, 'line');
  }
}

/** Where the text begins: its pieces up to the first that is not blank, and the others, which are not read yet. */
async function beginningOf(
  pieces: AsyncGenerator<string>,
): Promise<{ readonly isArray: boolean; readonly pieces: AsyncIterable<string> }> {
  const read: string[] = [];
  for (;;) {
    const { value, done } = await pieces.next();
    if (done !== true) read.push(value);
    if (done !== true && value.trim() === '') continue;
    const all = async function* () {
      try {
        yield* read;
        yield* pieces;
      } finally {
        // A reader who leaves during the first pieces leaves the others, too.
        await pieces.return(undefined);
      }
    };
    return { isArray: done !== true && value.trimStart().startsWith('['), pieces: all() };
  }
}

/** The rows of a file of JSON or JSON Lines, whatever its name says: an array of objects, or one object on each line. */
async function* jsonRows(file: string, parse: ParseJson): AsyncGenerator<PlacedRow> {
  const { isArray, pieces } = await beginningOf(textOf(file));
  if (!isArray) {
    yield* jsonLineRows(file, pieces, parse);
    return;
  }
  const read: string[] = [];
  for await (const piece of pieces) read.push(piece);
  const remedy = 'Give an array of objects, or one object on each line';
  const values = parsed(parse, read.join(''), file, 'it is not JSON', remedy) as unknown[];
  for (const [i, value] of values.entries()) yield rowOf(value, `${file}, row ${i + 1}`, 'element');
}

/** Turns 64-bit integers into numbers if that loses nothing, so that a program sees the same values in Parquet as in JSON. */
function asJson(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asJson(inner)]));
}

/** What `read` makes of a Parquet file. */
async function fromParquet<T>(file: string, read: (bytes: AsyncBuffer) => Promise<T>): Promise<T> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    return await read(bytesOf(handle, size));
  } finally {
    await handle.close();
  }
}

async function readParquet(file: string): Promise<PlacedRow[]> {
  const rows = await fromParquet(file, parquetRows);
  return rows.map((row, i) => ({ row: asJson(row) as Row, where: `${file}, row ${i + 1}` }));
}

const isParquet = (file: string) => /\.parquet$/i.test(file);

async function readFileRows(file: string, parse: ParseJson): Promise<PlacedRow[]> {
  try {
    if (isParquet(file)) return await readParquet(file);
    const rows: PlacedRow[] = [];
    for await (const row of jsonRows(file, parse)) rows.push(row);
    return rows;
  } catch (cause) {
    throw cause instanceof PmpoError ? cause : fileError(file, cause);
  }
}

/** The columns of a file, of which no more than its beginning is read; undefined if it has no rows. */
async function columnsOfFile(file: string, parse: ParseJson): Promise<string[] | undefined> {
  try {
    if (isParquet(file)) return await fromParquet(file, parquetColumns);
    const rows = jsonRows(file, parse);
    const { value, done } = await rows.next();
    await rows.return(undefined);
    return done === true ? undefined : Object.keys(value.row);
  } catch (cause) {
    throw cause instanceof PmpoError ? cause : fileError(file, cause);
  }
}

const splitName = /(?<![a-z])(train|test|valid|val|dev|eval)(?:ing|ation|uation)?(?![a-z])/i;

/** @throws PmpoError if the shards of a folder do not belong together. */
function checkShards(folder: string, names: readonly string[]): void {
  const only = (kinds: readonly string[], what: string) => {
    const distinct = [...new Set(kinds)];
    if (distinct.length < 2) return;
    throw new PmpoError({
      where: folder,
      what: `it has ${what}: ${distinct.join(', ')}`,
      remedy: 'Name the files that belong together, for example data/train-*.parquet',
    });
  };
  only(
    names.map(
      (name) =>
        splitName
          .exec(name)?.[1]
          .toLowerCase()
          .replace(/^valid$/, 'val') ?? 'others',
    ),
    'files of several splits',
  );
  only(
    names.map((name) => (/\.parquet$/i.test(name) ? 'Parquet' : 'JSON')),
    'files of several formats',
  );
}

/** The files that a path means: itself, the shards of a folder, or the files of a folder that fit a name with `*`; in name order. */
async function filesOf(path: string): Promise<string[]> {
  const pattern = basename(path);
  if (pattern.includes('*')) {
    const folder = dirname(path);
    const escaped = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`));
    const expression = new RegExp(`^${escaped.join('.*')}$`);
    const names = (await readdir(folder)).filter((name) => expression.test(name) && isDataFile(name)).sort();
    if (names.length > 0) return names.map((name) => join(folder, name));
    throw new PmpoError({ where: path, what: 'no data file fits this name' });
  }
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => !name.startsWith('.') && isDataFile(name)).sort();
  if (names.length === 0) {
    throw new PmpoError({
      where: path,
      what: 'the folder has no data files',
      remedy: 'Their names must end in .jsonl, .json, .jsonl.gz, .json.gz or .parquet',
    });
  }
  checkShards(path, names);
  return names.map((name) => join(path, name));
}

async function knownFilesOf(path: string): Promise<string[]> {
  try {
    return await filesOf(path);
  } catch (cause) {
    throw cause instanceof PmpoError ? cause : fileError(path, cause);
  }
}

const noRows = (path: string, files: readonly string[]) =>
  new PmpoError({ where: path, what: files.length > 1 ? 'the files have no rows' : 'the file has no rows' });

/**
 * Reads all rows of a file of JSON Lines or JSON (`.json`: an array or lines; either may be compressed: `.gz`), of a Parquet file, or of
 * the shards in a folder.
 * @param path a file, a folder, or a name with `*`, such as `data/train-*.parquet`.
 * @param templateColumns columns that chat templates are given besides `tools` and its like. In JSON, numbers there keep whether they were
 *   written as floats; Parquet has one type for all numbers of a column.
 * @throws PmpoError if a file cannot be read, or is empty, or a line is not a JSON object.
 */
export async function readRows(path: string, templateColumns: readonly string[] = []): Promise<PlacedRow[]> {
  const parse = rowJsonParser(templateColumns);
  const files = await knownFilesOf(path);
  const rows: PlacedRow[] = [];
  for (const file of files) for (const row of await readFileRows(file, parse)) rows.push(row);
  if (rows.length > 0) return rows;
  throw noRows(path, files);
}

/**
 * The columns of what `readRows` reads: those of the first row in JSON, those of the file in Parquet. Of a file that is not an array of
 * JSON, no more than its beginning is read.
 * @param parse parses the text of a row of JSON.
 * @throws PmpoError as `readRows` does.
 */
export async function readColumns(path: string, parse: ParseJson = rowJsonParser()): Promise<Set<string>> {
  const files = await knownFilesOf(path);
  for (const file of files) {
    const columns = await columnsOfFile(file, parse);
    if (columns !== undefined) return new Set(columns);
  }
  throw noRows(path, files);
}
