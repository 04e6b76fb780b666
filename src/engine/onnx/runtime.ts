import { createRequire } from 'node:module';

/**
 * ONNX Runtime, without its usage data, for which each process would also leave a log file in the temporary folder; a user's own value
 * of `ORT_DISABLE_TELEMETRY` stays. Its native code reads the variables of the process, which only the main thread can set, so that
 * thread must load the runtime before a worker does.
 */
export function loadRuntime(): typeof import('onnxruntime-node') {
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  return createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');
}
