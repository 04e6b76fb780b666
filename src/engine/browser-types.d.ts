/// <reference types="long" />

/**
 * `pmpo/browser-types`: the global types that TensorFlow.js's declarations name, most of them the browser's, for programs that are
 * compiled without TypeScript's DOM library (`"lib": ["ES2023"], "types": ["node", "pmpo/browser-types"]`). Such a program needs no
 * `skipLibCheck`. With the DOM library of TypeScript 6 or newer it does: that library and TensorFlow.js both declare WebGPU.
 */
type EventInit = object;
type HTMLImageElement = object;
type HTMLSourceElement = object;
type IDBFactory = object;
type ImageBitmap = object;
type ImageData = object;
type VideoFrame = object;
type WebGLContextAttributes = object;
type WebGLTexture = object;
type BufferSource = ArrayBufferView | ArrayBuffer;
type PredefinedColorSpace = 'display-p3' | 'srgb';
/** An interface, which merges with the one that newer versions of @types/node declare. */
interface Storage {
  readonly length: number;
}
