import { PmpoError } from '../../core/errors.js';
import { sizeOf } from '../../core/shape.js';
import { createAdam } from '../../engine/adam.js';
import type { Compiled, Engine } from '../../engine/engine.js';
import type {
  NamedHostTensors,
  NamedTensors,
  NamedVariables,
  Scalar,
  Tensor2D,
} from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { TransformerConfig } from '../../networks/transformer.js';
import type { ScoreParts, SequenceCoefficients, SequenceScore, TokenSequence } from '../trainable-model.js';
import { batchSequences, checkSequences, completionSpan, type SequenceBatch, spread } from './batches.js';
import { tokenTerms } from './terms.js';

/** Scores, accumulated gradients and Adam's steps of a policy beside its reference, as compiled functions. */

export interface Training {
  /** Adam's moments and step, and the accumulated gradient: what a checkpoint holds besides the parameters. */
  readonly slots: NamedVariables;
  score(sequences: readonly TokenSequence[], parts: ScoreParts): Promise<SequenceScore[]>;
  forwardBackward(
    sequences: readonly TokenSequence[],
    coefficients: readonly SequenceCoefficients[],
  ): Promise<SequenceScore[]>;
  optimStep(learningRate: number, maxGradientNorm?: number): Promise<{ readonly gradientNorm: number }>;
}

const termNames = ['logProb', 'referenceLogProb', 'kl', 'reverseKl'] as const;
const partNames = ['policy', 'reference', 'kl', 'reverseKl'] as const;
const coefficientNames = ['logProb', 'kl', 'reverseKl'] as const;

