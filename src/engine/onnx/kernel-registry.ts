import { PmpoError } from '../../core/errors.js';
import { traceBackendName } from '../scope.js';
import * as tf from '../tf.js';
import { registerAlgebraKernels } from './kernels-algebra.js';
import { registerElementwiseKernels } from './kernels-elementwise.js';
import { registerShapeKernels } from './kernels-shape.js';
import { type TracingBackend, tracingBackend } from './tracing-backend.js';

/** The process' tracing backend with all its kernels. */
export function preparedTracingBackend(): TracingBackend {
  return tracingBackend(() => {
    registerElementwiseKernels();
    registerAlgebraKernels();
    registerShapeKernels();
    refuseOtherKernels();
  });
}

/** Gives every kernel of TensorFlow.js that cannot be traced an error that says so, in place of an internal one. */
function refuseOtherKernels(): void {
  for (const { kernelName } of tf.getKernelsForBackend('cpu')) {
    if (tf.getKernel(kernelName, traceBackendName) !== undefined) continue;
    tf.registerKernel({
      kernelName,
      backendName: traceBackendName,
      kernelFunc: ({ backend }) => {
        throw new PmpoError({
          where: `kernel ${kernelName} in '${(backend as TracingBackend).functionName}'`,
          what: 'cannot be traced by the onnx engine',
          remedy: "Write it with other operations, or choose the engine 'wasm' or 'cpu'",
        });
      },
    });
  }
}
