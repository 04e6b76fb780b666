import { PmpoError } from '../../core/errors.js';
import { Graph } from './graph.js';
import { encodeModel } from './model.js';
import type { SessionSettings } from './program.js';
import { SessionRunner } from './session-runner.js';

/**
 * Loads a trivial model with these settings, so that a missing execution provider is an error when the engine is created.
 * @throws PmpoError when the execution provider does not start on this machine.
 */
export async function checkProvider(settings: SessionSettings): Promise<void> {
  const graph = new Graph();
  const value = graph.input('x', 'float32', [1]);
  const name = 'check';
  const model = encodeModel({ name, inputs: [{ name: 'x', value }], outputs: [{ name: 'y', value }] });
  const program = {
    id: 0,
    name,
    model,
    isRepeated: false,
    inputs: [],
    outputs: [],
    reads: [],
    writes: [],
    overwrites: [],
  };
  const runner = new SessionRunner(settings);
  try {
    await runner.handle({ kind: 'load', program });
    await runner.handle({ kind: 'close' });
  } catch (cause) {
    throw new PmpoError({
      where: 'engine onnx',
      what: `the execution provider '${settings.executionProvider}' does not start: ${String(cause instanceof Error ? cause.message : cause).trim()}`,
      remedy:
        "For CUDA 12, download ONNX Runtime's CUDA libraries (node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12), or use the execution provider 'cpu'",
      cause,
    });
  }
}
