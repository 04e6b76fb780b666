import { divergedError, PmpoError } from '../../core/errors.js';
import { mean, standardDeviation } from '../../core/statistics.js';
import type { SequenceScore, TokenSequence, TrainableModel } from '../../language/trainable-model.js';
import type { EvaluatedSample, LanguageBatch } from './batch.js';
import type { GradientInputs, OperatorGradient } from './operator-gradient.js';

/** What `updateModel` needs. Shapes: B contexts, N samples for each, T tokens. */
export interface UpdateOptions {
  readonly model: TrainableModel;
  readonly operatorGradient: OperatorGradient;
  /** N. A context may have fewer completions. */
  readonly samples: number;
  /** Lengths to which completions and prompts are padded for classifiers, in tokens. */
  readonly paddedTokens: { readonly prompt: number; readonly completion: number };
  readonly exactKl: boolean;
  /** Whether the operator reads KL(policy ‖ reference). */
  readonly reverseKl: boolean;
  /** Whether the operator reads log-ratios of mismatched prompts and completions. */
  readonly mismatched: boolean;
  /**
   * The share of its probability under the reference at which a rejected completion is pushed down no further.
   *
   * PMPO lowers the expectation of log π_θ over the rejected samples *of the reference*, and the KL holds it: at each token, the objective
   * is Σ_v (β·π_ref(v) − (1 − α)·π_ref(v)·1[v is rejected]) log π_θ(v), which is bounded for β ≥ 1 − α. A data set's completion is no draw
   * of the reference: its token y has the factor β·π_ref(y) − (1 − α), which is negative wherever π_ref(y) < (1 − α)/β, and without
   * a floor log π_θ(y) falls without end.
   */
  readonly rejectedFloor?: number;
  readonly maxGradientNorm: number;
}

/** A sample to learn from: its place in the [N, B] planes, and its tokens. */
interface PlacedSample {
  readonly n: number;
  readonly b: number;
  readonly sequence: TokenSequence;
  readonly completion: EvaluatedSample;
}

/** The samples of a batch that have an evaluation. */
function placedSamples(batch: LanguageBatch): PlacedSample[] {
  return batch.flatMap(({ prompt, completions }, b) =>
    completions.flatMap((completion, n) =>
      completion.evaluation === undefined
        ? []
        : [{ n, b, completion, sequence: { prompt: prompt.tokens, completion: completion.tokens } }],
    ),
  );
}

/**
 * Each sample's prompt with the completion of the next sample that has another prompt, cut to the model's context; undefined for all if
 * there is one prompt alone.
 */
function mismatchedSequences(
  present: readonly PlacedSample[],
  contextLength: number,
): readonly TokenSequence[] | undefined {
  const found = present.map(({ b, sequence: { prompt } }, i) => {
    const others = [...present.slice(i + 1), ...present.slice(0, i)];
    const other = others.find((one) => one.b !== b);
    if (other === undefined) return undefined;
    const room = Math.max(1, contextLength - prompt.length);
    return { prompt, completion: other.sequence.completion.subarray(0, room) };
  });
  const complete = found.filter((one) => one !== undefined);
  return complete.length === found.length ? complete : undefined;
}

/** log π_θ − log π_ref of mismatched prompts and completions, one for each sample; 0 if there is one prompt alone. */
async function mismatchedLogRatios(
  present: readonly PlacedSample[],
  model: TrainableModel,
  update: number,
): Promise<readonly number[]> {
  const sequences = mismatchedSequences(present, model.info.contextLength);
  if (sequences === undefined) return present.map(() => 0);
  const scores = await model.score(sequences, { policy: true, reference: true });
  return scores.map(({ logProb, referenceLogProb }, i) => {
    const one = { ...present[i], sequence: sequences[i] };
    const reference = checkedTotal(referenceLogProb, one, 'log-prob under the reference', update);
    return checkedTotal(logProb, one, 'log-prob', update) - reference;
  });
}

const total = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0);

