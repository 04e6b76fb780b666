/** The one door to TensorFlow.js: its functions, with every gradient registered. */
// The union package registers the gradients; nothing else of it is used.
import '@tensorflow/tfjs';

export * from '@tensorflow/tfjs-core';
