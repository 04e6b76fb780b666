import { PmpoError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import type { DType, TensorSpec } from '../../environments/environment.js';

/**
 * Gymnasium's spaces as Minari writes them (`minari.serialization`), as named specs: the leaves of a Dict have the names that pmpo's
 * simulator server gives them, `position/x`.
 */

/** A leaf of a space: its spec, and its path in the file. */
export interface SpaceLeaf {
  readonly spec: TensorSpec;
  /** The path of its values below the group of the whole space; empty for a space that is a leaf itself. */
  readonly path: string;
}

const dtypes: Readonly<Record<string, DType>> = {
  float64: 'float64',
  float32: 'float32',
  int8: 'int8',
  int16: 'int32',
  int32: 'int32',
  int64: 'int64',
  uint8: 'uint8',
  uint16: 'uint32',
  uint32: 'uint32',
  uint64: 'uint64',
  bool: 'bool',
};

type Node = Readonly<Record<string, unknown>>;

/** JSON as Python writes it, with Infinity for bounds that there are none. @throws SyntaxError */
export function parseWithInfinity(text: string): unknown {
  return JSON.parse(text.replaceAll(/(?<=[[,:\s]-?)Infinity(?=[\],}\s])/g, '1e999'));
}

const flatNumbers = (value: unknown): number[] =>
  Array.isArray(value) ? value.flatMap(flatNumbers) : [Number(value)];

/** One bound for all elements where they share it; undefined where none is finite. */
function boundOf(values: readonly number[]): number | readonly number[] | undefined {
  if (!values.some(Number.isFinite)) return undefined;
  return values.every((value) => value === values[0]) ? values[0] : values;
}

function shapeIn(node: Node): number[] | undefined {
  const { shape } = node;
  return Array.isArray(shape) && shape.every((n) => Number.isInteger(n) && Number(n) >= 0)
    ? shape.map(Number)
    : undefined;
}

/** Whether Minari keeps the values of a space as JPEG pictures (`is_image_space`). */
function isJpeg({ dtype, shape, low, high }: Node): boolean {
  if (dtype !== 'uint8' || !Array.isArray(shape) || shape.length < 2 || shape.length > 3) return false;
  return (
    Number(shape[0]) >= 32 &&
    Number(shape[1]) >= 32 &&
    flatNumbers(low).every((v) => v === 0) &&
    flatNumbers(high).every((v) => v === 255)
  );
}

/**
 * The leaves of a space.
 * @param where the place of the space, for messages.
 * @param root the name of a space that is a leaf itself: `observation` or `action`.
 * @throws PmpoError for a space that a policy cannot read.
 */
export function spaceLeaves(where: string, root: string, json: unknown): SpaceLeaf[] {
  let space: unknown;
  try {
    space = typeof json === 'string' ? parseWithInfinity(json) : json;
  } catch (cause) {
    throw new PmpoError({
      where,
      what: 'it is not JSON',
      remedy: 'Write the data set anew with Minari',
      cause,
    });
  }
  const leaves: SpaceLeaf[] = [];
  const visit = (node: unknown, keys: readonly string[], path: readonly string[]) => {
    const place = keys.length === 0 ? where : `${where}, ${keys.join('/')}`;
    if (!isGroup(node) || typeof node.type !== 'string')
      throw new PmpoError({
        where: place,
        what: 'it is not a space of Gymnasium',
        remedy: 'Write the data set anew with Minari',
      });
    const { type } = node;
    if (type === 'Dict' && isGroup(node.subspaces)) {
      for (const [key, inner] of Object.entries(node.subspaces)) visit(inner, [...keys, key], [...path, key]);
      return;
    }
    if (type === 'Tuple' && Array.isArray(node.subspaces)) {
      for (const [i, inner] of node.subspaces.entries())
        visit(inner, [...keys, String(i)], [...path, `_index_${i}`]);
      return;
    }
    const name = keys.length === 0 ? root : keys.join('/');
    const add = (spec: Omit<TensorSpec, 'name'>) =>
      leaves.push({ spec: { name, ...spec }, path: path.join('/') });
    const n = Number(node.n);
    const start = Number(node.start ?? 0);
    const shape = shapeIn(node);
    const dtype = dtypes[String(node.dtype)];
    if (type === 'Box' && shape !== undefined && dtype !== undefined) {
      if (isJpeg(node)) {
        throw new PmpoError({
          where: place,
          what: 'Minari keeps these images as JPEG pictures, which are not read',
          remedy: 'Record features in place of images',
        });
      }
      add({
        shape,
        dtype,
        minimum: boundOf(flatNumbers(node.low)),
        maximum: boundOf(flatNumbers(node.high)),
      });
    } else if (type === 'Discrete' && Number.isInteger(n)) {
      add({ shape: [], dtype: 'int64', minimum: start, maximum: start + n - 1 });
    } else if (type === 'MultiBinary') {
      add({ shape: [node.n].flat().map(Number), dtype: 'int8', minimum: 0, maximum: 1 });
    } else if (type === 'MultiDiscrete' && Array.isArray(node.nvec)) {
      const counts = flatNumbers(node.nvec);
      const starts = node.start === undefined ? counts.map(() => 0) : flatNumbers(node.start);
      add({
        shape: [counts.length],
        dtype: 'int64',
        minimum: starts,
        maximum: counts.map((k, i) => (starts[i] ?? 0) + k - 1),
      });
    } else {
      throw new PmpoError({
        where: place,
        what: `a policy cannot read the space ${type}${node.dtype === undefined ? '' : ` of ${String(node.dtype)}`}`,
        remedy:
          node.dtype === 'float16'
            ? 'Write its values as float32'
            : 'Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these are read',
      });
    }
  };
  visit(space, [], []);
  return leaves;
}
