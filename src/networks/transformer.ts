import { PmpoError } from '../core/errors.js';
import { fillNormal, foldIn, type RandomKey } from '../core/random-keys.js';
import type { NamedHostTensors, NamedTensors, Tensor, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { cachedAttention, type LayerCache, maskedScore } from './cached-attention.js';
import { rotaryTables, rotate } from './rotary.js';
import { attention, rmsNorm, swiglu } from './sublayers.js';

/**
 * A decoder-only transformer as pure functions of named parameters. It computes the same function as the Llama of Hugging
 * Face's transformers and has the same parameter names: token embeddings tied to the output layer, rotary position embeddings
 * (arXiv 2104.09864), RMSNorm before each sublayer (arXiv 1910.07467), grouped-query attention (arXiv 2305.13245), SwiGLU (arXiv
 * 2002.05202). Shapes: B sequences, T positions, V vocabulary size, D width, H heads, K key-value heads, d = D/H head size, C
 * cached positions, L layers, M rows.
 */

/** The architecture of a transformer. */
export interface TransformerConfig {
  /** V. */
  readonly vocabularySize: number;
  /** The maximum number of positions in a sequence. */
  readonly contextLength: number;
  /** L. */
  readonly layers: number;
  /** D. */
  readonly width: number;
  /** H. */
  readonly heads: number;
  /** K: each is shared by H/K heads. */
  readonly keyValueHeads: number;
  /** The number of hidden units in the feed-forward sublayer. */
  readonly hidden: number;
  /** The base of the rotary wavelengths. */
  readonly ropeTheta: number;
  /** Added to the mean square in RMSNorm. */
  readonly normEpsilon: number;
}

/** Defaults of settings that do not change shapes. */
export const transformerDefaults = { ropeTheta: 10_000, normEpsilon: 1e-5 } as const;

/** @throws PmpoError when a size is not a positive integer, or sizes do not divide as they must. */
export function checkTransformer(config: TransformerConfig): void {
  const { vocabularySize, contextLength, layers, width, heads, keyValueHeads, hidden } = config;
  const where = 'transformer';
  for (const [name, value] of Object.entries({
    vocabularySize,
    contextLength,
    layers,
    width,
    heads,
    keyValueHeads,
    hidden,
  })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new PmpoError({ where, what: `${name} is ${value}`, remedy: 'Give a positive integer' });
    }
  }
  if (width % (2 * heads) !== 0) {
    throw new PmpoError({
      where,
      what: `the width ${width} does not divide into ${heads} heads of even size`,
      remedy: `Give a multiple of ${2 * heads}`,
    });
  }
  if (heads % keyValueHeads !== 0) {
    throw new PmpoError({
      where,
      what: `${heads} heads do not divide among ${keyValueHeads} key-value heads`,
      remedy: `Give a divisor of ${heads}`,
    });
  }
}

const layerPrefix = (layer: number): string => `model.layers.${layer}.`;
const embeddingName = 'model.embed_tokens.weight';
const finalNormName = 'model.norm.weight';

/** The name and shape of every parameter. The shape of a weight matrix is [outputs, inputs]. */
export function transformerShapes(config: TransformerConfig): Readonly<Record<string, readonly number[]>> {
  const { vocabularySize, layers, width, heads, keyValueHeads, hidden } = config;
  const keyValueWidth = (width / heads) * keyValueHeads;
  const shapes: Record<string, readonly number[]> = { [embeddingName]: [vocabularySize, width] };
  for (let layer = 0; layer < layers; layer++) {
    const at = layerPrefix(layer);
    shapes[`${at}input_layernorm.weight`] = [width];
    shapes[`${at}self_attn.q_proj.weight`] = [width, width];
    shapes[`${at}self_attn.k_proj.weight`] = [keyValueWidth, width];
    shapes[`${at}self_attn.v_proj.weight`] = [keyValueWidth, width];
    shapes[`${at}self_attn.o_proj.weight`] = [width, width];
    shapes[`${at}post_attention_layernorm.weight`] = [width];
    shapes[`${at}mlp.gate_proj.weight`] = [hidden, width];
    shapes[`${at}mlp.up_proj.weight`] = [hidden, width];
    shapes[`${at}mlp.down_proj.weight`] = [width, hidden];
  }
  shapes[finalNormName] = [width];
  return shapes;
}

/**
 * Initial parameters: scales of norms are 1; embeddings are normal with standard deviation 0.02; weights are normal with 1/√inputs,
 * divided by √(2L) for those whose output is added to the residual stream, so that it does not grow with the depth.
 * @throws PmpoError when the sizes in `config` do not fit together.
 */
export function initTransformer(key: RandomKey, config: TransformerConfig): NamedHostTensors {
  checkTransformer(config);
  return Object.fromEntries(
    Object.entries(transformerShapes(config)).map(([name, shape]) => {
      const size = shape.reduce((product, n) => product * n, 1);
      if (shape.length === 1) return [name, { shape, data: new Float32Array(size).fill(1) }];
      const isResidual = name.endsWith('o_proj.weight') || name.endsWith('down_proj.weight');
      const deviation =
        name === embeddingName ? 0.02 : 1 / Math.sqrt(shape[1]! * (isResidual ? 2 * config.layers : 1));
      const data = fillNormal(foldIn(key, name), new Float32Array(size)).map((x) => x * deviation);
      return [name, { shape, data }];
    }),
  );
}

