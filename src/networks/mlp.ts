import { fillUniform, foldIn, type RandomKey } from '../core/random-keys.js';
import type { NamedHostTensors, NamedTensors, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';

/**
 * Multilayer perceptrons as pure functions of named parameters. Shapes: M rows, I inputs, H hidden units, P outputs.
 */

/** The architecture of a perceptron. */
export interface MlpSettings {
  /** The widths of the hidden layers. */
  readonly hidden: readonly number[];
  readonly activation: 'elu' | 'relu' | 'tanh';
  /** Layer normalization and tanh after the first layer, as in Acme's networks for control. */
  readonly layerNorm: boolean;
}

/** Initial weights [I, H] of a dense layer: uniform with variance scale² · 2 / (3·fanIn); and its bias [H], 0. */
export function initDense(
  key: RandomKey,
  inputs: number,
  outputs: number,
  { fanIn = inputs, scale = 1 }: { readonly fanIn?: number; readonly scale?: number } = {},
): { weight: { shape: number[]; data: Float32Array }; bias: { shape: number[]; data: Float32Array } } {
  const limit = scale * Math.sqrt(2 / fanIn);
  const weights = fillUniform(key, new Float32Array(inputs * outputs)).map((u) => (2 * u - 1) * limit);
  return {
    weight: { shape: [inputs, outputs], data: weights },
    bias: { shape: [outputs], data: new Float32Array(outputs) },
  };
}

/** Initial parameters of everything after the first dense layer: normalization, further hidden layers, output layer. */
export function initTrunk(
  key: RandomKey,
  outputs: number,
  settings: MlpSettings,
  outputScale: number,
): NamedHostTensors {
  const [first, ...deeper] = settings.hidden;
  const parameters: Record<string, { shape: number[]; data: Float32Array }> = {};
  if (settings.layerNorm) {
    parameters['norm/scale'] = { shape: [first], data: new Float32Array(first).fill(1) };
    parameters['norm/offset'] = { shape: [first], data: new Float32Array(first) };
  }
  let width = first;
  deeper.forEach((units, i) => {
    const layer = initDense(foldIn(key, i + 1), width, units);
    parameters[`hidden${i + 1}/weight`] = layer.weight;
    parameters[`hidden${i + 1}/bias`] = layer.bias;
    width = units;
  });
  const output = initDense(foldIn(key, 'output'), width, outputs, { scale: outputScale });
  parameters['output/weight'] = output.weight;
  parameters['output/bias'] = output.bias;
  return parameters;
}

function activate(x: Tensor, activation: MlpSettings['activation']): Tensor {
  if (activation === 'elu') return tf.elu(x);
  return activation === 'relu' ? tf.relu(x) : tf.tanh(x);
}

/** Layer normalization over the last axis (arXiv 1607.06450), then scale [H] and offset [H]: [.., H] → [.., H]. */
export function layerNorm(x: Tensor, scale: Tensor, offset: Tensor): Tensor {
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centered), -1, true);
  const normal = tf.mul(centered, tf.rsqrt(tf.add(variance, 1e-5)));
  return tf.add(tf.mul(normal, scale), offset);
}

/** Computes the outputs [M, P] from the first layer's pre-activations [M, H]. */
export function applyTrunk(
  parameters: NamedTensors,
  preActivations: Tensor,
  settings: MlpSettings,
): Tensor2D {
  let x: Tensor = settings.layerNorm
    ? tf.tanh(layerNorm(preActivations, parameters['norm/scale'], parameters['norm/offset']))
    : activate(preActivations, settings.activation);
  for (let i = 1; i < settings.hidden.length; i++) {
    const product = tf.matMul(x, parameters[`hidden${i}/weight`]);
    x = activate(tf.add(product, parameters[`hidden${i}/bias`]), settings.activation);
  }
  const product = tf.matMul(x, parameters['output/weight']);
  return tf.add(product, parameters['output/bias']);
}

/** Initial parameters of a perceptron from I inputs to P outputs; `outputScale` scales the weights of the last layer. */
export function initMlp(
  key: RandomKey,
  inputs: number,
  outputs: number,
  settings: MlpSettings,
  outputScale = 1,
): NamedHostTensors {
  const first = initDense(foldIn(key, 0), inputs, settings.hidden[0]);
  return {
    'hidden0/weight': first.weight,
    'hidden0/bias': first.bias,
    ...initTrunk(key, outputs, settings, outputScale),
  };
}

/** Applies a perceptron: [M, I] → [M, P]. */
export function applyMlp(parameters: NamedTensors, x: Tensor2D, settings: MlpSettings): Tensor2D {
  const preActivations = tf.add(tf.matMul(x, parameters['hidden0/weight']), parameters['hidden0/bias']);
  return applyTrunk(parameters, preActivations, settings);
}
