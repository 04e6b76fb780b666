import type { FileHandle } from 'node:fs/promises';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';

/** hyparquet, which is loaded when a Parquet file is read: most programs read none. */

/** The bytes of an open file, as hyparquet reads them. */
export function bytesOf(handle: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    slice: async (start: number, end = byteLength) => {
      const bytes = new Uint8Array(end - start);
      await handle.read(bytes, 0, bytes.length, start);
      return bytes.buffer;
    },
  };
}

/** What a Parquet file says of itself. @throws an error if it is damaged. */
export async function parquetMetadata(file: AsyncBuffer): Promise<FileMetaData> {
  const { parquetMetadataAsync } = await import('hyparquet');
  return parquetMetadataAsync(file);
}

/** The names of a file's columns. @throws an error if it is damaged. */
export async function parquetColumns(file: AsyncBuffer): Promise<string[]> {
  const { parquetSchema } = await import('hyparquet');
  return parquetSchema(await parquetMetadata(file)).children.map(({ element }) => element.name);
}

/** Which rows and columns of a file are read; by default all of them. */
export interface ParquetPart {
  readonly metadata?: FileMetaData;
  readonly rowStart?: number;
  readonly rowEnd?: number;
  readonly columns?: string[];
}

/** The rows of a Parquet file. @throws an error if it is damaged. */
export async function parquetRows(
  file: AsyncBuffer,
  part: ParquetPart = {},
): Promise<Record<string, unknown>[]> {
  const [{ parquetReadObjects }, { compressors }] = await Promise.all([
    import('hyparquet'),
    import('hyparquet-compressors'),
  ]);
  // Without the empty pages of columns of nulls, which the decompressor of LZ4 takes for damaged ones.
  const ofPages = Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, length: number) => (length === 0 ? new Uint8Array(0) : decompress(input, length)),
  ]);
  return parquetReadObjects({ ...part, file, compressors: Object.fromEntries(ofPages) });
}
