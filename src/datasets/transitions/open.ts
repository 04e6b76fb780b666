import { stat } from 'node:fs/promises';
import { PmpoError } from '../../core/errors.js';
import { readFirstRow } from '../rows.js';
import { openJsonLines } from './json-lines.js';
import { minariFile, openMinari } from './minari.js';
import { openParquet } from './parquet.js';
import { areTransitionColumns } from './row-form.js';
import { type BlockSize, defaultBlockSize, type TransitionSource } from './source.js';

/**
 * Opens a data set of transitions: one of Minari (its folder, or its HDF5 file), a Parquet file, or a file of JSON Lines.
 * @throws PmpoError if there is none, or it is damaged; with file and row of what cannot be learned from.
 */
export async function openTransitions(
  path: string,
  size: BlockSize = defaultBlockSize,
): Promise<TransitionSource> {
  const minari = await minariFile(path);
  if (minari !== undefined) return openMinari(minari, size);
  const info = await stat(path).catch(() => undefined);
  if (info === undefined)
    throw new PmpoError({
      where: path,
      what: 'there is no such file or folder',
      remedy: 'Give a data set of Minari, a .parquet file, or a .jsonl file',
    });
  if (/\.parquet$/i.test(path)) return openParquet(path);
  if (/\.jsonl?$/i.test(path)) return openJsonLines(path, size);
  throw new PmpoError({
    where: path,
    what: info.isDirectory()
      ? 'the folder is not a data set of Minari in HDF5'
      : 'it is not a data set of transitions',
    remedy: 'Give a data set of Minari (its folder, or main_data.hdf5), a .parquet file, or a .jsonl file',
  });
}

/**
 * Whether a data set holds transitions of a simulator: a data set of Minari, or a file whose first row has their columns. Reads no
 * more of it than that.
 * @throws PmpoError if the file cannot be read.
 */
export async function holdsTransitions(path: string): Promise<boolean> {
  if ((await minariFile(path)) !== undefined) return true;
  const { row } = await readFirstRow(path);
  return areTransitionColumns(new Set(Object.keys(row)));
}