/** The sum of a model's values over the tokens of a completion. @throws PmpoError when they do not fit or are not finite. */
function checkedTotal(
  values: Float32Array | undefined,
  { sequence, n, b }: PlacedSample,
  what: string,
  update: number,
): number {
  const where = `update ${update}, completion ${n} of context ${b}`;
  if (values === undefined) {
    throw new PmpoError({
      where,
      what: `the model returned no ${what}`,
      remedy: 'Use a trainer of the same version as pmpo',
    });
  }
  if (values.length !== sequence.completion.length) {
    throw new PmpoError({
      where,
      what: `the model returned ${what} for ${values.length} tokens of a completion of ${sequence.completion.length}`,
      remedy: 'Use a trainer of the same version as pmpo',
    });
  }
  const sum = total(values);
  if (!Number.isFinite(sum)) throw divergedError(where, `its ${what} is ${sum}`);
  return sum;
}

/** Tokens in rows of equal length, padded with 0, as float32. */
function padded(rows: readonly (Int32Array | undefined)[], length: number): Float32Array {
  const values = new Float32Array(rows.length * length);
  rows.forEach((row, i) => {
    row?.subarray(0, length).forEach((token, t) => {
      values[i * length + t] = token;
    });
  });
  return values;
}

/** The inputs of the operator's gradient. Cells without a sample are 0 in all planes. */
function gradientInputs(
  batch: LanguageBatch,
  present: readonly PlacedSample[],
  scores: readonly SequenceScore[],
  mismatched: readonly number[] | undefined,
  { samples, paddedTokens, exactKl, reverseKl: wantsReverse }: UpdateOptions,
  update: number,
): GradientInputs {
  const b = batch.length;
  const plane = () => new Float32Array(samples * b);
  const [logProb, referenceLogProb, evaluation] = [plane(), plane(), plane()];
  const [mask, length, mismatchedLogRatio] = [plane(), plane(), plane()];
  const [kl, reverseKl] = [new Float32Array(b), new Float32Array(b)];
  const counts = countsOf(present, b);
  present.forEach((sample, i) => {
    const at = sample.n * b + sample.b;
    logProb[at] = checkedTotal(scores[i].logProb, sample, 'log-prob', update);
    referenceLogProb[at] = checkedTotal(
      scores[i].referenceLogProb,
      sample,
      'log-prob under the reference',
      update,
    );
    evaluation[at] = sample.completion.evaluation!;
    mask[at] = 1;
    length[at] = sample.completion.tokens.length;
    mismatchedLogRatio[at] = mismatched?.[i] ?? 0;
    const count = counts[sample.b];
    if (exactKl) kl[sample.b] += checkedTotal(scores[i].kl, sample, 'KL to the reference', update) / count;
    if (wantsReverse) {
      const sum = checkedTotal(scores[i].reverseKl, sample, 'KL from the reference', update);
      reverseKl[sample.b] += sum / count;
    }
  });
  const at = (n: number, c: number) => batch[c].completions[n];
  const cells = Array.from({ length: samples * b }, (_, i) => at(Math.floor(i / b), i % b));
  return {
    samplesPerContext: samples,
    contexts: b,
    logProb,
    referenceLogProb,
    kl,
    reverseKl,
    evaluation,
    mask,
    length,
    mismatchedLogRatio,
    sampleValues: padded(
      cells.map((cell) => cell?.tokens),
      paddedTokens.completion,
    ),
    sampleShape: [samples, b, paddedTokens.completion],
    contextValues: padded(
      batch.map(({ prompt }) => prompt.tokens),
      paddedTokens.prompt,
    ),
    contextShape: [b, paddedTokens.prompt],
    contextTexts: batch.map(({ prompt }) => prompt.text),
    sampleTexts: cells.map((cell) => cell?.text ?? ''),
  };
}

function countsOf(present: readonly PlacedSample[], contexts: number): number[] {
  const counts = new Array<number>(contexts).fill(0);
  for (const { b } of present) counts[b] += 1;
  return counts;
}

