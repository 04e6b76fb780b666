import { fillUniform, foldIn, type RandomKey } from '../core/random-keys.js';
import type { NamedHostTensors, NamedTensors, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { layerNorm } from './layer-norm.js';

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
  /**
   * Residual blocks with pre-layer-normalization in place of all of that, one for each entry of `hidden`, which must be equal (SimBa,
   * arXiv 2410.09754): x ← x + W₂·relu(W₁·LN(x)), 4·H units inside, and a layer normalization before the output.
   */
  readonly residual: boolean;
}

/** The inner width of a residual block, as a multiple of its outer width. */
const expansion = 4;

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
  const addNorm = (name: string) => {
    parameters[`${name}/scale`] = { shape: [first], data: new Float32Array(first).fill(1) };
    parameters[`${name}/offset`] = { shape: [first], data: new Float32Array(first) };
  };
  const addDense = (name: string, layer: ReturnType<typeof initDense>) => {
    parameters[`${name}/weight`] = layer.weight;
    parameters[`${name}/bias`] = layer.bias;
  };
  let width = first;
  if (settings.residual) {
    settings.hidden.forEach((_, i) => {
      addNorm(`block${i}/norm`);
      addDense(`block${i}/inner`, initDense(foldIn(key, `inner${i}`), width, expansion * width));
      addDense(`block${i}/outer`, initDense(foldIn(key, `outer${i}`), expansion * width, width));
    });
    addNorm('norm');
  } else {
    if (settings.layerNorm) addNorm('norm');
    deeper.forEach((units, i) => {
      addDense(`hidden${i + 1}`, initDense(foldIn(key, i + 1), width, units));
      width = units;
    });
  }
  const output = initDense(foldIn(key, 'output'), width, outputs, { scale: outputScale });
  addDense('output', output);
  return parameters;
}

function activate(x: Tensor, activation: MlpSettings['activation']): Tensor {
  if (activation === 'elu') return tf.elu(x);
  return activation === 'relu' ? tf.relu(x) : tf.tanh(x);
}

/** Computes the outputs [M, P] from the first layer's pre-activations [M, H]. */
export function applyTrunk(
  parameters: NamedTensors,
  preActivations: Tensor,
  settings: MlpSettings,
): Tensor2D {
  const dense = (name: string, x: Tensor): Tensor =>
    tf.add(tf.matMul(x, parameters[`${name}/weight`]), parameters[`${name}/bias`]);
  const norm = (name: string, x: Tensor): Tensor =>
    layerNorm(x, parameters[`${name}/scale`], parameters[`${name}/offset`]);
  let x: Tensor;
  if (settings.residual) {
    x = preActivations;
    for (let i = 0; i < settings.hidden.length; i++) {
      const inner = tf.relu(dense(`block${i}/inner`, norm(`block${i}/norm`, x)));
      x = tf.add(x, dense(`block${i}/outer`, inner));
    }
    x = norm('norm', x);
  } else {
    x = settings.layerNorm
      ? tf.tanh(norm('norm', preActivations))
      : activate(preActivations, settings.activation);
    for (let i = 1; i < settings.hidden.length; i++) {
      x = activate(dense(`hidden${i}`, x), settings.activation);
    }
  }
  return dense('output', x) as Tensor2D;
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
