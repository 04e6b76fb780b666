import { foldIn, type RandomKey } from '../core/random-keys.js';
import type {
  NamedHostTensors,
  NamedTensors,
  Scalar,
  Tensor1D,
  Tensor2D,
  Tensor3D,
} from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { applyTrunk, initDense, initTrunk, type MlpSettings } from './mlp.js';
import {
  crossEntropy,
  expectedValue,
  histogramLogits,
  histogramOutputs,
  targetHistograms,
} from './value-distribution.js';

/**
 * Q(x, y): a perceptron of an observation and an action. Its first layer has one weight matrix for each of them, so that the N
 * samples of a context share the product with the observation. Shapes: N samples, B contexts, O observation size, A action
 * dimensions, H units of the first layer, P outputs: 1, or one more than bins.
 */

/** The architecture of a critic. */
export interface CriticSettings extends MlpSettings {
  /** What it says: the value as one number, or a histogram of it (value-distribution.ts). */
  readonly head: 'scalar' | 'categorical';
  /** Bins of the histogram. */
  readonly bins: number;
}

/** Initial parameters of a critic. */
export function initCritic(
  key: RandomKey,
  observationSize: number,
  actionSize: number,
  settings: CriticSettings,
): NamedHostTensors {
  const fanIn = observationSize + actionSize;
  const width = settings.hidden[0];
  const observation = initDense(foldIn(key, 'observation'), observationSize, width, { fanIn });
  const action = initDense(foldIn(key, 'action'), actionSize, width, { fanIn });
  return {
    'observation/weight': observation.weight,
    'action/weight': action.weight,
    'hidden0/bias': observation.bias,
    // All outputs of a histogram start at 0, as in DreamerV3 (arXiv 2301.04104), and so does its mean.
    ...(settings.head === 'scalar'
      ? initTrunk(key, 1, settings, 1)
      : initTrunk(key, histogramOutputs(settings.bins), settings, 0)),
  };
}

/**
 * The most numbers in one activation of a block of samples, 1 MiB of them: what follows a layer then finds its numbers in the cache. In
 * blocks of 4 samples of 256 contexts and 256 units, 20 samples take three quarters of the time that they take at once.
 */
const maxBlockSize = 2 ** 18;

/** How many samples each block has: as equal as can be, and no more than fit. */
function blocksOf(samples: number, sampleSize: number): number[] {
  const most = Math.max(1, Math.floor(maxBlockSize / sampleSize));
  const count = Math.ceil(samples / most);
  return Array.from(
    { length: count },
    (_, i) => Math.floor(((i + 1) * samples) / count) - Math.floor((i * samples) / count),
  );
}

/**
 * Outputs [N, B, P] for canonical actions [N, B, A], clipped to their bounds, at observations [B, O]. Samples are evaluated in blocks; the
 * outputs of a sample do not depend on the others, except for rounding errors.
 */
export function criticOutputs(
  parameters: NamedTensors,
  observations: Tensor2D,
  actions: Tensor3D,
  settings: CriticSettings,
): Tensor3D {
  const [samples, contexts] = actions.shape;
  const ofObservation: Tensor2D = tf.add(
    tf.matMul(observations, parameters['observation/weight']),
    parameters['hidden0/bias'],
  );
  const blocks = blocksOf(samples, contexts * settings.hidden[0]);
  if (blocks.length <= 1) return blockOutputs(parameters, ofObservation, actions, settings);
  const outputs = tf
    .split<Tensor3D>(actions, blocks, 0)
    .map((block) => blockOutputs(parameters, ofObservation, block, settings));
  return tf.concat(outputs, 0);
}

/** Outputs for a block of samples, given the part of the first layer that depends on the observation, [B, H]. */
function blockOutputs(
  parameters: NamedTensors,
  ofObservation: Tensor2D,
  actions: Tensor3D,
  settings: CriticSettings,
): Tensor3D {
  const [samples, contexts, actionSize] = actions.shape;
  const width = settings.hidden[0];
  const flat = tf.reshape(tf.clipByValue(actions, -1, 1), [samples * contexts, actionSize]);
  const ofAction = tf.matMul(flat, parameters['action/weight']);
  const preActivations =
    samples === 1
      ? tf.add(ofObservation, ofAction)
      : tf.reshape(tf.add(tf.reshape(ofAction, [samples, contexts, width]), ofObservation), [
          samples * contexts,
          width,
        ]);
  return tf.reshape(applyTrunk(parameters, preActivations, settings), [samples, contexts, -1]);
}

/** The values [N, B] of outputs [N, B, P]. */
export function criticValues(outputs: Tensor3D, { head }: Pick<CriticSettings, 'head'>): Tensor2D {
  return head === 'scalar' ? tf.squeeze(outputs, [2]) : (expectedValue(histogramLogits(outputs)) as Tensor2D);
}

/** Values [N, B] of actions [N, B, A] at observations [B, O]. */
export function applyCritic(
  parameters: NamedTensors,
  observations: Tensor2D,
  actions: Tensor3D,
  settings: CriticSettings,
): Tensor2D {
  return criticValues(criticOutputs(parameters, observations, actions, settings), settings);
}

/** The loss of outputs [1, B, P] for targets [B], averaged over the contexts: the squared error, or the cross-entropy of histograms. */
export function criticLoss(
  outputs: Tensor3D,
  targets: Tensor1D,
  { head, bins }: Pick<CriticSettings, 'head' | 'bins'>,
): Scalar {
  const own = tf.squeeze(outputs, [0]) as Tensor2D;
  if (head === 'categorical') {
    return crossEntropy(targetHistograms(targets, bins), histogramLogits(own) as Tensor2D);
  }
  return tf.mean(tf.squaredDifference(tf.squeeze(own, [1]), targets));
}
