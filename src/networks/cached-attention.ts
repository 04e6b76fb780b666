import type { Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { type RotaryTables, rotate } from './rotary.js';

/** Keys and values of one layer, keys already turned to their positions: [B, K, T or C, d] each. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Large enough to make a weight exactly 0 in float32, small enough to be added to. */
export const maskedScore = -1e9;

export interface CachedAttentionInputs {
  /** [B], int32: how many tokens of its sequence come before each, below C. */
  readonly positions: tf.Tensor1D;
  /** Of every layer's cache: [B, K, C, d]. */
  readonly shape: readonly [B: number, K: number, C: number, d: number];
  /** Of the positions 0 to C − 1. */
  readonly tables: RotaryTables;
}

/**
 * Attention of one layer: queries [B, H·d] and keys [B, K·d] before they are turned, values [B, K·d], and a cache of which
 * what lies at and behind a sequence's position is not looked at.
 *
 * @returns mixed values [B, H·d], and the cache with the new keys and values at the positions
 */
export type CachedAttention = (
  queries: Tensor,
  keys: Tensor,
  values: Tensor,
  cache: LayerCache,
) => { readonly mixed: Tensor; readonly cache: LayerCache };

/**
 * Attention of one new token of each sequence, with rotary positions, to the tokens before it and itself: softmax(q·kᵀ/√d)·v
 * of H heads in K groups that share keys and values (arXiv 2305.13245). What depends on the positions alone is computed here,
 * once for all layers. The new token is attended to beside the cache, not in it, so that nothing waits for the cache to be
 * written, and an engine may write the new rows in their places and copy nothing.
 */
export function cachedAttention({ positions, shape, tables }: CachedAttentionInputs): CachedAttention {
  const [B, K, C, d] = shape;
  const here: RotaryTables = {
    cosines: tf.reshape(tf.gather(tables.cosines, positions), [B, 1, d]),
    sines: tf.reshape(tf.gather(tables.sines, positions), [B, 1, d]),
  };
  const places = tf.range(0, C, 1, 'int32');
  const unfilled = tf.cast(tf.greaterEqual(places, tf.reshape(positions, [B, 1])), 'float32');
  const mask = tf.reshape(tf.mul(unfilled, maskedScore), [B, 1, 1, C]);
  const place = placeAt(positions, K);
  return (queries, keys, values, cache) => {
    const heads = queries.shape[1]! / d;
    const turned = rotate(tf.reshape(tf.mul(queries, 1 / Math.sqrt(d)), [B, heads, d]), here);
    const groups = tf.reshape(turned, [B, K, heads / K, d]);
    const newKey = tf.reshape(rotate(tf.reshape(keys, [B, K, d]), here), [B, K, 1, d]);
    const newValue = tf.reshape(values, [B, K, 1, d]);
    const before = tf.add(tf.matMul(groups, cache.keys, false, true), mask);
    const own = tf.sum(tf.mul(groups, newKey), -1, true);
    const weights = tf.softmax(tf.concat([before, own], -1));
    const [weightsBefore, ownWeight] = tf.split(weights, [C, 1], -1);
    const mixed = tf.add(tf.matMul(weightsBefore, cache.values), tf.mul(ownWeight, newValue));
    return {
      mixed: tf.reshape(mixed, [B, heads * d]),
      cache: { keys: place(cache.keys, newKey), values: place(cache.values, newValue) },
    };
  };
}

/** Writes one row [B, K, d] of each sequence and group into a cache [B, K, C, d], at the sequence's position. */
function placeAt(positions: tf.Tensor1D, K: number): (cache: Tensor, rows: Tensor) => Tensor {
  const [B] = positions.shape;
  const pairs = Int32Array.from({ length: B * K * 2 }, (_, i) => {
    const pair = Math.floor(i / 2);
    return i % 2 === 0 ? Math.floor(pair / K) : pair % K;
  });
  const columns: Tensor2D = tf.broadcastTo(tf.reshape(positions, [B, 1]), [B, K]);
  const indices = tf.concat2d([tf.tensor2d(pairs, [B * K, 2], 'int32'), tf.reshape(columns, [B * K, 1])], 1);
  return (cache, rows) => tf.tensorScatterUpdate(cache, indices, tf.reshape(rows, [B * K, -1]));
}
