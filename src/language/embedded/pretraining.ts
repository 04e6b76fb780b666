import { PmpoError } from '../../core/errors.js';
import { createAdam } from '../../engine/adam.js';
import type { Engine } from '../../engine/engine.js';
import { overParts } from '../../engine/parts.js';
import type { NamedHostTensors, NamedVariables, Scalar, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { outputLogits, type TransformerConfig, transformerRows } from '../../networks/transformer.js';
import { partsOf } from './parts.js';
import { chosenLogProbs } from './token-terms.js';

const lossName = 'loss';

/** Pretraining of a transformer on texts. Shapes: B texts of T + 1 tokens. */

export interface PretrainingBatch {
  /** [B, T + 1], row by row, padded on the right. */
  readonly tokens: Int32Array;
  /** The number of tokens of each text without padding, [B]; from 2 to T + 1. */
  readonly lengths: Int32Array;
}

export interface Pretraining {
  /**
   * Makes one step of Adam on the mean cross-entropy of the next token.
   * @returns the cross-entropy before the step, in nats per token.
   * @throws PmpoError when it is not finite.
   */
  step(batch: PretrainingBatch, learningRate: number): Promise<number>;
  parameters(): Promise<NamedHostTensors>;
}

/** Creates variables named `prefix/name`; returns them by the names in `values`. */
export function createVariables(engine: Engine, prefix: string, values: NamedHostTensors): NamedVariables {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, engine.variable(`${prefix}/${name}`, value)]),
  );
}

interface StepInputs {
  /** [B, T], int32; `next` is the token after each. */
  readonly tokens: Tensor2D;
  readonly next: Tensor2D;
  /** [B, T]: the share of each token in the loss, 0 for padding. */
  readonly weights: Tensor2D;
  readonly learningRate: Scalar;
}

/** Compiles forward pass, backward pass and Adam's step as one function. */
export function createPretraining(
  engine: Engine,
  config: TransformerConfig,
  initial: NamedHostTensors,
  { maxGradientNorm = 1, beta2 = 0.95 }: { readonly maxGradientNorm?: number; readonly beta2?: number } = {},
): Pretraining {
  const parameters = createVariables(engine, 'pretrained', initial);
  const names = Object.keys(parameters);
  const adam = createAdam(engine, 'pretraining', parameters, { learningRate: 1, beta2, maxGradientNorm });
  const step = engine.jit('pretrain', ({ tokens, next, weights, learningRate }: StepInputs) => {
    const { sums } = overParts({ tokens, next, weights }, partsOf(tokens.shape), (part) => {
      const { value, grads } = tf.variableGrads(
        () => {
          const { rows } = transformerRows(parameters, part.tokens, config);
          const logits = outputLogits(parameters, rows);
          const logProbs = chosenLogProbs(logits, tf.reshape(part.next, [-1]));
          return tf.neg(tf.sum<Scalar>(tf.mul(logProbs, tf.reshape(part.weights, [-1]))));
        },
        names.map((name) => parameters[name]!),
      );
      const gradients = names.map((name) => [name, grads[parameters[name]!.name]!] as const);
      return { sums: { ...Object.fromEntries(gradients), [lossName]: value }, rows: {} };
    });
    adam.apply(sums, learningRate);
    return { loss: sums[lossName] as Scalar };
  });
  return {
    async step({ tokens, lengths }, learningRate) {
      const B = lengths.length;
      const T = tokens.length / B - 1;
      const shape = [B, T];
      const [current, next] = [new Int32Array(B * T), new Int32Array(B * T)];
      const weights = new Float32Array(B * T);
      const predicted = lengths.reduce((sum, length) => sum + length - 1, 0);
      for (let b = 0; b < B; b++) {
        const row = tokens.subarray(b * (T + 1), (b + 1) * (T + 1));
        current.set(row.subarray(0, T), b * T);
        next.set(row.subarray(1), b * T);
        weights.fill(1 / predicted, b * T, b * T + lengths[b]! - 1);
      }
      const { loss } = await step.run({
        tokens: { shape, data: current },
        next: { shape, data: next },
        weights: { shape, data: weights },
        learningRate: { shape: [], data: Float32Array.of(learningRate) },
      });
      const nats = loss.data[0]!;
      if (!Number.isFinite(nats)) {
        throw new PmpoError({
          where: 'pretraining',
          what: `the cross-entropy became ${nats}`,
          remedy: 'Lower the learning rate',
        });
      }
      return nats;
    },
    async parameters() {
      const values = await engine.read(names.map((name) => parameters[name]!));
      return Object.fromEntries(names.map((name, i) => [name, values[i]!]));
    },
  };
}
