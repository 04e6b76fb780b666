import { sizeOf } from '../../core/shape.js';
import type { NamedSpecs, TensorData, TensorSpec } from '../../environments/environment.js';

/**
 * How several simulators lie in one dm_env_rpc world, which is made with the setting `batchSize`: every tensor has a first axis
 * that counts them, and tensors of the world's own say what each of them is to do and where it stands. Both servers of this
 * repository follow it; plugins/simulator-server/README.md describes it to clients. Letters: N simulators, i one of them.
 */

/** The world's own tensors, [N] each. */
export const batchNames = {
  command: 'batch/command',
  seed: 'batch/seed',
  state: 'batch/state',
  errorCode: 'batch/errorCode',
  error: 'batch/error',
} as const;

/** Whether a name is not a simulator's own. */
export const isBatchName = (name: string): boolean => name.startsWith('batch/');

/** What `batch/command` says: a step, an episode from the seed that is given or from any, or nothing at all. */
export const batchCommands = { step: 0, reset: 1, wait: 2 } as const;

/** In `batch/seed`: none. */
export const noSeed = -1n;

/** In `batch/state`, beside dm_env_rpc's own: no episode has begun, or the simulator failed. */
export const noEpisode = 0;

/** The spec of N values of one spec, one after the other. */
export function stackedSpec(spec: TensorSpec, size: number): TensorSpec {
  const limit = (name: 'minimum' | 'maximum') => {
    const bound = spec[name];
    if (bound === undefined) return {};
    return { [name]: typeof bound === 'number' ? bound : Array.from({ length: size }, () => bound).flat() };
  };
  return { ...spec, shape: [size, ...spec.shape], ...limit('minimum'), ...limit('maximum') };
}

/** The spec of value i of a stack alone. */
export function rowSpec(spec: TensorSpec, i: number): TensorSpec {
  const shape = spec.shape.slice(1);
  const width = sizeOf(shape);
  const limit = (name: 'minimum' | 'maximum') => {
    const bound = spec[name];
    if (bound === undefined) return {};
    const row = typeof bound === 'number' ? [bound] : bound.slice(i * width, (i + 1) * width);
    return { [name]: row.length === 1 ? row[0] : row };
  };
  return { name: spec.name, shape, dtype: spec.dtype, ...limit('minimum'), ...limit('maximum') };
}

/** Those of a world's own observations and actions, but `reward` and `discount`. */
export function ownSpecs(size: number): { readonly actions: NamedSpecs; readonly observations: NamedSpecs } {
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

/** Row i of N of an array: a view, where there can be one. */
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
