import type { Environment } from '../../src/environments/environment.js';

const size = 10;

/** DeepMind's Catch: a ball falls from a random column, and a paddle moves left, stays or moves right. Return: 1 if caught, or −1. */
export function catchGame(): Environment {
  let [ball, row, paddle] = [0, 0, 0];
  const board = () => {
    const data = new Float32Array(size * size);
    data[row * size + ball] = 1;
    data[(size - 1) * size + paddle] = 1;
    return { board: { dtype: 'float32' as const, shape: [size, size], data } };
  };
  return {
    observationSpec: { board: { name: 'board', shape: [size, size], dtype: 'float32' } },
    actionSpec: { paddle: { name: 'paddle', shape: [], dtype: 'int32', minimum: -1, maximum: 1 } },
    async reset({ seed = 0 } = {}) {
      // Consecutive seeds are spread over the columns.
      [ball, row, paddle] = [(Math.imul(seed, 2_654_435_761) >>> 16) % size, 0, size / 2];
      return { observation: board(), info: {} };
    },
    async step({ paddle: move }) {
      paddle = Math.min(size - 1, Math.max(0, paddle + Number(move.data[0])));
      row += 1;
      const terminated = row === size - 1;
      const reward = terminated ? (ball === paddle ? 1 : -1) : 0;
      return { observation: board(), reward, terminated, truncated: false, info: {} };
    },
    async close() {},
  };
}