/** x·Wᵀ for x [M, I] and W [O, I]: [M, O]. */
function dense(x: Tensor, weight: Tensor): Tensor2D {
  return tf.matMul(x, weight, false, true);
}

/** Embeds tokens and applies all layers: final rows [M, D]. `attend` is called with the queries, keys and values of each layer. */
function throughLayers(
  parameters: NamedTensors,
  tokens: Tensor,
  config: TransformerConfig,
  attend: (layer: number, queries: Tensor2D, keys: Tensor2D, values: Tensor2D) => Tensor,
): Tensor2D {
  const { layers, normEpsilon } = config;
  let x: Tensor = tf.gather(parameters[embeddingName], tokens);
  for (let layer = 0; layer < layers; layer++) {
    const of = (name: string): Tensor => parameters[`${layerPrefix(layer)}${name}.weight`]!;
    const normal = rmsNorm(x, of('input_layernorm'), normEpsilon);
    const [queries, keys, values] = ['q_proj', 'k_proj', 'v_proj'].map((name) =>
      dense(normal, of(`self_attn.${name}`)),
    );
    x = tf.add(x, dense(attend(layer, queries!, keys!, values!), of('self_attn.o_proj')));
    const inner = rmsNorm(x, of('post_attention_layernorm'), normEpsilon);
    const activated = swiglu(dense(inner, of('mlp.gate_proj')), dense(inner, of('mlp.up_proj')));
    x = tf.add(x, dense(activated, of('mlp.down_proj')));
  }
  return rmsNorm(x, parameters[finalNormName]!, normEpsilon);
}

/** The logits [M, V] of final rows [M, D]. */
export function outputLogits(parameters: NamedTensors, rows: Tensor2D): Tensor2D {
  return dense(rows, parameters[embeddingName]!);
}

/**
 * The final rows of whole sequences, and the keys and values of each layer. Sequences shorter than T are padded on the right with
 * any tokens: no position attends to later ones, so that padding needs no mask.
 *
 * @param tokens [B, T], int32, each in [0, V)
 * @returns rows [B·T, D], before the output layer
 * @throws PmpoError when T exceeds the context length.
 */
export function transformerRows(
  parameters: NamedTensors,
  tokens: Tensor2D,
  config: TransformerConfig,
): { readonly rows: Tensor2D; readonly cache: readonly LayerCache[] } {
  const { width, heads, keyValueHeads } = config;
  const [B, T] = tokens.shape;
  const [K, G, d] = [keyValueHeads, heads / keyValueHeads, width / heads];
  const tables = rotaryTables(config, T);
  const queryTables = rotaryTables(config, T, 1 / Math.sqrt(d));
  const future = tf.sub(1, tf.linalg.bandPart(tf.ones([T, T]), -1, 0));
  const mask = tf.tile(tf.mul(future, maskedScore), [G, 1]);
  const cache: LayerCache[] = [];
  const rows = throughLayers(parameters, tf.reshape(tokens, [-1]), config, (_layer, q, k, v) => {
    const bySequence = (x: Tensor) => tf.reshape(x, [B, T, -1]);
    const byHead = (x: Tensor, count: number) => tf.transpose(tf.reshape(x, [B, T, count, d]), [0, 2, 1, 3]);
    const queries = byHead(rotate(bySequence(q), queryTables), heads);
    const keys = byHead(rotate(bySequence(k), tables), K);
    const values = byHead(v, K);
    cache.push({ keys, values });
    // The queries of the G heads that share keys form one matrix: larger products, and no repeated keys.
    const mixed = attention(tf.reshape(queries, [B, K, G * T, d]), keys, values, mask);
    return tf.reshape(tf.transpose(tf.reshape(mixed, [B, heads, T, d]), [0, 2, 1, 3]), [B * T, width]);
  });
  return { rows, cache };
}

/** The logits of the token after each position: [B, T] → [B, T, V]. Padding and errors are as in `transformerRows`. */
export function applyTransformer(
  parameters: NamedTensors,
  tokens: Tensor2D,
  config: TransformerConfig,
): Tensor3D {
  const { rows } = transformerRows(parameters, tokens, config);
  return tf.reshape(outputLogits(parameters, rows), [...tokens.shape, config.vocabularySize]);
}

/**
 * Appends one token to each sequence, at the position of the sequence.
 *
 * @param tokens [B], int32
 * @param positions [B], int32: the number of earlier tokens in each sequence, less than C
 * @param cache keys and values of each layer, [B, K, C, d]; entries at and after the position of a sequence are ignored
 * @returns the logits of the next tokens [B, V], and the cache with the new keys and values written at the positions
 * @throws PmpoError when C exceeds the context length.
 */
export function stepTransformer(
  parameters: NamedTensors,
  tokens: tf.Tensor1D,
  positions: tf.Tensor1D,
  cache: readonly LayerCache[],
  config: TransformerConfig,
): { readonly logits: Tensor2D; readonly cache: readonly LayerCache[] } {
  const shape = cache[0]!.keys.shape as [number, number, number, number];
  const [, , C, d] = shape;
  const tables = rotaryTables(config, C);
  const queryTables = rotaryTables(config, C, 1 / Math.sqrt(d));
  const attend = cachedAttention({ positions, shape, tables, queryTables });
  const next: LayerCache[] = [];
  const rows = throughLayers(parameters, tokens, config, (layer, queries, keys, values) => {
    const attended = attend(queries, keys, values, cache[layer]!);
    next.push(attended.cache);
    return attended.mixed;
  });
  return { logits: outputLogits(parameters, rows), cache: next };
}
