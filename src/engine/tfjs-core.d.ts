// What tfjs-core.js exports.
export * from '@tensorflow/tfjs-core';
