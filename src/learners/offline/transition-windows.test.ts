import { describe, expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import type { RecordedEpisode, TransitionSource } from '../../datasets/transitions/source.js';
import { dataShape } from './data-shape.js';
import { TransitionWindows } from './transition-windows.js';

/** Episodes of 3 steps, two in each block; observation number t of episode e is 100·e + t, and so is the reward. */
function counted(blocks: number, terminated = true): TransitionSource & { readonly reads: number[] } {
  const reads: number[] = [];
  const episode = (e: number): RecordedEpisode => ({
    where: `episode ${e}`,
    length: 3,
    observations: { observation: [0, 1, 2, 3].map((t) => 100 * e + t) },
    actions: { action: [-1, 0, 1] },
    rewards: [0, 1, 2].map((t) => 100 * e + t),
    terminated,
  });
  return {
    where: 'test',
    format: 'test',
    observationSpecs: { observation: { name: 'observation', shape: [1], dtype: 'float32' } },
    actionSpecs: { action: { name: 'action', shape: [1], dtype: 'float32', minimum: -1, maximum: 1 } },
    blocks: Array.from({ length: blocks }, () => ({ transitions: 6, episodes: 2 })),
    notes: [],
    reads,
    read: async (block) => {
      reads.push(block);
      return [episode(2 * block), episode(2 * block + 1)];
    },
    close: async () => {},
  };
}

const blockBytes = 4 * (8 + 6 * 5);

function windowsOf(source: TransitionSource, { nStep = 1, bytes = 1e6, batchSize = 8, seed = 0 } = {}) {
  return new TransitionWindows({
    source,
    data: dataShape(source),
    nStep,
    discount: 0.5,
    batchSize,
    bytes,
    key: randomKey(seed),
    notice: () => {},
  });
}

describe('batches of a data set', () => {
  it('have n-step returns within episodes, and no value after a terminal state', async () => {
    for (const terminated of [true, false]) {
      const windows = windowsOf(counted(1, terminated), { nStep: 2, batchSize: 256 });
      const batch = await windows.batch(0);
      const rows = Array.from({ length: 256 }, (_, i) =>
        [batch.observations, batch.returns, batch.discounts, batch.nextObservations, batch.actions].map(
          ({ data }) => data[i],
        ),
      );
      const distinct = [...new Set(rows.map((row) => row.join(' ')))].sort();
      const last = terminated ? 0 : 0.5;
      expect(distinct).toEqual(
        [
          [0, 0.5, 0.25, 2, -1],
          [1, 1 + 0.5 * 2, terminated ? 0 : 0.25, 3, 0],
          [2, 2, last, 3, 1],
          [100, 100 + 0.5 * 101, 0.25, 102, -1],
          [101, 101 + 0.5 * 102, terminated ? 0 : 0.25, 103, 0],
          [102, 102, last, 103, 1],
        ]
          .map((row) => row.join(' '))
          .sort(),
      );
    }
  });

  it('come from a data set that is larger than the memory, of which each block is read in each round', async () => {
    const source = counted(10);
    const windows = windowsOf(source, { bytes: 4 * blockBytes });
    expect(windows.isWhole).toBe(false);
    const seen = new Set<number>();
    const updates = Math.ceil((10 * 6) / 8) + 10;
    for (let update = 0; update < 2 * updates; update++) {
      const { data } = (await windows.batch(update)).observations;
      if (update < updates) for (const x of data) seen.add(Math.floor(x / 200));
      // Three blocks make up a window, and one is read ahead.
      expect(windows.held).toBeLessThanOrEqual(4);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // The window moves on by one block at an update.
    expect(source.reads.length).toBeLessThanOrEqual(2 * updates + 4);
  });

  it('depend on key and update alone, whatever was drawn before', async () => {
    for (const bytes of [1e6, 4 * blockBytes]) {
      const steady = windowsOf(counted(10), { bytes });
      const expected = [];
      for (let update = 0; update < 30; update++) expected.push(await steady.batch(update));
      const resumed = windowsOf(counted(10), { bytes });
      for (const update of [17, 29, 3]) expect(await resumed.batch(update)).toEqual(expected[update]);
      expect(await windowsOf(counted(10), { bytes, seed: 1 }).batch(3)).not.toEqual(expected[3]);
    }
  });

  it('tell the memory that they take, if a block is larger than what is given', () => {
    expect(windowsOf(counted(10), { bytes: 4 * blockBytes }).bytes).toBe(4 * blockBytes);
    expect(windowsOf(counted(3)).bytes).toBe(3 * blockBytes);
    expect(windowsOf(counted(10), { bytes: blockBytes / 2 }).bytes).toBe(2 * blockBytes);
    expect(windowsOf(counted(1), { bytes: blockBytes / 2 }).bytes).toBe(blockBytes);
  });

  it('hold no more blocks than fit', async () => {
    const source = counted(50);
    const windows = windowsOf(source, { bytes: 4 * blockBytes });
    const blocks = new Set<number>();
    for (const x of (await windows.batch(0)).observations.data) blocks.add(Math.floor(x / 200));
    await windows.batch(0);
    expect(source.reads.length).toBeLessThanOrEqual(4);
    expect(blocks.size).toBeLessThanOrEqual(3);
  });
});
