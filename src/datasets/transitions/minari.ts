import { open, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PmpoError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import type { ObservationPart } from '../../environments/observation-layout.js';
import { checkEpisode, numbersOf } from './checks.js';
import {
  type BlockSize,
  type DataBlock,
  type RecordedEpisode,
  sizeOf,
  type TransitionSource,
} from './source.js';
import { parseWithInfinity, type SpaceLeaf, spaceLeaves } from './spaces.js';

/**
 * Data sets of Minari (Farama Foundation) in HDF5: `main_data.hdf5` has a group for each episode, with T + 1 observations and T actions,
 * rewards, terminations and truncations; `metadata.json` beside it describes the spaces. Episodes are read one by one, never the whole
 * file.
 */

type Hdf5 = typeof import('h5wasm/node');
type Hdf5File = InstanceType<Hdf5['default']['File']>;

/** The key of the metadata under which `pmpo record` writes the parts of its vectors. */
export const vectorPartsKey = 'pmpo_observation_parts';

/** The key of the metadata under which `pmpo record` writes the settings of the simulator. */
export const recordedEnvironmentKey = 'pmpo_environment';

/** HDF5 for Node, which reads and writes files in place. */
export async function hdf5(): Promise<Hdf5['default']> {
  const { default: library } = await import('h5wasm/node');
  const module = await library.ready;
  // Failures become errors in place of a report on stderr.
  module.activate_throwing_error_handler();
  return library;
}

const signature = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];

/** @throws PmpoError unless the file is HDF5 and as long as its first block says. */
async function checkWhole(file: string): Promise<void> {
  const handle = await open(file, 'r').catch((cause: NodeJS.ErrnoException) => {
    const what = cause.code === 'ENOENT' ? 'there is no such file' : `it cannot be read: ${cause.message}`;
    throw new PmpoError({ where: file, what, remedy: 'Give a file that can be read', cause });
  });
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(64);
    await handle.read(head, 0, head.length, 0);
    if (!signature.every((byte, i) => head[i] === byte)) {
      throw new PmpoError({
        where: file,
        what: size === 0 ? 'the file is empty' : 'it is not an HDF5 file',
        remedy: 'Give a data set of Minari: its folder, or its main_data.hdf5',
      });
    }
    // The end of the file lies at byte 40 in the older form of the superblock, and at 28 in the newer ones.
    const end = Number(head.readBigUInt64LE(head[8]! < 2 ? 40 : 28));
    if (size < end) {
      throw new PmpoError({
        where: file,
        what: `it is truncated: it has ${size} bytes of ${end}`,
        remedy: 'Copy or download it again',
      });
    }
  } finally {
    await handle.close();
  }
}

/** The data file of a path: itself, or that of a data set's folder. */
export async function minariFile(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return undefined;
  if (info.isFile()) return /\.(?:hdf5|h5)$/i.test(path) ? path : undefined;
  for (const inner of ['data/main_data.hdf5', 'main_data.hdf5']) {
    const file = join(path, inner);
    if ((await stat(file).catch(() => undefined))?.isFile()) return file;
  }
  return undefined;
}

/** The metadata of a data set: from `metadata.json` beside the data, or, in old data sets, from the attributes of the file. */
async function metadataOf(file: string, opened: Hdf5File): Promise<Readonly<Record<string, unknown>>> {
  const beside = join(dirname(file), 'metadata.json');
  const text = await readFile(beside, 'utf8').catch(() => undefined);
  if (text === undefined) {
    return Object.fromEntries(Object.entries(opened.attrs).map(([name, { value }]) => [name, value]));
  }
  try {
    const parsed = parseWithInfinity(text);
    if (isGroup(parsed)) return parsed;
  } catch {}
  throw new PmpoError({
    where: beside,
    what: 'it is not a JSON object',
    remedy: 'Copy or download it again',
  });
}

/** An entry of a file that has values. */
type Values = Extract<ReturnType<Hdf5File['get']>, { readonly value: unknown; readonly shape: unknown }>;

