import { foldIn, type RandomKey } from '../core/random-keys.js';
import type { NamedHostTensors, NamedTensors, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { applyTrunk, initDense, initTrunk, type MlpSettings } from './mlp.js';

/**
 * Q(x, y): a perceptron of an observation and an action. Its first layer has one weight matrix for each of them, so that the N
 * samples of a context share the product with the observation. Shapes: N samples, B contexts, O observation size, A action
 * dimensions.
 */

/** Initial parameters of a critic. */
export function initCritic(
  key: RandomKey,
  observationSize: number,
  actionSize: number,
  settings: MlpSettings,
): NamedHostTensors {
  const fanIn = observationSize + actionSize;
  const width = settings.hidden[0];
  const observation = initDense(foldIn(key, 'observation'), observationSize, width, { fanIn });
  const action = initDense(foldIn(key, 'action'), actionSize, width, { fanIn });
  return {
    'observation/weight': observation.weight,
    'action/weight': action.weight,
    'hidden0/bias': observation.bias,
    ...initTrunk(key, 1, settings, 1),
  };
}

/** Values [N, B] of canonical actions [N, B, A], clipped to their bounds, at observations [B, O]. */
export function applyCritic(
  parameters: NamedTensors,
  observations: Tensor2D,
  actions: Tensor3D,
  settings: MlpSettings,
): Tensor2D {
  const [samples, contexts, actionSize] = actions.shape;
  const width = settings.hidden[0];
  const ofObservation = tf.add(
    tf.matMul(observations, parameters['observation/weight']),
    parameters['hidden0/bias'],
  );
  const flat = tf.reshape(tf.clipByValue(actions, -1, 1), [samples * contexts, actionSize]);
  const ofAction = tf.matMul(flat, parameters['action/weight']);
  const preActivations =
    samples === 1
      ? tf.add(ofObservation, ofAction)
      : tf.reshape(tf.add(tf.reshape(ofAction, [samples, contexts, width]), ofObservation), [
          samples * contexts,
          width,
        ]);
  return tf.reshape(applyTrunk(parameters, preActivations, settings), [samples, contexts]);
}
