import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hdf5 } from './minari.js';
import { openTransitions } from './open.js';
import { episodeOf, rowForm } from './row-form.js';
import type { RecordedEpisode } from './source.js';
import { MinariWriter, recorderName } from './write-minari.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-transitions-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Opens a data set and reads all of it. */
async function readAll(path: string, transitions = 4): Promise<RecordedEpisode[]> {
  const source = await openTransitions(path, { transitions });
  try {
    const episodes: RecordedEpisode[] = [];
    for (const block of source.blocks.keys()) episodes.push(...(await source.read(block)));
    return episodes;
  } finally {
    await source.close();
  }
}

let files = 0;
async function jsonLines(...rows: (object | string)[]): Promise<string> {
  const file = join(folder, `${files++}.jsonl`);
  await writeFile(file, rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'));
  return file;
}

const transition = {
  observation: [1, 2],
  action: [0.5],
  reward: 1,
  next_observation: [3, 4],
  terminated: false,
};
const episode = {
  observations: [[0], [1], [2]],
  actions: [[-1], [1]],
  rewards: [1, 2],
  terminated: true,
};

describe('JSON Lines', () => {
  it('holds a transition in each line, in blocks', async () => {
    const rows = Array.from({ length: 10 }, (_, i) => ({ ...transition, reward: i }));
    const file = await jsonLines(...rows);
    const source = await openTransitions(file, { transitions: 4 });
    expect(source.blocks.map(({ transitions }) => transitions)).toEqual([4, 4, 2]);
    expect((await source.read(1)).map(({ where, rewards }) => [where, ...Array.from(rewards)])).toEqual(
      [5, 6, 7, 8].map((line) => [`${file}:${line}`, line - 1]),
    );
    await source.close();
  });

  it('holds an episode in each line, with observations by name', async () => {
    const named = {
      ...episode,
      observations: [1, 2, 3].map((x) => ({ velocity: x, position: [[x], [x + 1]] })),
    };
    const [read] = await readAll(await jsonLines(named, ''));
    expect(read).toMatchObject({
      length: 2,
      observations: { velocity: [1, 2, 3], position: [1, 2, 2, 3, 3, 4] },
      actions: { action: [-1, 1] },
      terminated: true,
    });
  });

  it.each([
    ['no rows', [''], 'the file has no rows'],
    ['a line that was cut off', [transition, '{"observation": [1, 2], "act'], ':2: the line is not JSON'],
    [
      'a missing column',
      [transition, { ...transition, reward: undefined }],
      ":2: the column 'reward' is missing",
    ],
    ['a null', [{ ...transition, action: null }], ":1: the column 'action' is missing"],
    [
      'mixed types',
      [transition, { ...transition, action: ['left'] }],
      `:2: 'action' must be a number here, and it is "left"`,
    ],
    [
      'another shape',
      [transition, { ...transition, observation: [1, 2, 3] }],
      ":2: 'observation' has the shape [3], and the first row has the shape [2]",
    ],
    [
      'another name',
      [{ ...transition, observation: { a: 1 }, next_observation: { b: 1 } }],
      ":1: the observation has 'b'",
    ],
    [
      'NaN',
      [
        '{"observation": [1, NaN], "action": [0], "reward": 1, "next_observation": [1, 2], "terminated": false}',
      ],
      `:1: 'observation' must be a number here, and it is "NaN"`,
    ],
    [
      'an infinite reward',
      [{ ...transition }, JSON.stringify(transition).replace('"reward":1', '"reward":1e999')],
      ":2, step 0: the value of 'rewards' is Infinity",
    ],
    [
      'rows of both forms',
      [transition, episode],
      ':2: the row is an episode, and the first row is a transition',
    ],
    [
      'too few observations',
      [{ ...episode, observations: [[0], [1]] }],
      ':1: there are 2 observations and 2 actions for 2 rewards',
    ],
    [
      'no steps',
      [episode, { observations: [[0]], actions: [], rewards: [], terminated: true }],
      ':2: it has no steps',
    ],
    [
      'an end that is no boolean',
      [{ ...transition, terminated: 'yes' }],
      `:1: 'terminated' is "yes", and true or false is right`,
    ],
  ])('is refused with file and line for %s', async (_, rows, message) => {
    await expect(readAll(await jsonLines(...rows))).rejects.toThrow(message);
  });
});

describe('Parquet', () => {
  const file = (name: string) =>
    fileURLToPath(new URL(`../../../test/references/${name}.parquet`, import.meta.url));

  it('is read by row groups', async () => {
    const source = await openTransitions(file('transitions'));
    expect(source.blocks.map(({ transitions }) => transitions)).toEqual([4, 4, 2]);
    const episodes = await source.read(2);
    expect(episodes.map(({ where }) => where)).toEqual(
      [9, 10].map((row) => `${file('transitions')}, row ${row}`),
    );
    expect(episodes[1]).toMatchObject({
      observations: { observation: [9, 9.5, 10, 10.5] },
      actions: { action: [1] },
      rewards: Float64Array.of(0.75),
      terminated: true,
    });
    await source.close();
  });

  it('has whole numbers of 64 bits, which are bigints', () => {
    const row = { ...transition, action: 1n, reward: 2n, terminated: 1n };
    const form = rowForm('row 1', row);
    expect(episodeOf('row 1', form, row)).toMatchObject({
      actions: { action: [1] },
      rewards: Float64Array.of(2),
      terminated: true,
    });
    expect(episodeOf('row 1', form, { ...row, terminated: 0n }).terminated).toBe(false);
    expect(() => episodeOf('row 2', form, { ...row, terminated: 2n })).toThrow("'terminated' is 2");
    const list = { ...row, observation: 3n };
    expect(() => episodeOf('row 3', form, list)).toThrow("'observation' has 3, and the first row has");
  });

  it('is refused when it is cut off', async () => {
    const cut = join(folder, 'cut.parquet');
    await writeFile(cut, (await readFile(file('transitions'))).subarray(0, 500));
    await expect(openTransitions(cut)).rejects.toThrow('cut.parquet: it is not a whole Parquet file');
  });

  it('is refused when it has other columns', async () => {
    await expect(openTransitions(file('pairs'))).rejects.toThrow(
      "row 1: the column 'observation' is missing",
    );
  });
});

const shape = {
  observations: [{ name: 'position', shape: [2], size: 2, divisor: 1, isBytes: false }],
  observationSize: 2,
  actionMinimum: Float32Array.of(-1),
  actionMaximum: Float32Array.of(2),
  actionValues: Int32Array.of(0),
};

/** A data set of Minari with episodes of these lengths, of which the first terminates. */
async function minari(name: string, ...lengths: number[]): Promise<string> {
  const path = join(folder, name);
  const writer = await MinariWriter.create(path, shape);
  for (const [i, length] of lengths.entries()) {
    writer.add({
      observations: Float32Array.from({ length: 2 * length + 2 }, (_, j) => i + j / 2),
      actions: Float32Array.from({ length }, (_, j) => j),
      rewards: Float64Array.from({ length }, (_, j) => j / 3),
      terminated: i === 0,
      policy: 'test',
    });
  }
  await writer.finish({});
  return path;
}

describe('Minari', () => {
  it('is read as it was written, in blocks of whole episodes', async () => {
    const path = await minari('whole', 2, 3, 1);
    const source = await openTransitions(path, { transitions: 4 });
    expect(source.blocks).toEqual([
      { transitions: 5, episodes: 2 },
      { transitions: 1, episodes: 1 },
    ]);
    const [first, second] = await source.read(0);
    expect(first).toMatchObject({ length: 2, terminated: true });
    expect(second).toMatchObject({ length: 3, terminated: false });
    expect(Array.from(second!.observations.observation!)).toEqual([1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]);
    expect(Array.from(second!.rewards)).toEqual([0, 1 / 3, 2 / 3]);
    expect(source.vectorParts).toEqual(shape.observations);
    expect(source.actionSpecs.action).toMatchObject({ shape: [1], minimum: -1, maximum: 2 });
    await source.close();
  });

  const data = (path: string) => join(path, 'data', 'main_data.hdf5');

  it('is refused when the file is truncated, empty, or something else', async () => {
    const path = await minari('truncated', 2);
    const { size } = await (await open(data(path))).stat();
    await truncate(data(path), size - 10);
    await expect(readAll(path)).rejects.toThrow(/main_data\.hdf5: it is truncated: it has \d+ bytes of \d+/);
    await truncate(data(path), 0);
    await expect(readAll(path)).rejects.toThrow('the file is empty');
    await writeFile(data(path), 'hello');
    await expect(readAll(path)).rejects.toThrow('it is not an HDF5 file');
    await expect(readAll(join(folder, 'nowhere'))).rejects.toThrow('there is no such file or folder');
  });

  it('is refused when its metadata are missing or say something else', async () => {
    const path = await minari('metadata', 2);
    const file = join(path, 'data', 'metadata.json');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"total_episodes": 1', '"total_episodes": 7'));
    await expect(readAll(path)).rejects.toThrow('it has 1 episodes, and its metadata says 7');
    await writeFile(file, text.replace('"size": 2', '"size": 3'));
    await expect(readAll(path)).rejects.toThrow('do not make up its observation of 2 numbers');
    await writeFile(file, text.replace(String.raw`\"type\": \"Box\"`, String.raw`\"type\": \"Text\"`));
    await expect(readAll(path)).rejects.toThrow('a policy cannot read the space Text');
    await rm(file);
    await expect(readAll(path)).rejects.toThrow('the metadata of the data set has no observation_space');
  });

  /** Writes an episode, and changes the file. */
  async function changed(
    name: string,
    change: (
      group: { create_dataset(args: object): unknown; parent: unknown },
      file: { get(path: string): unknown },
    ) => void,
  ): Promise<string> {
    const path = await minari(name, 2);
    const { File } = await hdf5();
    const file = new File(data(path), 'a');
    change(file.get('episode_0') as never, file as never);
    file.close();
    return path;
  }

  it('is refused with episode and row for numbers that are not finite, and ends in the middle', async () => {
    const slice =
      (path: string, at: number, value: number) => (_: unknown, file: { get(path: string): unknown }) =>
        (
          file.get(`episode_0/${path}`) as { write_slice(ranges: number[][], data: unknown): void }
        ).write_slice([[at, at + 1]], path === 'rewards' ? Float64Array.of(value) : Uint8Array.of(value));
    await expect(readAll(await changed('nan', slice('rewards', 1, Number.NaN)))).rejects.toThrow(
      "episode_0, step 1: the value of 'rewards' is NaN",
    );
    await expect(readAll(await changed('ends', slice('truncations', 0, 1)))).rejects.toThrow(
      'episode_0, step 0: the episode was truncated here, and 1 more steps follow',
    );
  });

  /** A data set whose one episode of 2 steps has these rewards, compressed. */
  async function withRewards(name: string, rewards: Float64Array | BigInt64Array): Promise<string> {
    const path = await minari(name, rewards.length);
    const { File } = await hdf5();
    const file = new File(data(path), 'w');
    const group = file.create_group('episode_0');
    const n = rewards.length;
    const put = (name: string, values: typeof rewards | Float32Array | Uint8Array, shape: number[]) =>
      group.create_dataset({ name, data: values, shape, chunks: shape, compression: 9 });
    put('observations', new Float32Array(2 * n + 2), [n + 1, 2]);
    put('actions', new Float32Array(n), [n, 1]);
    put('rewards', rewards, [n]);
    put('terminations', new Uint8Array(n), [n]);
    put('truncations', new Uint8Array(n), [n]);
    file.close();
    return path;
  }

  it('has rewards that are whole numbers of 64 bits, which are read as numbers', async () => {
    const [episode] = await readAll(await withRewards('whole-rewards', BigInt64Array.of(3n, -1n)));
    expect(episode!.rewards).toEqual(Float64Array.of(3, -1));
  });

  it('is refused with file and name for values that HDF5 cannot unpack', async () => {
    const path = await withRewards('packed', Float64Array.from({ length: 500 }, Math.sin));
    const bytes = await readFile(data(path));
    // Damages each zlib stream.
    const starts = [...bytes.keys()].filter((i) => bytes[i] === 0x78 && bytes[i + 1] === 0xda);
    for (const start of starts) bytes.fill(0xff, start + 2, start + 8);
    await writeFile(data(path), bytes);
    await expect(readAll(path)).rejects.toThrow(
      /main_data\.hdf5, episode_0: '\w+' cannot be read: .* Copy or download the file again/,
    );
  });

  it('is written to a path that ends in a slash, and discarded more than once', async () => {
    const path = join(folder, 'slash');
    const writer = await MinariWriter.create(`${path}/`, shape);
    writer.add({
      observations: new Float32Array(4),
      actions: new Float32Array(1),
      rewards: new Float64Array(1),
      terminated: true,
      policy: 'test',
    });
    await writer.finish({});
    await writer.discard();
    expect(await readAll(path)).toHaveLength(1);
    const dropped = await MinariWriter.create(`${join(folder, 'dropped')}/`, shape);
    await dropped.discard();
    await dropped.discard();
    expect((await readdir(folder)).filter((name) => /dropped|partial/.test(name))).toEqual([]);
  });

  it('takes the place of an empty folder or of a recorded set, and of nothing else', async () => {
    const path = join(folder, 'replaced');
    await mkdir(path);
    for (let i = 0; i < 2; i++)
      await (await MinariWriter.create(path, shape)).finish({ algorithm_name: recorderName });
    const message = 'the folder holds something else than a data set of pmpo record';
    await writeFile(join(path, 'notes.txt'), 'mine');
    await expect(MinariWriter.create(path, shape)).rejects.toThrow(message);
    expect(await readdir(path)).toEqual(['data', 'notes.txt']);
    const others = await minari('others', 1);
    await expect(MinariWriter.create(others, shape)).rejects.toThrow(message);
    const file = join(folder, 'file');
    await writeFile(file, '');
    await expect(MinariWriter.create(file, shape)).rejects.toThrow('it is a file');
    // Something may come there while episodes are played.
    const late = join(folder, 'late');
    const writer = await MinariWriter.create(late, shape);
    await mkdir(late);
    await writeFile(join(late, 'notes.txt'), 'mine');
    await expect(writer.finish({})).rejects.toThrow(message);
    await writer.discard();
    expect(await readdir(late)).toEqual(['notes.txt']);
  });

  it('is refused with a remedy for a space of float16, which HDF5 for Node does not read', async () => {
    const path = await minari('float16', 2);
    const file = join(path, 'data', 'metadata.json');
    const text = await readFile(file, 'utf8');
    await writeFile(
      file,
      text.replace(String.raw`\"dtype\": \"float32\"`, String.raw`\"dtype\": \"float16\"`),
    );
    await expect(readAll(path)).rejects.toThrow('the space Box of float16. Write its values as float32');
  });

  it('is refused when it has no episodes', async () => {
    const path = join(folder, 'none');
    const writer = await MinariWriter.create(path, shape);
    await writer.finish({});
    await expect(readAll(path)).rejects.toThrow('it has no episodes');
  });
});