/** Metrics of a batch. */
function batchMetrics(
  batch: LanguageBatch,
  present: readonly PlacedSample[],
  scores: readonly SequenceScore[],
) {
  const all = batch.flatMap(({ completions }) => completions);
  const values = present.map(({ completion }) => completion.evaluation!);
  const differences = present.flatMap(({ completion }, i) => {
    const sampled = completion.samplerLogProbs;
    const reference = scores[i].referenceLogProb!;
    if (sampled === undefined) return [];
    return [mean(Array.from(sampled, (value, t) => Math.abs(value - reference[t])))];
  });
  return {
    'acting/reward': mean(values),
    'acting/stdReward': standardDeviation(values),
    'completion/tokens': mean(all.map(({ tokens }) => tokens.length)),
    'completion/cutRate': all.filter(({ finishReason }) => finishReason === 'length').length / all.length,
    'completion/judgedRate': present.length / all.length,
    // This is large if the sampler's weights, or its arithmetic, differ from the reference's.
    ...(differences.length === 0 ? {} : { 'sampler/logProbDifference': mean(differences) }),
  };
}

/**
 * Makes one update of the model from a batch: scores its completions, classifies them, takes the gradient of the operator's
 * loss, and applies it to the model.
 * @param update its number, from 0.
 * @returns metrics.
 * @throws PmpoError when no completion of the batch has an evaluation, or a number is not finite. The model is then unchanged.
 */
export async function updateModel(
  batch: LanguageBatch,
  update: number,
  learningRate: number,
  options: UpdateOptions,
): Promise<Record<string, number>> {
  const { model, operatorGradient, exactKl, reverseKl: wantsReverse, maxGradientNorm } = options;
  const present = placedSamples(batch);
  if (present.length === 0) {
    throw new PmpoError({ where: `update ${update}`, what: 'no completion of the batch could be evaluated' });
  }
  const sequences = present.map(({ sequence }) => sequence);
  const scores = await model.score(sequences, {
    policy: true,
    reference: true,
    kl: exactKl,
    reverseKl: wantsReverse,
  });
  const mismatched = options.mismatched ? await mismatchedLogRatios(present, model, update) : undefined;
  const inputs = gradientInputs(batch, present, scores, mismatched, options, update);
  const gradient = await operatorGradient.run(inputs, update);
  const counts = countsOf(present, batch.length);
  const weighted = present.flatMap(({ n, b, sequence }) => {
    const at = n * batch.length + b;
    const logRatio = inputs.logProb[at] - inputs.referenceLogProb[at];
    // A loss that grows with a log-prob rejects the completion.
    const isAtFloor = gradient.logProb[at] > 0 && logRatio <= Math.log(options.rejectedFloor ?? 0);
    const logProb = isAtFloor ? 0 : gradient.logProb[at];
    const kl = exactKl ? gradient.kl[b] / counts[b] : 0;
    const reverseKl = wantsReverse ? gradient.reverseKl[b] / counts[b] : 0;
    if (logProb === 0 && kl === 0 && reverseKl === 0) return [];
    // A KL coefficient of 0 is left out, because the model would compute the reference for it.
    const coefficients = {
      logProb,
      ...(kl === 0 ? {} : { kl }),
      ...(reverseKl === 0 ? {} : { reverseKl }),
    };
    return [{ sequence, coefficients }];
  });
  let gradientNorm = 0;
  if (weighted.length > 0) {
    await model.forwardBackward(
      weighted.map(({ sequence }) => sequence),
      weighted.map(({ coefficients }) => coefficients),
    );
    ({ gradientNorm } = await model.optimStep({ learningRate, maxGradientNorm }));
  }
  return {
    // Also of an operator that does not read it.
    ...(exactKl ? { 'policy/kl': mean([...inputs.kl]) } : {}),
    ...gradient.metrics,
    ...batchMetrics(batch, present, scores),
    'policy/gradientNorm': gradientNorm,
  };
}
