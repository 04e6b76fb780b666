import { type FileHandle, open } from 'node:fs/promises';
import type { FileMetaData } from 'hyparquet';
import { PmpoError } from '../../core/errors.js';
import { bytesOf, parquetMetadata, parquetRows } from '../parquet-library.js';
import { episodeOf, type RowForm, rowForm } from './row-form.js';
import type { DataBlock, RecordedEpisode, TransitionSource } from './source.js';

/** Transitions in Parquet, which is read one row group at a time. */

/** A row group is decoded whole, so that larger ones would need more memory than a constant. */
const mostBytes = 2 ** 30;

interface RowGroup extends DataBlock {
  readonly start: number;
  readonly end: number;
}

const columns = [
  'observation',
  'action',
  'reward',
  'next_observation',
  'terminated',
  'observations',
  'actions',
  'rewards',
];

class ParquetFile {
  constructor(
    readonly file: string,
    readonly handle: FileHandle,
    readonly size: number,
    readonly metadata: FileMetaData,
  ) {}

  /** The rows from `start` to `end`, with those columns alone that a learner reads. */
  async rows(start: number, end: number): Promise<Record<string, unknown>[]> {
    const present = new Set(this.metadata.schema.map(({ name }) => name));
    try {
      return await parquetRows(bytesOf(this.handle, this.size), {
        metadata: this.metadata,
        rowStart: start,
        rowEnd: end,
        columns: columns.filter((name) => present.has(name)),
      });
    } catch (cause) {
      throw new PmpoError({
        where: `${this.file}, rows ${start + 1} to ${end}`,
        what: `they cannot be read: ${(cause as Error).message}`,
        remedy: 'Copy or download it again, or write it anew with pyarrow',
        cause,
      });
    }
  }
}

class ParquetSource implements TransitionSource {
  readonly format;
  readonly observationSpecs;
  readonly actionSpecs;
  readonly singleTransitions;
  readonly notes: readonly string[] = [];

  constructor(
    private readonly file: ParquetFile,
    private readonly form: RowForm,
    readonly blocks: readonly RowGroup[],
  ) {
    this.format = `Parquet, ${form.isEpisode ? 'an episode' : 'a transition'} in each row`;
    this.observationSpecs = form.observations;
    this.actionSpecs = form.actions;
    this.singleTransitions = !form.isEpisode;
  }

  get where(): string {
    return this.file.file;
  }

  async read(block: number): Promise<readonly RecordedEpisode[]> {
    const { start, end } = this.blocks[block]!;
    const rows = await this.file.rows(start, end);
    return rows.map((row, i) => episodeOf(`${this.where}, row ${start + i + 1}`, this.form, plain(row)));
  }

  close(): Promise<void> {
    return this.file.handle.close();
  }
}

/** Typed arrays as lists, which is what JSON has. */
function plain(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const asList = (value: unknown): unknown =>
    ArrayBuffer.isView(value) && !(value instanceof DataView)
      ? Array.from(value as unknown as ArrayLike<unknown>)
      : Array.isArray(value)
        ? value.map(asList)
        : value;
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, asList(value)]));
}

/** Opens a Parquet file. @throws PmpoError naming file and row of what is wrong with it. */
export async function openParquet(path: string): Promise<TransitionSource> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    let metadata: FileMetaData;
    try {
      metadata = await parquetMetadata(bytesOf(handle, size));
    } catch (cause) {
      throw new PmpoError({
        where: path,
        what: `it is not a whole Parquet file: ${(cause as Error).message}`,
        remedy: 'Copy or download it again',
        cause,
      });
    }
    const file = new ParquetFile(path, handle, size, metadata);
    const groups: RowGroup[] = [];
    let form: RowForm | undefined;
    let start = 0;
    for (const [i, group] of metadata.row_groups.entries()) {
      const count = Number(group.num_rows);
      if (Number(group.total_byte_size) > mostBytes) {
        throw new PmpoError({
          where: `${path}, row group ${i}`,
          what: `it has ${group.total_byte_size} bytes, more than ${mostBytes} that are read at once`,
          remedy:
            'Write the file with smaller row groups: pyarrow.parquet.write_table(table, file, row_group_size=10_000)',
        });
      }
      const end = start + count;
      const rows = await file.rows(start, end);
      let transitions = 0;
      for (const [offset, row] of rows.entries()) {
        const where = `${path}, row ${start + offset + 1}`;
        const values = plain(row);
        form ??= rowForm(where, values);
        transitions += episodeOf(where, form, values).length;
      }
      if (count > 0) groups.push({ start, end, transitions, episodes: count });
      start = end;
    }
    if (form === undefined)
      throw new PmpoError({
        where: path,
        what: 'the file has no rows',
        remedy: 'Give a file with a transition or an episode in each row',
      });
    return new ParquetSource(file, form, groups);
  } catch (error) {
    await handle.close();
    throw error;
  }
}
