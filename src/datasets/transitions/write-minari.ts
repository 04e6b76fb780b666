import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { PmpoError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import type { ObservationPart } from '../../environments/observation-layout.js';
import { hdf5, vectorPartsKey } from './minari.js';
import { parseWithInfinity } from './spaces.js';

/** Writes data sets of Minari in HDF5. Shapes: T steps, O observation size, A action dimensions. */

/** An episode to write. */
export interface WrittenEpisode {
  /** [T + 1, O] */
  readonly observations: Float32Array;
  /** In the environment's units, [T, A]. */
  readonly actions: Float32Array;
  /** [T] */
  readonly rewards: Float64Array;
  readonly terminated: boolean;
  readonly seed?: number;
  /** What played it, for people: kept as an attribute of the episode. */
  readonly policy: string;
}

/** The form of the episodes of a data set. */
export interface WrittenShape {
  readonly observations: readonly ObservationPart[];
  readonly observationSize: number;
  readonly actionMinimum: Float32Array;
  readonly actionMaximum: Float32Array;
  /** The number of values of each action dimension, 0 for a continuous one. */
  readonly actionValues: ArrayLike<number>;
}

/** The action space as Minari writes it. @throws PmpoError for actions of both kinds, which have no space. */
function actionSpace({ actionMinimum, actionMaximum, actionValues }: WrittenShape): object {
  const values = Array.from(actionValues);
  const start = Array.from(actionMinimum);
  if (values.every((count) => count === 0)) {
    return {
      type: 'Box',
      dtype: 'float32',
      shape: [values.length],
      low: start,
      high: Array.from(actionMaximum),
    };
  }
  if (values.some((count) => count === 0)) {
    throw new PmpoError({
      where: 'actions',
      what: 'some of them are whole numbers and others are not, and a data set has one kind',
      remedy: 'Record in a simulator whose actions are all continuous, or all whole numbers',
    });
  }
  if (values.length === 1) return { type: 'Discrete', dtype: 'int64', start: start[0], n: values[0] };
  return { type: 'MultiDiscrete', dtype: 'int64', nvec: values, start };
}

/** The `algorithm_name` of the data sets that `pmpo record` makes. */
export const recorderName = 'pmpo record';

/**
 * Checks that a data set can take the place of a folder.
 * @throws PmpoError if the folder holds anything but a data set of `pmpo record`, which may be made again.
 */
export async function requireReplaceable(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    const what = error.code === 'ENOTDIR' ? 'it is a file' : `it cannot be read: ${error.message}`;
    throw new PmpoError({ where: folder, what, remedy: 'Give another --output', cause: error });
  });
  if (entries.length === 0) return;
  if (entries.length === 1 && entries[0] === 'data') {
    const text = await readFile(join(folder, 'data', 'metadata.json'), 'utf8').catch(() => '');
    try {
      const metadata: unknown = parseWithInfinity(text);
      if (isGroup(metadata) && metadata.algorithm_name === recorderName) return;
    } catch {}
  }
  throw new PmpoError({
    where: folder,
    what: 'the folder holds something else than a data set of pmpo record, which would be lost',
    remedy: 'Give a new folder as --output, or remove this one',
  });
}

/** Writes episodes one by one into the folder of a new data set, which has its name once it is whole. */
export class MinariWriter {
  #episodes = 0;
  #steps = 0;
  #isOpen = true;

  private constructor(
    private readonly folder: string,
    private readonly file: InstanceType<Awaited<ReturnType<typeof hdf5>>['File']>,
    private readonly shape: WrittenShape,
    private readonly space: object,
  ) {}

  /**
   * Begins a data set.
   * @param path its folder, which must be new, empty, or a data set of `pmpo record`.
   * @throws PmpoError for a folder that holds something else, and for actions of both kinds.
   */
  static async create(path: string, shape: WrittenShape): Promise<MinariWriter> {
    const space = actionSpace(shape);
    // Without a slash at its end, so that the unfinished data set lies beside the folder and not in it.
    const folder = resolve(path);
    await requireReplaceable(folder);
    const partial = `${folder}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(join(partial, 'data'), { recursive: true });
    const { File } = await hdf5();
    return new MinariWriter(folder, new File(join(partial, 'data', 'main_data.hdf5'), 'w'), shape, space);
  }

  add({ observations, actions, rewards, terminated, seed, policy }: WrittenEpisode): void {
    const length = rewards.length;
    const { observationSize, actionValues } = this.shape;
    const actionSize = actionValues.length;
    const group = this.file.create_group(`episode_${this.#episodes}`);
    group.create_attribute('id', this.#episodes);
    group.create_attribute('total_steps', length);
    group.create_attribute('policy', policy);
    if (seed !== undefined) group.create_attribute('seed', seed);
    const put = (
      name: string,
      data: Float32Array | Float64Array | BigInt64Array | Uint8Array,
      shape: number[],
    ) => group.create_dataset({ name, data, shape });
    put('observations', observations, [length + 1, observationSize]);
    const isWhole = Array.from(actionValues).some((count) => count > 0);
    const shape = isWhole && actionSize === 1 ? [length] : [length, actionSize];
    put(
      'actions',
      isWhole ? BigInt64Array.from(actions, (value) => BigInt(Math.round(value))) : actions,
      shape,
    );
    put('rewards', rewards, [length]);
    const ends = (isEnd: boolean) => Uint8Array.from({ length }, (_, t) => Number(isEnd && t === length - 1));
    put('terminations', ends(terminated), [length]);
    put('truncations', ends(!terminated), [length]);
    this.#episodes += 1;
    this.#steps += length;
  }

  /**
   * Ends the data set.
   * @param about further metadata, by name.
   */
  async finish(about: Readonly<Record<string, unknown>>): Promise<void> {
    this.#close();
    const { observations, observationSize } = this.shape;
    // Python reads Infinity, which JSON does not have.
    const bound = (sign: string) =>
      `[${Array.from({ length: observationSize }, () => `${sign}Infinity`).join(', ')}]`;
    const observationSpace = `{"type": "Box", "dtype": "float32", "shape": [${observationSize}], "low": ${bound('-')}, "high": ${bound('')}}`;
    const metadata = {
      total_episodes: this.#episodes,
      total_steps: this.#steps,
      data_format: 'hdf5',
      observation_space: observationSpace,
      action_space: JSON.stringify(this.space),
      minari_version: '0.5.3',
      [vectorPartsKey]: observations,
      ...about,
    };
    const partial = `${this.folder}.partial`;
    await writeFile(join(partial, 'data', 'metadata.json'), `${JSON.stringify(metadata, null, 2)}\n`);
    await requireReplaceable(this.folder);
    await rm(this.folder, { recursive: true, force: true });
    await rename(partial, this.folder);
  }

  #close(): void {
    if (this.#isOpen) this.file.close();
    this.#isOpen = false;
  }

  /** Removes what has been written and is not finished. It may be called more than once. */
  async discard(): Promise<void> {
    this.#close();
    await rm(`${this.folder}.partial`, { recursive: true, force: true });
  }
}
