import { PmpoError } from '../../core/errors.js';
import { traceBackendName } from '../scope.js';
import * as tf from '../tf.js';
import { registerAlgebraKernels } from './kernels-algebra.js';
import { registerElementwiseKernels } from './kernels-elementwise.js';
import { registerFusedKernels } from './kernels-fused.js';
import { registerShapeKernels } from './kernels-shape.js';
import { type TracingBackend, tracingBackend } from './tracing-backend.js';

/** The tracing backend of this process, with all its kernels. */
export function preparedTracingBackend(): TracingBackend {
  return tracingBackend(() => {
    registerElementwiseKernels();
    registerAlgebraKernels();
    registerShapeKernels();
    registerFusedKernels();
    refuseOtherKernels();
  });
}

/** Makes every other kernel of TensorFlow.js throw an error that says that it cannot be traced. */
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
