import { getOrCreate } from '../../core/maps.js';
import { sizeOf } from '../../core/shape.js';
import type { Compiled, Engine } from '../../engine/engine.js';
import type { NamedVariables, Tensor, Tensor1D, Tensor2D, Variable } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { LayerCache } from '../../networks/cached-attention.js';
import {
  outputLogits,
  stepTransformer,
  type TransformerConfig,
  transformerRows,
} from '../../networks/transformer.js';
import { lengthBucket, rowBucket } from './batches.js';
import { chosenLogProbs } from './token-terms.js';

/**
 * The compiled functions for sampling. A cache has R slots with one sequence each; `prefill` puts prompts into slots, and `step`
 * appends one token to every slot. Shapes: P prompts, T positions, R slots, C cached positions, V vocabulary size.
 */

/** The results of one prompt of length L. */
export interface PromptResult {
  /** The logits of the token after the prompt, [V]. */
  readonly logits: Float32Array;
  /** The log-probs of the prompt's tokens without the first, in nats, [L − 1]; if requested. */
  readonly logProbs?: Float32Array;
  /** The logits of these tokens, [L − 1, V]; if requested. */
  readonly promptLogits?: Float32Array;
}

export interface Decoder {
  /** R. */
  readonly slots: number;
  /** C: the number of tokens that each slot has room for now. */
  readonly capacity: number;
  /** Makes room for sequences of `length` tokens. The cache keeps its contents, unless `isEmpty` says that they are not needed. */
  reserve(length: number, isEmpty: boolean): Promise<void>;
  /**
   * Processes prompts.
   * @param targets pairs `[slot, prompt]`: the slots that will continue the prompts.
   * @param scores which scores of the prompts' own tokens to return.
   */
  prefill(
    prompts: readonly Int32Array[],
    targets: readonly (readonly [number, number])[],
    scores: PromptScores,
  ): Promise<PromptResult[]>;
  /**
   * @param tokens [R], the next token of each slot
   * @param positions [R], the position of that token; 0 for unused slots
   * @returns the logits of the tokens after these, [R, V]
   */
  step(tokens: Int32Array, positions: Int32Array): Promise<Float32Array>;
}

/** The scores of a prompt's own tokens: none, their log-probs, or their log-probs and all logits. */
type PromptScores = 'none' | 'chosen' | 'all';

/** [R] each, int32. */
interface StepInputs {
  readonly tokens: Tensor1D;
  readonly positions: Tensor1D;
}

interface PrefillInputs {
  /** [P, T], int32; `next` is the token after each, and only needed for scores. */
  readonly tokens: Tensor2D;
  readonly next?: Tensor2D;
  /** [P], int32: the index of each prompt's last token among the P·T tokens. */
  readonly ends: Tensor1D;
  /** Slots of the cache, and the prompt that each of them continues; absent if there are none. */
  readonly targets?: Tensor1D;
  readonly sources?: Tensor1D;
}

interface PrefillResults {
  /** [P, V] */
  readonly logits: Tensor2D;
  /** [P·T] */
  readonly logProbs?: Tensor1D;
  /** [P·T, V] */
  readonly promptLogits?: Tensor2D;
}

interface CacheVariables {
  readonly capacity: number;
  readonly layers: readonly { readonly keys: Variable; readonly values: Variable }[];
}

const smallestCapacity = 32;

