import { sizeOf } from '../../core/shape.js';
import type { NamedSpecs, TensorData, TensorSpec } from '../../environments/environment.js';

/**
 * The layout of several simulators in one dm_env_rpc world, which the setting `batchSize` asks for: every tensor has a first
 * axis over the simulators, and tensors of the batch itself hold the command, the seed and the state of each. Both servers of
 * this repository follow it; plugins/simulator-server/README.md describes it for clients.
 * Shapes: N simulators; i is one of them.
 */

/** The names of the batch's own tensors, [N] each. */
export const batchNames = {
  command: 'batch/command',
  seed: 'batch/seed',
  state: 'batch/state',
  errorCode: 'batch/errorCode',
  error: 'batch/error',
} as const;

/** Whether a name is reserved for the batch's own tensors. */
export const isBatchName = (name: string): boolean => name.startsWith('batch/');

/** The values of `batch/command`: take a step, start an episode, or do nothing. */
export const batchCommands = { step: 0, reset: 1, wait: 2 } as const;

/** The value of `batch/seed` for an episode without a given seed. */
export const noSeed = -1n;

/** The value of `batch/state`, in addition to those of dm_env_rpc, before the first episode and after a failure. */
export const noEpisode = 0;

/** The spec of `size` values with this spec, stacked along a new first axis. */
export function stackedSpec(spec: TensorSpec, size: number): TensorSpec {
  const stack = (name: 'minimum' | 'maximum') => {
    const bound = spec[name];
    if (bound === undefined) return {};
    return { [name]: typeof bound === 'number' ? bound : Array.from({ length: size }, () => bound).flat() };
  };
  return { ...spec, shape: [size, ...spec.shape], ...stack('minimum'), ...stack('maximum') };
}

/** The spec of row i of a stack. */
export function rowSpec(spec: TensorSpec, i: number): TensorSpec {
  const shape = spec.shape.slice(1);
  const width = sizeOf(shape);
  const rowOfBound = (name: 'minimum' | 'maximum') => {
    const bound = spec[name];
    if (bound === undefined) return {};
    const row = typeof bound === 'number' ? [bound] : bound.slice(i * width, (i + 1) * width);
    return { [name]: row.length === 1 ? row[0] : row };
  };
  return { name: spec.name, shape, dtype: spec.dtype, ...rowOfBound('minimum'), ...rowOfBound('maximum') };
}

/** The specs of the batch's own actions and observations, apart from `reward` and `discount`. */
export function batchSpecs(size: number): {
  readonly actions: NamedSpecs;
  readonly observations: NamedSpecs;
} {
  const spec = (name: string, dtype: TensorSpec['dtype'], minimum?: number, maximum?: number) => ({
    [name]: { name, dtype, shape: [size], minimum, maximum },
  });
  return {
    actions: {
      ...spec(batchNames.command, 'int32', batchCommands.step, batchCommands.wait),
      ...spec(batchNames.seed, 'int64', Number(noSeed)),
    },
    observations: {
      ...spec(batchNames.state, 'int32', noEpisode, 3),
      ...spec(batchNames.errorCode, 'int32'),
      ...spec(batchNames.error, 'string'),
    },
  };
}

/** Row i of an array of `size` rows: a view of a typed array, or a copy of a list. */
export function rowOf(data: TensorData, i: number, size: number): TensorData {
  const width = data.length / size;
  return Array.isArray(data)
    ? (data.slice(i * width, (i + 1) * width) as TensorData)
    : data.subarray(i * width, (i + 1) * width);
}

/** Writes row i of an array. */
export function writeRow(rows: TensorData, i: number, row: TensorData): void {
  const start = i * row.length;
  if (Array.isArray(rows) || Array.isArray(row)) {
    for (let j = 0; j < row.length; j++) (rows as unknown[])[start + j] = row[j];
  } else (rows as Float64Array).set(row as Float64Array, start);
}
