import { type FileHandle, open } from 'node:fs/promises';
import { PmpoError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import { episodeOf, type RowForm, rowForm } from './row-form.js';
import type { BlockSize, DataBlock, RecordedEpisode, TransitionSource } from './source.js';

/** Transitions in JSON Lines. All lines are read and checked once when the file is opened; later, a block of them at a time is read again. */

/** Lines of a file that are read at once. */
interface LineBlock extends DataBlock {
  readonly start: number;
  readonly end: number;
  /** The number of its first line, from 1. */
  readonly line: number;
}

const pieceBytes = 2 ** 20;
/** A block ends after so many bytes of text, too. */
const blockBytes = 2 ** 25;

/** The lines of a part of a file with their ends in it, one piece of the file in memory at a time. */
async function* linesOf(
  file: string,
  handle: FileHandle,
  start: number,
  end: number,
): AsyncGenerator<{ readonly text: string; readonly end: number }> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes: Uint8Array) => {
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      throw new PmpoError({ where: file, what: 'its text is not UTF-8', remedy: 'Save it as UTF-8', cause });
    }
  };
  let open: Buffer[] = [];
  for (let at = start; at < end; ) {
    const piece = Buffer.alloc(Math.min(pieceBytes, end - at));
    const { bytesRead } = await handle.read(piece, 0, piece.length, at);
    if (bytesRead === 0) break;
    let from = 0;
    for (let next = piece.indexOf(10); next >= 0 && next < bytesRead; next = piece.indexOf(10, from)) {
      open.push(piece.subarray(from, next));
      yield { text: decode(Buffer.concat(open)), end: at + next + 1 };
      open = [];
      from = next + 1;
    }
    open.push(piece.subarray(from, bytesRead));
    at += bytesRead;
  }
  const rest = Buffer.concat(open);
  if (rest.length > 0) yield { text: decode(rest), end };
}

/**
 * The value of a line. Python writes NaN, which is not JSON: it becomes a text, which is refused later with the name of its column.
 * @throws SyntaxError if it is not JSON.
 */
export function parseLine(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const quoted = text.replaceAll(/(?<=[[,:\s])-?(?:NaN|Infinity)(?=[\],}\s])/g, '"$&"');
    if (quoted === text) throw cause;
    return JSON.parse(quoted);
  }
}

function rowOf(where: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseLine(text);
  } catch (cause) {
    const isArray = text.trimStart().startsWith('[');
    throw new PmpoError({
      where,
      what: isArray ? 'the file is an array of JSON' : 'the line is not JSON',
      remedy: isArray
        ? 'Write one JSON object on each line, as JSON Lines'
        : 'Each line must be one JSON object; a file that was cut off ends in the middle of one',
      cause,
    });
  }
  if (isGroup(value)) return value;
  throw new PmpoError({
    where,
    what: Array.isArray(value) ? 'the line is an array of JSON' : 'the line is not a JSON object',
    remedy: 'Each line must be one JSON object, as in JSON Lines',
  });
}

class JsonLinesSource implements TransitionSource {
  readonly format;
  readonly observationSpecs;
  readonly actionSpecs;
  readonly singleTransitions;
  readonly notes: readonly string[] = [];

  constructor(
    readonly where: string,
    private readonly handle: FileHandle,
    private readonly form: RowForm,
    readonly blocks: readonly LineBlock[],
  ) {
    this.format = `JSON Lines, ${form.isEpisode ? 'an episode' : 'a transition'} in each`;
    this.observationSpecs = form.observations;
    this.actionSpecs = form.actions;
    this.singleTransitions = !form.isEpisode;
  }

  async read(block: number): Promise<readonly RecordedEpisode[]> {
    const { start, end, line } = this.blocks[block]!;
    const episodes: RecordedEpisode[] = [];
    let number = line;
    for await (const { text } of linesOf(this.where, this.handle, start, end)) {
      const where = `${this.where}:${number++}`;
      if (text.trim() !== '') episodes.push(episodeOf(where, this.form, rowOf(where, text)));
    }
    return episodes;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** Opens a file of JSON Lines. @throws PmpoError naming file and line of what is wrong with it. */
export async function openJsonLines(
  file: string,
  { transitions: most }: BlockSize,
): Promise<TransitionSource> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const blocks: LineBlock[] = [];
    let form: RowForm | undefined;
    let number = 0;
    let block = { start: 0, line: 1, transitions: 0, episodes: 0 };
    let position = 0;
    const close = () => {
      if (block.episodes > 0) blocks.push({ ...block, end: position });
      block = { start: position, line: number + 1, transitions: 0, episodes: 0 };
    };
    for await (const { text, end } of linesOf(file, handle, 0, size)) {
      number += 1;
      position = end;
      if (text.trim() === '') continue;
      const where = `${file}:${number}`;
      const row = rowOf(where, text);
      form ??= rowForm(where, row);
      block.transitions += episodeOf(where, form, row).length;
      block.episodes += 1;
      if (block.transitions >= most || end - block.start >= blockBytes) close();
    }
    close();
    if (form === undefined)
      throw new PmpoError({
        where: file,
        what: 'the file has no rows',
        remedy: 'Give a file with a transition or an episode in each line',
      });
    return new JsonLinesSource(file, handle, form, blocks);
  } catch (error) {
    await handle.close();
    throw error;
  }
}