/** @param parameters variables of `engine`; each call uses their current values. */
export function createDecoder(
  engine: Engine,
  parameters: NamedVariables,
  config: TransformerConfig,
  slots: number,
): Decoder {
  const { vocabularySize: V, contextLength, layers, keyValueHeads: K, width, heads } = config;
  const d = width / heads;
  const caches = new Map<number, CacheVariables>();
  const createCache = (capacity: number): CacheVariables => {
    const shape = [slots, K, capacity, d];
    const variable = (kind: string, layer: number) =>
      engine.variable(`cache ${capacity}/${kind} ${layer}`, { shape, data: new Float32Array(sizeOf(shape)) });
    return {
      capacity,
      layers: Array.from({ length: layers }, (_, layer) => ({
        keys: variable('keys', layer),
        values: variable('values', layer),
      })),
    };
  };
  const cacheOf = (capacity: number) => getOrCreate(caches, capacity, () => createCache(capacity));
  // A multiple of the length step, also beyond the context: sums over other lengths are rounded differently.
  const largestCapacity = lengthBucket(contextLength, Number.POSITIVE_INFINITY);
  let cache = cacheOf(Math.min(smallestCapacity, largestCapacity));

  // Compiled functions, created when they are first needed: one for each cache and each kind of result.
  const stepFunctions = new Map<number, Compiled<StepInputs, { readonly logits: Tensor2D }>>();
  const growFunctions = new Map<string, Compiled<object, object>>();
  const prefillFunctions = new Map<string, Compiled<PrefillInputs, PrefillResults>>();

  const stepFunction = ({ capacity, layers: variables }: CacheVariables) =>
    getOrCreate(stepFunctions, capacity, () =>
      engine.jit(`step ${capacity}`, ({ tokens, positions }: StepInputs) => {
        const { logits, cache: next } = stepTransformer(parameters, tokens, positions, variables, config);
        assign(variables, next);
        return { logits };
      }),
    );

  /** Copies the contents of a smaller cache into a larger one. */
  const growFunction = (from: CacheVariables, to: CacheVariables) => {
    const name = `grow ${from.capacity} to ${to.capacity}`;
    return getOrCreate(growFunctions, name, () =>
      engine.jit(name, () => {
        const longer = (x: Tensor) => padTo(x, to.capacity);
        assign(
          to.layers,
          from.layers.map(({ keys, values }) => ({ keys: longer(keys), values: longer(values) })),
        );
        return {};
      }),
    );
  };

  const prefillFunction = (scores: PromptScores, into: CacheVariables | undefined) => {
    const name = `prefill ${scores} ${into === undefined ? '' : into.capacity}`;
    return getOrCreate(prefillFunctions, name, () =>
      engine.jit(name, (inputs: PrefillInputs) => prefillInto(into, scores, inputs)),
    );
  };

  const prefillInto = (
    into: CacheVariables | undefined,
    scores: PromptScores,
    inputs: PrefillInputs,
  ): PrefillResults => {
    const { rows, cache: fresh } = transformerRows(parameters, inputs.tokens, config);
    if (into !== undefined) {
      const placed = (old: Tensor, x: Tensor) =>
        tf.tensorScatterUpdate(
          old,
          tf.reshape(inputs.targets!, [-1, 1]),
          padTo(tf.gather(x, inputs.sources!), into.capacity),
        );
      assign(
        into.layers,
        into.layers.map(({ keys, values }, layer) => ({
          keys: placed(keys, fresh[layer]!.keys),
          values: placed(values, fresh[layer]!.values),
        })),
      );
    }
    if (scores === 'none') return { logits: outputLogits(parameters, tf.gather(rows, inputs.ends)) };
    const logits = outputLogits(parameters, rows);
    const logProbs = chosenLogProbs(logits, tf.reshape(inputs.next!, [-1]));
    return {
      logits: tf.gather(logits, inputs.ends),
      logProbs,
      ...(scores === 'all' ? { promptLogits: logits } : {}),
    };
  };

  return {
    slots,
    get capacity() {
      return cache.capacity;
    },
    async reserve(length, isEmpty) {
      if (!isEmpty && length <= cache.capacity) return;
      let capacity = Math.min(smallestCapacity, largestCapacity);
      while (capacity < length) capacity = Math.min(2 * capacity, largestCapacity);
      if (capacity === cache.capacity) return;
      const [from, to] = [cache, cacheOf(capacity)];
      cache = to;
      if (isEmpty) return;
      await growFunction(from, to).run({});
    },
    async prefill(prompts, targets, scores) {
      const P = rowBucket(prompts.length);
      const T = lengthBucket(Math.max(...prompts.map((prompt) => prompt.length)), contextLength);
      const [tokens, next] = [new Int32Array(P * T), new Int32Array(P * T)];
      const ends = new Int32Array(P);
      for (const [row, prompt] of prompts.entries()) {
        tokens.set(prompt, row * T);
        next.set(prompt.subarray(1), row * T);
        ends[row] = row * T + prompt.length - 1;
      }
      // Padding repeats the last target, which writes the same values twice.
      const n = targets.length === 0 ? 0 : rowBucket(targets.length);
      const target = (i: number) => targets[Math.min(i, targets.length - 1)]!;
      const into = n === 0 ? undefined : cache;
      const { logits, logProbs, promptLogits } = await prefillFunction(scores, into).run({
        tokens: { shape: [P, T], data: tokens },
        ends: { shape: [P], data: ends },
        ...(scores === 'none' ? {} : { next: { shape: [P, T], data: next } }),
        ...(n === 0
          ? {}
          : {
              targets: { shape: [n], data: Int32Array.from({ length: n }, (_, i) => target(i)[0]) },
              sources: { shape: [n], data: Int32Array.from({ length: n }, (_, i) => target(i)[1]) },
            }),
      });
      return prompts.map((prompt, row) => ({
        logits: logits.data.subarray(row * V, (row + 1) * V),
        ...(logProbs && { logProbs: logProbs.data.subarray(row * T, row * T + prompt.length - 1) }),
        ...(promptLogits && {
          promptLogits: promptLogits.data.subarray(row * T * V, (row * T + prompt.length - 1) * V),
        }),
      }));
    },
    async step(tokens, positions) {
      const { logits } = await stepFunction(cache).run({
        tokens: { shape: [slots], data: tokens },
        positions: { shape: [slots], data: positions },
      });
      return logits.data;
    },
  };
}

function assign(variables: CacheVariables['layers'], values: readonly LayerCache[]): void {
  for (const [layer, { keys, values: next }] of values.entries()) {
    variables[layer]!.keys.assign(keys);
    variables[layer]!.values.assign(next);
  }
}

/** Pads [n, K, T, d] with zeros at the end, or cuts it, to [n, K, C, d]. */
function padTo(x: Tensor, capacity: number): Tensor {
  const [n, K, T, d] = x.shape as [number, number, number, number];
  if (T >= capacity) return tf.slice(x, [0, 0, 0, 0], [n, K, capacity, d]);
  const after: [number, number][] = [
    [0, 0],
    [0, 0],
    [0, capacity - T],
    [0, 0],
  ];
  return tf.pad(x, after);
}
