import { stat } from 'node:fs/promises';
import { PmpoError } from '../../core/errors.js';
import { readColumns } from '../rows.js';
import { openJsonLines, parseLine } from './json-lines.js';
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
      what: path.includes('*')
        ? 'transitions are not read from several files'
        : 'there is no such file or folder',
      remedy: 'Give a data set of Minari, a .parquet file, or a .jsonl file',
    });
  if (/\.parquet$/i.test(path)) return openParquet(path);
  if (/\.jsonl?$/i.test(path)) return openJsonLines(path, size);
  if (/\.(?:jsonl?|parquet)\.gz$/i.test(path))
    throw new PmpoError({
      where: path,
      what: 'transitions are not read from compressed files',
      remedy: 'Unpack it with gunzip',
    });
  throw new PmpoError({
    where: path,
    what: info.isDirectory()
      ? 'the folder is not a data set of Minari in HDF5, and transitions are not read from several other files'
      : 'it is not a data set of transitions',
    remedy: 'Give a data set of Minari (its folder, or main_data.hdf5), a .parquet file, or a .jsonl file',
  });
}

/**
 * Whether a data set holds transitions of a simulator: a data set of Minari, or files with their columns. Reads no more of it than that
 * needs. That it holds them does not mean that `openTransitions` reads them.
 * @throws PmpoError if a file cannot be read.
 */
export async function holdsTransitions(path: string): Promise<boolean> {
  return (await minariFile(path)) !== undefined || areTransitionColumns(await readColumns(path, parseLine));
}
