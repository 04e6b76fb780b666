import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTransitions } from '../../../src/datasets/transitions/open.js';
import { type Columns, sizeOf } from '../../../src/datasets/transitions/source.js';
import { MinariWriter } from '../../../src/datasets/transitions/write-minari.js';

const python = process.env.PMPO_PYTHON_MINARI;
if (python === undefined) throw new Error('run this with `npm run test:interop minari`');
const script = fileURLToPath(new URL('peer.py', import.meta.url));

const peer = (...args: string[]): string =>
  execFileSync(python!, [script, ...args], { encoding: 'utf8', timeout: 120_000 });

interface Episode {
  readonly observations: Record<string, number[][]>;
  readonly actions: Record<string, number[][]>;
  readonly rewards: number[];
  readonly terminations: boolean[];
  readonly truncations: boolean[];
}

const minaris = (path: string) => JSON.parse(peer('read', path)) as Episode[];

/** Columns as Minari's rows, by the name that a leaf at the root has there. */
function rowsOf(
  columns: Columns,
  specs: Readonly<Record<string, { readonly shape: readonly number[] }>>,
  root: string,
) {
  return Object.fromEntries(
    Object.entries(columns).map(([name, values]) => {
      const size = sizeOf(specs[name]!);
      const numbers = Array.from(values, Number);
      const rows = Array.from({ length: numbers.length / size }, (_, t) =>
        numbers.slice(t * size, (t + 1) * size),
      );
      return [name === root ? '' : name, rows];
    }),
  );
}

/** What we read, in the form in which Minari's episodes are printed. */
async function ours(path: string): Promise<Episode[]> {
  const source = await openTransitions(path, { transitions: 5 });
  try {
    const blocks = await Promise.all(source.blocks.map((_, i) => source.read(i)));
    return blocks.flat().map(({ observations, actions, rewards, length, terminated }) => ({
      observations: rowsOf(observations, source.observationSpecs, 'observation'),
      actions: rowsOf(actions, source.actionSpecs, 'action'),
      rewards: Array.from(rewards),
      terminations: Array.from({ length }, (_, t) => terminated && t === length - 1),
      truncations: Array.from({ length }, (_, t) => !terminated && t === length - 1),
    }));
  } finally {
    await source.close();
  }
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-minari-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a data set that Minari wrote', () => {
  it.each(['box', 'dict', 'tuple'])('is read with the numbers that Minari iterates: %s', async (kind) => {
    const path = join(folder, kind);
    peer('write', path, kind);
    const expected = minaris(path);
    expect(expected.map(({ rewards }) => rewards.length)).toEqual([1, 4, 7]);
    expect(await ours(path)).toEqual(expected);
  });

  it('has the bounds of its spaces', async () => {
    const source = await openTransitions(join(folder, 'box'));
    expect(source.actionSpecs.action).toMatchObject({ shape: [2], minimum: [-2, -1], maximum: [2, 3] });
    expect(source.observationSpecs.observation).toMatchObject({ minimum: undefined, maximum: undefined });
    await source.close();
    const nested = await openTransitions(join(folder, 'dict'));
    expect(nested.observationSpecs['position/phase']).toMatchObject({ minimum: 1, maximum: 4, shape: [] });
    expect(nested.actionSpecs.action).toMatchObject({ minimum: 0, maximum: 2 });
    await nested.close();
  });
});

it.each([
  { actions: 'continuous', values: [0, 0] },
  { actions: 'one integer', values: [3] },
  { actions: 'several integers', values: [3, 2] },
])('a data set that pmpo wrote is read by Minari: $actions', async ({ actions, values }) => {
  const path = join(folder, `written ${actions}`);
  const writer = await MinariWriter.create(path, {
    observations: [{ name: 'position', shape: [2], size: 2, divisor: 1, isBytes: false }],
    observationSize: 2,
    actionMinimum: Float32Array.from(values, () => 0),
    actionMaximum: Float32Array.from(values, (count) => (count || 4) - 1),
    actionValues: values,
  });
  for (const [length, terminated] of [
    [2, true],
    [3, false],
  ] as const) {
    writer.add({
      observations: Float32Array.from({ length: 2 * (length + 1) }, (_, i) => i / 8),
      actions: Float32Array.from({ length: values.length * length }, (_, i) => i % 2),
      rewards: Float64Array.from({ length }, (_, i) => i / 3),
      terminated,
      policy: 'test',
    });
  }
  await writer.finish({ dataset_id: 'pmpo/test-v0' });
  const read = minaris(path);
  expect(read).toEqual(await ours(path));
  expect(read[1]!.rewards).toEqual([0, 1 / 3, 2 / 3]);
  expect(read[0]!.terminations).toEqual([false, true]);
});