const hasValues = (entry: ReturnType<Hdf5File['get']>): entry is Values =>
  entry !== null && typeof entry === 'object' && 'shape' in entry && 'slice' in entry;

/** The parts of a vector, which `pmpo record` writes. @throws PmpoError if they are not those of the observation. */
function vectorPartsOf(
  where: string,
  metadata: Readonly<Record<string, unknown>>,
  observations: readonly SpaceLeaf[],
): readonly ObservationPart[] | undefined {
  const parts = metadata[vectorPartsKey];
  if (parts === undefined) return undefined;
  const size = observations.reduce((sum, { spec }) => sum + sizeOf(spec), 0);
  const isCount = (n: unknown) => Number.isInteger(n) && Number(n) >= 0;
  const isPart = (part: unknown): part is ObservationPart =>
    isGroup(part) &&
    typeof part.name === 'string' &&
    Array.isArray(part.shape) &&
    part.shape.every(isCount) &&
    isCount(part.size) &&
    typeof part.divisor === 'number';
  if (
    observations.length === 1 &&
    Array.isArray(parts) &&
    parts.every(isPart) &&
    parts.reduce((sum, part) => sum + part.size, 0) === size
  )
    return parts;
  throw new PmpoError({
    where,
    what: `the ${vectorPartsKey} of its metadata do not make up its observation of ${size} numbers`,
    remedy: 'Record the data set again, or remove this key',
  });
}

/** Reads from the file. @throws PmpoError with the place of what HDF5 cannot read. */
function readable<T>(where: string, path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new PmpoError({
      where,
      what: `'${path}' cannot be read: ${(cause as Error).message.split('\n')[0]}`,
      remedy:
        'Copy or download the file again; if it is whole, write its values anew as float32, float64 or integers',
      cause,
    });
  }
}

class MinariSource implements TransitionSource {
  readonly format = 'Minari, HDF5';
  readonly observationSpecs;
  readonly actionSpecs;
  readonly vectorParts: readonly ObservationPart[] | undefined;
  readonly recordedIn: unknown;
  readonly notes: readonly string[] = [];
  readonly blocks: readonly DataBlock[];
  /** The numbers of the episodes in each block. */
  readonly #episodes: readonly (readonly number[])[];

  constructor(
    readonly where: string,
    private readonly file: Hdf5File,
    private readonly observations: readonly SpaceLeaf[],
    private readonly actions: readonly SpaceLeaf[],
    metadata: Readonly<Record<string, unknown>>,
    { transitions: most }: BlockSize,
  ) {
    const specs = (leaves: readonly SpaceLeaf[]) =>
      Object.fromEntries(leaves.map(({ spec }) => [spec.name, spec]));
    this.observationSpecs = specs(observations);
    this.actionSpecs = specs(actions);
    this.vectorParts = vectorPartsOf(where, metadata, observations);
    this.recordedIn = metadata[recordedEnvironmentKey];
    const groups: number[][] = [];
    const blocks: DataBlock[] = [];
    let open: number[] = [];
    let count = 0;
    const close = () => {
      if (open.length === 0) return;
      groups.push(open);
      blocks.push({ transitions: count, episodes: open.length });
      [open, count] = [[], 0];
    };
    for (const episode of this.#numbers(metadata)) {
      open.push(episode);
      count += this.#values(episode, 'rewards').shape?.[0] ?? 0;
      if (count >= most) close();
    }
    close();
    this.#episodes = groups;
    this.blocks = blocks;
  }

