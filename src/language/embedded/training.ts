import { divergedError, PmpoError } from '../../core/errors.js';
import { getOrCreate } from '../../core/maps.js';
import { sizeOf } from '../../core/shape.js';
import { createAdam } from '../../engine/adam.js';
import type { Compiled, Engine } from '../../engine/engine.js';
import { overParts, type PartResults } from '../../engine/parts.js';
import type { HostResults, NamedTensors, NamedVariables, Scalar, Tensor2D } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { TransformerConfig } from '../../networks/transformer.js';
import type { ScoreParts, SequenceCoefficients, SequenceScore, TokenSequence } from '../trainable-model.js';
import { batchSequences, checkSequences, completionSpan, type SequenceBatch, spread } from './batches.js';
import { partsOf } from './parts.js';
import { type TokenTerms, tokenTerms } from './token-terms.js';

/** Training of a policy next to a fixed reference: scores, accumulated gradients and steps of Adam, as compiled functions. */

export interface Training {
  /** The accumulated gradient, and Adam's moments and step count: saved in checkpoints next to the parameters. */
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

/** [B, T] each, int32: tokens, and the token that follows each. */
interface TokenInputs {
  readonly tokens: Tensor2D;
  readonly next: Tensor2D;
}

/** The coefficient [B, T] of each token's terms in the loss; a coefficient for each part that is computed. */
type CoefficientInputs = TokenInputs & {
  readonly [Name in (typeof coefficientNames)[number] as `${Name}Coefficient`]?: Tensor2D;
};

/** The terms of each token, [B, T]. */
type TermRows = { readonly [Name in keyof TokenTerms]: Tensor2D };

/** `scale` multiplies the gradient before the optimizer sees it. */
interface StepInputs {
  readonly learningRate: Scalar;
  readonly scale: Scalar;
}

/**
 * @param sets the parameters of policy and reference: variables of `engine` with the same names and shapes.
 */
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
  // One compiled function for each set of parts.
  const scoreFunctions = new Map<string, Compiled<TokenInputs, TokenTerms>>();
  const gradientFunctions = new Map<string, Compiled<CoefficientInputs, TermRows>>();
  const nameOf = (kind: string, parts: ScoreParts) =>
    `${kind} ${partNames.filter((part) => parts[part] === true).join(' ')}`;

  const scoreFunction = (parts: ScoreParts): Compiled<TokenInputs, TokenTerms> => {
    const name = nameOf('score', parts);
    return getOrCreate(scoreFunctions, name, () =>
      engine.jit(name, ({ tokens, next }: TokenInputs) =>
        tokenTerms(policy, reference, tokens, next, parts, config),
      ),
    );
  };

  const gradientFunction = (parts: ScoreParts): Compiled<CoefficientInputs, TermRows> => {
    const name = nameOf('forward and backward', parts);
    return getOrCreate(gradientFunctions, name, () =>
      engine.jit(name, (inputs: CoefficientInputs) => accumulateGradient(parts, inputs)),
    );
  };

  const accumulateGradient = (parts: ScoreParts, inputs: CoefficientInputs): TermRows => {
    const { sums, rows } = overParts(inputs, partsOf(inputs.tokens.shape), (part) =>
      gradientsAndTerms(parts, part),
    );
    const flat = tf.concat1d(names.map((name) => tf.reshape(sums[name]!, [-1])));
    gradient.assign(tf.add(gradient, flat));
    return rows;
  };

  const gradientsAndTerms = (
    parts: ScoreParts,
    inputs: CoefficientInputs,
  ): PartResults<NamedTensors, TermRows> => {
    let terms: TokenTerms = {};
    const { grads } = tf.variableGrads(
      () => {
        terms = tokenTerms(policy, reference, inputs.tokens, inputs.next, parts, config);
        // The terms are results too, so they must survive the end of the forward pass.
        for (const term of Object.values(terms)) tf.keep(term);
        const weighted = coefficientNames.flatMap((name): Scalar[] => {
          const term = terms[name];
          if (term === undefined) return [];
          return [tf.sum(tf.mul(term, tf.reshape(inputs[`${name}Coefficient`]!, [-1])))];
        });
        return tf.addN(weighted);
      },
      names.map((name) => policy[name]!),
    );
    const results: { -readonly [Name in keyof TermRows]: TermRows[Name] } = {};
    for (const name of termNames) {
      const kept = terms[name];
      if (kept === undefined) continue;
      results[name] = tf.reshape(kept, inputs.tokens.shape);
      kept.dispose();
    }
    const gradients = names.map((name) => [name, grads[policy[name]!.name]!] as const);
    return { sums: Object.fromEntries(gradients), rows: results };
  };

  const norm = engine.jit('gradient norm', () => ({ norm: tf.sqrt(tf.sum(tf.square(gradient))) }));
  const step = engine.jit('optimizer step', ({ learningRate, scale }: StepInputs) => {
    const parts = tf.split(tf.mul(gradient, scale), sizes);
    const gradients = Object.fromEntries(
      names.map((name, i) => [name, tf.reshape(parts[i]!, policy[name]!.shape)]),
    );
    adam.apply(gradients, learningRate);
    gradient.assign(tf.zeros([total]));
    return {};
  });
  const clear = engine.jit('clear gradient', () => {
    gradient.assign(tf.zeros([total]));
    return {};
  });

  /** Calls `run` with every batch at once and returns the results of each sequence. */
  const collect = async (
    sequences: readonly TokenSequence[],
    run: (batch: SequenceBatch) => Promise<HostResults<TokenTerms>>,
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
            .map((name) => [name, results[b]![name]!.data.slice(from, to)]),
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
      const fn = scoreFunction(parts);
      return collect(sequences, (batch) => fn.run(inputsOf(batch)));
    },
    async forwardBackward(sequences, coefficients) {
      checkSequences(sequences, config);
      if (coefficients.length !== sequences.length) {
        throw new PmpoError({
          where: 'forwardBackward',
          what: `${coefficients.length} coefficients for ${sequences.length} sequences`,
          remedy: 'Give one for each sequence',
        });
      }
      const has = (name: 'kl' | 'reverseKl') => coefficients.some((given) => given[name] !== undefined);
      const parts = { policy: true, kl: has('kl'), reverseKl: has('reverseKl') };
      const batches = batchSequences(sequences, config.contextLength);
      // All coefficients are checked before anything is added to the gradient.
      const inputs = new Map(
        batches.map((batch) => [
          batch.members[0]!,
          Object.fromEntries(
            coefficientNames
              .filter((name) => name === 'logProb' || parts[name])
              .map((name) => {
                const factors = coefficients.map((given) => given[name]);
                requireFiniteCoefficients(name, factors);
                const data = spread(batch, sequences, factors);
                return [`${name}Coefficient`, { shape: [batch.rows, batch.positions], data }];
              }),
          ),
        ]),
      );
      const fn = gradientFunction(parts);
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
      const gradientNorm = (await norm.run({})).norm.data[0]!;
      if (!Number.isFinite(gradientNorm)) {
        await clear.run({});
        throw new PmpoError({
          where: 'optimStep',
          what: `the norm of the accumulated gradient is ${gradientNorm}: the step was skipped and the gradient discarded`,
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
    throw divergedError(`sequence ${i}, token ${bad} of its completion`, `${name} is ${score[name]![bad]}`);
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
      throw new PmpoError({
        where: `coefficients of sequence ${i}`,
        what: `the coefficient of ${name} is ${value}`,
      });
    }
  }
}
