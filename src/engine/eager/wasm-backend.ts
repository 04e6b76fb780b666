import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import { PmpoError } from '../../core/errors.js';
import * as tf from '../tf.js';

type Kernel = NonNullable<ReturnType<typeof tf.getKernel>>;
type KernelArguments = Parameters<Kernel['kernelFunc']>[0];
type TensorInfo = tf.TensorInfo;

let ready: Promise<void> | undefined;

/**
 * Loads TensorFlow.js' WebAssembly backend with two changes: products of transposed matrices transpose them explicitly (its own
 * loop for such products is ten times slower), and kernels that it lacks run on the backend `cpu`.
 */
export function prepareWasm(): Promise<void> {
  ready ??= load();
  return ready;
}

async function load(): Promise<void> {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(dirname(main) + sep);
  if (!(await tf.setBackend('wasm'))) {
    throw new PmpoError({
      where: 'engine wasm',
      what: "TensorFlow.js' WebAssembly backend did not start",
      remedy: "Choose another engine: `npx pmpo doctor` lists those that work here; 'cpu' always does",
    });
  }
  makeTransposesExplicit();
  borrowMissingKernels();
}

function kernel(name: string): Kernel {
  const found = tf.getKernel(name, 'wasm');
  if (found === undefined) throw new Error(`TensorFlow.js' wasm backend has no ${name}`);
  return found;
}

function replaceKernel(config: Kernel): void {
  tf.unregisterKernel(config.kernelName, config.backendName);
  tf.registerKernel(config);
}

function makeTransposesExplicit(): void {
  const product = kernel('BatchMatMul');
  const transpose = kernel('Transpose');
  const plain = ({ inputs, backend, attrs }: KernelArguments): TensorInfo => {
    const made: TensorInfo[] = [];
    const untransposed = (x: TensorInfo, isTransposed: unknown): TensorInfo => {
      if (isTransposed !== true) return x;
      const axes = x.shape.map((_, axis) => axis);
      axes.push(...axes.splice(-2).reverse());
      const transposed = transpose.kernelFunc({
        inputs: { x },
        backend,
        attrs: { perm: axes },
      }) as TensorInfo;
      made.push(transposed);
      return transposed;
    };
    const a = untransposed(inputs.a as TensorInfo, attrs?.transposeA);
    const b = untransposed(inputs.b as TensorInfo, attrs?.transposeB);
    const result = product.kernelFunc({
      inputs: { a, b },
      backend,
      attrs: { transposeA: false, transposeB: false },
    });
    for (const { dataId } of made) (backend as tf.KernelBackend).disposeData(dataId);
    return result as TensorInfo;
  };
  replaceKernel({ ...product, kernelFunc: plain });
}

function borrowMissingKernels(): void {
  const cpu = tf.findBackend('cpu') as tf.KernelBackend;
  for (const config of tf.getKernelsForBackend('cpu')) {
    if (tf.getKernel(config.kernelName, 'wasm') !== undefined) continue;
    tf.registerKernel({
      kernelName: config.kernelName,
      backendName: 'wasm',
      kernelFunc: ({ inputs, backend, attrs }) => {
        const wasm = backend as tf.KernelBackend;
        const moved: TensorInfo[] = [];
        const move = (info: TensorInfo): TensorInfo => {
          const { shape, dtype, dataId } = info;
          const copy = { shape, dtype, dataId: cpu.write(wasm.readSync(dataId), shape, dtype) };
          moved.push(copy);
          return copy;
        };
        const result = config.kernelFunc({
          inputs: Object.fromEntries(
            Object.entries(inputs).map(([key, value]) => [key, value && move(value as TensorInfo)]),
          ),
          backend: cpu,
          attrs,
        });
        const back = ({ shape, dtype, dataId }: TensorInfo): TensorInfo => {
          // A kernel may return its input; a copy keeps the reference counts of the two backends independent.
          const values = cpu.readSync(dataId).slice() as tf.BackendValues;
          return { shape, dtype, dataId: wasm.write(values, shape, dtype) };
        };
        const results = Array.isArray(result) ? result.map(back) : back(result);
        for (const info of [...moved, ...(Array.isArray(result) ? result : [result])])
          cpu.disposeData(info.dataId);
        return results;
      },
    });
  }
}
