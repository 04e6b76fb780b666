/** TensorFlow.js as this package uses it: tfjs-core with its CPU backend, every gradient, and the methods of tensors. */
import { createRequire } from 'node:module';
import './tfjs-registrations.js';

export * from './tfjs-core.js';

// As with tfjs-core.js, `require` saves Node reading the CommonJS for its names.
const { MathBackendCPU } = createRequire(import.meta.url)(
  '@tensorflow/tfjs-backend-cpu',
) as typeof import('@tensorflow/tfjs-backend-cpu');

// Keeps the CPU backend from recommending a faster package when it is first used: `pmpo doctor` lists the engines that work
// here. TensorFlow.js's production mode would do this too, but it silences every other warning as well. The property is on
// the prototype because TensorFlow.js may make the backend anew when it chooses one.
Object.defineProperty(MathBackendCPU.prototype, 'firstUse', { get: () => false, set: () => {} });
