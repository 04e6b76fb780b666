import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { parquetReadObjects } from 'hyparquet';
import { PmpoError } from '../core/errors.js';

/** A row of a data file: its columns by name. */
export type Row = Readonly<Record<string, unknown>>;

/** A row and its place, for error messages: `prompts.jsonl:12`. */
export interface PlacedRow {
  readonly row: Row;
  readonly where: string;
}

function fileError(file: string, cause: unknown): PmpoError {
  const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
  const what = missing ? 'there is no such file' : `it cannot be read: ${(cause as Error).message}`;
  return new PmpoError({ where: file, what, cause });
}

async function readJsonLines(file: string): Promise<PlacedRow[]> {
  const rows: PlacedRow[] = [];
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })) {
    number += 1;
    if (line.trim() === '') continue;
    const where = `${file}:${number}`;
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch (cause) {
      throw new PmpoError({
        where,
        what: 'the line is not JSON',
        remedy: 'Each line must be one JSON object',
        cause,
      });
    }
    if (typeof row !== 'object' || row === null || Array.isArray(row)) {
      throw new PmpoError({
        where,
        what: 'the line is not a JSON object',
        remedy: 'For example: {"prompt": "…"}',
      });
    }
    rows.push({ row: row as Row, where });
  }
  return rows;
}

/** Turns 64-bit integers into numbers if that loses nothing, so that a program sees the same values in Parquet as in JSON. */
function asJson(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asJson(inner)]));
}

async function readParquet(file: string): Promise<PlacedRow[]> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const source = {
      byteLength: size,
      slice: async (start: number, end = size) => {
        const bytes = new Uint8Array(end - start);
        await handle.read(bytes, 0, bytes.length, start);
        return bytes.buffer;
      },
    };
    const rows = await parquetReadObjects({ file: source });
    return rows.map((row, i) => ({ row: asJson(row) as Row, where: `${file}, row ${i + 1}` }));
  } finally {
    await handle.close();
  }
}

/**
 * Reads all rows of a JSON Lines file or a Parquet file (`.parquet`).
 * @throws PmpoError if the file cannot be read or is empty, or a line is not a JSON object.
 */
export async function readRows(file: string): Promise<PlacedRow[]> {
  let rows: PlacedRow[];
  try {
    rows = await (file.endsWith('.parquet') ? readParquet(file) : readJsonLines(file));
  } catch (cause) {
    throw cause instanceof PmpoError ? cause : fileError(file, cause);
  }
  if (rows.length === 0) throw new PmpoError({ where: file, what: 'the file has no rows' });
  return rows;
}
