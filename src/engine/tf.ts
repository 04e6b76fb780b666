/** The one door to TensorFlow.js: its functions, with every gradient registered. */
// The union package registers the gradients; nothing else of it is used.
import '@tensorflow/tfjs';
import { findBackend } from '@tensorflow/tfjs-core';

export * from '@tensorflow/tfjs-core';

// Keeps its plain backend from printing, when first used, that another package is faster: `pmpo doctor` says what there is.
// (The setting for production would do it too, and keep every warning from being printed.)
(findBackend('cpu') as { firstUse?: boolean }).firstUse = false;
