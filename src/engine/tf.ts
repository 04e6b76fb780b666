/** TensorFlow.js as this package uses it: tfjs-core with its CPU backend, every gradient, and the methods of tensors. */
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import './tfjs-registrations.js';

export * from '@tensorflow/tfjs-core';

// Keeps the CPU backend from recommending a faster package when it is first used: `pmpo doctor` lists the engines that work
// here. TensorFlow.js's production mode would do this too, but it silences every other warning as well. The property is on
// the prototype because TensorFlow.js may make the backend anew when it chooses one.
Object.defineProperty(MathBackendCPU.prototype, 'firstUse', { get: () => false, set: () => {} });