  #numbers({ total_episodes: total }: Readonly<Record<string, unknown>>): number[] {
    const numbers = this.file
      .keys()
      .flatMap((name) => {
        const number = /^episode_(\d+)$/.exec(name)?.[1];
        return number === undefined ? [] : [Number(number)];
      })
      .sort((a, b) => a - b);
    if (numbers.length === 0) {
      throw new PmpoError({
        where: this.where,
        what: 'it has no episodes',
        remedy: 'A data set of Minari has groups episode_0, episode_1, …',
      });
    }
    if (total !== undefined && Number(total) !== numbers.length) {
      throw new PmpoError({
        where: this.where,
        what: `it has ${numbers.length} episodes, and its metadata says ${String(total)}`,
        remedy: 'Copy or download it again',
      });
    }
    return numbers;
  }

  #values(episode: number, path: string): Values {
    const where = `${this.where}, episode_${episode}`;
    const entry = readable(where, path, () => this.file.get(`episode_${episode}/${path}`));
    if (hasValues(entry)) return entry;
    throw new PmpoError({
      where,
      what: `'${path}' is missing`,
      remedy: 'An episode of Minari has observations, actions, rewards, terminations and truncations',
    });
  }

  #read(episode: number, path: string, rows: number, size: number): ArrayLike<number | bigint> {
    const where = `${this.where}, episode_${episode}`;
    const values = this.#values(episode, path);
    const shape = values.shape ?? [];
    const found = shape.slice(1).reduce((a, b) => a * b, 1);
    if (shape[0] !== rows || found !== size) {
      throw new PmpoError({
        where,
        what: `'${path}' has the shape [${shape}], and [${rows}, …] with ${size} number${size === 1 ? '' : 's'} in each step is right`,
        remedy:
          'An episode of T steps has T + 1 observations, and T actions, rewards, terminations and truncations',
      });
    }
    return numbersOf(
      where,
      path,
      readable(where, path, () => values.value),
    );
  }

  async read(block: number): Promise<readonly RecordedEpisode[]> {
    return this.#episodes[block]!.map((episode) => this.#episode(episode));
  }

  #episode(episode: number): RecordedEpisode {
    const where = `${this.where}, episode_${episode}`;
    const length = this.#values(episode, 'rewards').shape?.[0] ?? 0;
    const columns = (group: string, leaves: readonly SpaceLeaf[], rows: number) =>
      Object.fromEntries(
        leaves.map(({ spec, path }) => [
          spec.name,
          this.#read(episode, path === '' ? group : `${group}/${path}`, rows, sizeOf(spec)),
        ]),
      );
    const column = (path: string) => this.#read(episode, path, length, 1);
    return checkEpisode({
      where,
      length,
      observations: columns('observations', this.observations, length + 1),
      actions: columns('actions', this.actions, length),
      rewards: column('rewards'),
      terminations: column('terminations'),
      truncations: column('truncations'),
    });
  }

  async close(): Promise<void> {
    this.file.close();
  }
}

/** Opens a data set of Minari. @param file its main_data.hdf5. @throws PmpoError if it is damaged, or has spaces that cannot be read. */
export async function openMinari(file: string, size: BlockSize): Promise<TransitionSource> {
  await checkWhole(file);
  const { File } = await hdf5();
  let opened: Hdf5File;
  try {
    opened = new File(file, 'r');
  } catch (cause) {
    throw damaged(file, cause);
  }
  try {
    const metadata = await metadataOf(file, opened);
    const space = (key: string, root: string) => {
      if (metadata[key] === undefined) {
        throw new PmpoError({
          where: file,
          what: `the metadata of the data set has no ${key}`,
          remedy: `Keep metadata.json beside ${basename(file)}, as Minari writes it`,
        });
      }
      return spaceLeaves(`${file}, ${key}`, root, metadata[key]);
    };
    return new MinariSource(
      file,
      opened,
      space('observation_space', 'observation'),
      space('action_space', 'action'),
      metadata,
      size,
    );
  } catch (cause) {
    opened.close();
    throw cause instanceof PmpoError ? cause : damaged(file, cause);
  }
}

function damaged(file: string, cause: unknown): PmpoError {
  const what = `it is damaged: ${(cause as Error).message.split('\n')[0]}`;
  return new PmpoError({ where: file, what, remedy: 'Copy or download it again', cause });
}
