import type { Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { type RotaryTables, rotate } from './rotary.js';

/** Keys, after the rotation, and values of one layer: [B, K, T or C, d] each. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Added to masked scores: the softmax is exactly 0 in float32, and the sum is finite. */
export const maskedScore = -1e9;

/** Inputs that are the same for all layers. Shapes: B sequences, H heads, K key-value heads, C cached positions, d head size. */
export interface CachedAttentionInputs {
  /** [B], int32: the number of earlier tokens in each sequence, less than C. */
  readonly positions: tf.Tensor1D;
  /** The shape of the keys and of the values in every cache. */
  readonly shape: readonly [B: number, K: number, C: number, d: number];
  /** The rotary tables for positions 0 to C − 1: of keys, and of queries, which are multiplied by 1/√d as well. */
  readonly tables: RotaryTables;
  readonly queryTables: RotaryTables;
}

/**
 * Attention of one layer.
 *
 * @param queries [B, H·d], before the rotation
 * @param keys [B, K·d], before the rotation
 * @param values [B, K·d]
 * @param cache of this layer; entries at and after the position of a sequence are ignored
 * @returns weighted sums of values [B, H·d], and the cache with the new keys and values written at the positions
 */
export type CachedAttention = (
  queries: Tensor,
  keys: Tensor,
  values: Tensor,
  cache: LayerCache,
) => { readonly mixed: Tensor; readonly cache: LayerCache };

/**
 * Attention of one new token of each sequence to itself and the tokens before it, with rotary positions: softmax(q·kᵀ/√d)·v of
 * H heads in K groups that share keys and values (arXiv 2305.13245). Everything that depends only on the positions is computed
 * here, once for all layers. The key and value of the new token are used next to the cache rather than read from it, so that
 * attention need not wait for the write, and the engine can write the new rows into the cache in place.
 */
export function cachedAttention({
  positions,
  shape,
  tables,
  queryTables,
}: CachedAttentionInputs): CachedAttention {
  const [B, K, C, d] = shape;
  const indices = tf.range(0, C, 1, 'int32');
  const unfilled = tf.cast(tf.greaterEqual(indices, tf.reshape(positions, [B, 1])), 'float32');
  const mask = tf.reshape(tf.mul(unfilled, maskedScore), [B, 1, 1, C]);
  const write = writeAt(positions, K);
  return (queries, keys, values, cache) => {
    const heads = queries.shape[1]! / d;
    const rotated = (x: Tensor, by: RotaryTables) => rotate(tf.reshape(x, [B, 1, -1]), by, positions);
    const groups = tf.reshape(rotated(queries, queryTables), [B, K, heads / K, d]);
    const newKey = tf.reshape(rotated(keys, tables), [B, K, 1, d]);
    const newValue = tf.reshape(values, [B, K, 1, d]);
    const before = tf.add(tf.matMul(groups, cache.keys, false, true), mask);
    const own = tf.sum(tf.mul(groups, newKey), -1, true);
    const weights = tf.softmax(tf.concat([before, own], -1));
    const [weightsBefore, ownWeight] = tf.split(weights, [C, 1], -1);
    const mixed = tf.add(tf.matMul(weightsBefore, cache.values), tf.mul(ownWeight, newValue));
    return {
      mixed: tf.reshape(mixed, [B, heads * d]),
      cache: { keys: write(cache.keys, newKey), values: write(cache.values, newValue) },
    };
  };
}

/** Writes a row for each sequence and group, [B, K, d], into a cache [B, K, C, d] at the position of the sequence. */
function writeAt(positions: tf.Tensor1D, K: number): (cache: Tensor, rows: Tensor) => Tensor {
  const [B] = positions.shape;
  const pairs = Int32Array.from({ length: B * K * 2 }, (_, i) => {
    const pair = Math.floor(i / 2);
    return i % 2 === 0 ? Math.floor(pair / K) : pair % K;
  });
  const columns: Tensor2D = tf.broadcastTo(tf.reshape(positions, [B, 1]), [B, K]);
  const indices = tf.concat2d([tf.tensor2d(pairs, [B * K, 2], 'int32'), tf.reshape(columns, [B * K, 1])], 1);
  return (cache, rows) => tf.tensorScatterUpdate(cache, indices, tf.reshape(rows, [B * K, -1]));
}