/** @param sets the parameters of the two, of the same names and shapes, variables of `engine`. */
export function createTraining(
  engine: Engine,
  config: TransformerConfig,
  { policy, reference }: { readonly policy: NamedVariables; readonly reference: NamedVariables },
): Training {
  const names = Object.keys(policy);
  const sizes = names.map((name) => sizeOf(policy[name]!.shape));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const gradient = engine.variable('gradient', { shape: [total], data: new Float32Array(total) });
  const adam = createAdam(engine, 'adam', policy, { learningRate: 1 });
  const compiled = new Map<string, Compiled>();
  const compile = (kind: string, parts: ScoreParts, make: () => Parameters<Engine['jit']>[1]): Compiled => {
    const name = `${kind} ${partNames.filter((part) => parts[part] === true).join(' ')}`;
    const known = compiled.get(name) ?? engine.jit(name, make());
    compiled.set(name, known);
    return known;
  };

  const scored = (parts: ScoreParts) => (inputs: NamedTensors) => ({
    ...tokenTerms(policy, reference, inputs.tokens as Tensor2D, inputs.next as Tensor2D, parts, config),
  });

  const differentiated = (parts: ScoreParts) => (inputs: NamedTensors) => {
    const terms: Record<string, tf.Tensor> = {};
    const { grads } = tf.variableGrads(
      () => {
        const { tokens, next } = inputs;
        Object.assign(
          terms,
          tokenTerms(policy, reference, tokens as Tensor2D, next as Tensor2D, parts, config),
        );
        // They outlive the forward pass, which ends with this function.
        for (const term of Object.values(terms)) tf.keep(term);
        const weighted = coefficientNames
          .filter((name) => terms[name] !== undefined)
          .map((name) => tf.sum(tf.mul(terms[name]!, tf.reshape(inputs[`${name}Coefficient`]!, [-1]))));
        return tf.addN(weighted) as Scalar;
      },
      names.map((name) => policy[name]!),
    );
    const flat = tf.concat1d(names.map((name) => tf.reshape(grads[policy[name]!.name]!, [-1])));
    gradient.assign(tf.add(gradient, flat));
    return Object.fromEntries(
      Object.entries(terms).map(([name, kept]) => {
        const result = tf.clone(kept);
        kept.dispose();
        return [name, result];
      }),
    );
  };

  const norm = engine.jit('gradient norm', () => ({ norm: tf.sqrt(tf.sum(tf.square(gradient))) }));
  const step = engine.jit('optimizer step', ({ learningRate, scale }) => {
    const parts = tf.split(tf.mul(gradient, scale!), sizes);
    const gradients = Object.fromEntries(
      names.map((name, i) => [name, tf.reshape(parts[i]!, policy[name]!.shape)]),
    );
    adam.apply(gradients, learningRate as Scalar);
    gradient.assign(tf.zeros([total]));
    return {};
  });
  const clear = engine.jit('clear gradient', () => {
    gradient.assign(tf.zeros([total]));
    return {};
  });

  /** Every batch through `run`, all at once under way; its results cut to the sequences. */
  const collect = async (
    sequences: readonly TokenSequence[],
    run: (batch: SequenceBatch) => Promise<NamedHostTensors>,
  ): Promise<SequenceScore[]> => {
    const batches = batchSequences(sequences, config.contextLength);
    const results = await Promise.all(batches.map(run));
    const scores: SequenceScore[] = sequences.map(() => ({}));
    for (const [b, batch] of batches.entries()) {
      for (const [row, i] of batch.members.entries()) {
        const [from, to] = completionSpan(batch, row, sequences[i]!);
        scores[i] = Object.fromEntries(
          termNames
            .filter((name) => results[b]![name] !== undefined)
            .map((name) => [name, (results[b]![name]!.data as Float32Array).slice(from, to)]),
        );
        requireFinite(i, scores[i]!);
      }
    }
    return scores;
  };
  const inputsOf = ({ rows, positions, tokens, next }: SequenceBatch) => ({
    tokens: { shape: [rows, positions], data: tokens },
    next: { shape: [rows, positions], data: next },
  });

  return {
    slots: { gradient, ...adam.slots },
    async score(sequences, parts) {
      checkSequences(sequences, config);
      if (!partNames.some((part) => parts[part] === true)) return sequences.map(() => ({}));
      const fn = compile('score', parts, () => scored(parts));
      return collect(sequences, (batch) => fn.run(inputsOf(batch)));
    },
    async forwardBackward(sequences, coefficients) {
      checkSequences(sequences, config);
      if (coefficients.length !== sequences.length) {
        throw new PmpoError({
          where: 'forwardBackward',
          what: `${coefficients.length} coefficients for ${sequences.length} sequences`,
          remedy: 'Give one for each',
        });
      }
      const has = (name: 'kl' | 'reverseKl') => coefficients.some((of) => of[name] !== undefined);
      const parts = { policy: true, kl: has('kl'), reverseKl: has('reverseKl') };
      const batches = batchSequences(sequences, config.contextLength);
      // Everything is looked at before anything is added to the gradient.
      const inputs = new Map(
        batches.map((batch) => [
          batch.members[0]!,
          Object.fromEntries(
            coefficientNames
              .filter((name) => name === 'logProb' || parts[name])
              .map((name) => {
                const factors = coefficients.map((of) => of[name]);
                requireFiniteCoefficients(name, factors);
                const data = spread(batch, sequences, factors);
                return [`${name}Coefficient`, { shape: [batch.rows, batch.positions], data }];
              }),
          ),
        ]),
      );
      const fn = compile('forward and backward', parts, () => differentiated(parts));
      return collect(sequences, (batch) => fn.run({ ...inputsOf(batch), ...inputs.get(batch.members[0]!)! }));
    },
    async optimStep(learningRate, maxGradientNorm) {
      if (!(learningRate >= 0 && learningRate < Infinity)) {
        throw new PmpoError({
          where: 'optimStep',
          what: `the learning rate is ${learningRate}`,
          remedy: 'Give 0 or more',
        });
      }
      const gradientNorm = (await norm.run({})).norm!.data[0]!;
      if (!Number.isFinite(gradientNorm)) {
        await clear.run({});
        throw new PmpoError({
          where: 'optimStep',
          what: `the norm of the accumulated gradient is ${gradientNorm}: the step was not made and the gradient dropped`,
          remedy: 'Lower the learning rate or the coefficients',
        });
      }
      const scale =
        maxGradientNorm === undefined ? 1 : maxGradientNorm / Math.max(gradientNorm, maxGradientNorm);
      await step.run({
        learningRate: { shape: [], data: Float32Array.of(learningRate) },
        scale: { shape: [], data: Float32Array.of(scale) },
      });
      return { gradientNorm };
    },
  };
}

function requireFinite(i: number, score: SequenceScore): void {
  for (const name of termNames) {
    const bad = score[name]?.findIndex((value) => !Number.isFinite(value)) ?? -1;
    if (bad < 0) continue;
    throw new PmpoError({
      where: `sequence ${i}, token ${bad} of its completion`,
      what: `${name} is ${score[name]![bad]}`,
      remedy: 'The parameters have diverged: lower the learning rate, or raise the weight of the KL',
    });
  }
}

function requireFiniteCoefficients(
  name: string,
  factors: readonly (number | Float32Array | undefined)[],
): void {
  for (const [i, factor] of factors.entries()) {
    if (factor === undefined) continue;
    const values = typeof factor === 'number' ? [factor] : factor;
    for (const value of values) {
      if (Number.isFinite(value)) continue;
      throw new PmpoError({ where: `coefficients of sequence ${i}`, what: `that of ${name} is ${value}` });
    }
  }
}
