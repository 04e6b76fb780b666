/**
 * `pmpo/engine`: TensorFlow.js, and engines that compile its functions. A function is traced once for each shape of its inputs
 * and runs as one graph from then on, several times faster than operation by operation.
 *
 *     const engine = await createEngine('auto');
 *     const weight = engine.variable('weight', { shape: [3, 1], data: new Float32Array(3) });
 *     const predict = engine.jit('predict', ({ x }: { x: Tensor2D }) => ({ y: tf.matMul(x, weight) }));
 *     const { y } = await predict.run({ x: { shape: [2, 3], data: new Float32Array(6) } });
 *     await engine.dispose();
 *
 * `tf` must be imported from here: another copy of TensorFlow.js has other variables and other backends.
 */

export { type Adam, type AdamOptions, createAdam } from './adam.js';
export { createEngine, type EngineOptions } from './create.js';
export { type ValueWithGradient, withCustomGradient } from './custom-gradient.js';
export { detectEngines, type EngineReport } from './detect.js';
export { type Compiled, type Engine, type EngineName, engineNames } from './engine.js';
export { int32Result } from './host-tensors.js';
export type {
  HostInputs,
  HostResults,
  HostTensor,
  InputShapes,
  Int32Tensor,
  NamedHostTensors,
  NamedTensors,
  NamedVariables,
  Scalar,
  Tensor,
  Tensor1D,
  Tensor2D,
  Tensor3D,
  TensorFields,
  Variable,
} from './tensors.js';
export * as tf from './tf.js';
export { copyVariables, moveTowards } from './variables.js';
