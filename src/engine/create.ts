import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { PmpoError } from '../core/errors.js';
import { chooseEngine, enginePackages, findEngine } from './detect.js';
import { EagerEngine, type Exporter } from './eager/eager-engine.js';
import { prepareWasm } from './eager/wasm-backend.js';
import type { Engine, EngineName } from './engine.js';
import type { SessionSettings } from './onnx/program.js';
import { chooseBackend } from './scope.js';
import * as tf from './tf.js';

/** Settings of the engine `onnx`; the other engines ignore them. */
export interface EngineOptions {
  /** Threads that run one graph together. Default: one for each core, up to 8. */
  readonly threads?: number;
  /** The ONNX Runtime execution provider: the device that runs graphs. Default: `cpu`. */
  readonly executionProvider?: 'cpu' | 'cuda';
  /** Where ONNX Runtime writes a profile of each graph when the engine is disposed of: the beginning of the files' paths. */
  readonly profilePrefix?: string;
}

/** The graphs of the learners do not run faster on more threads than this. */
const maxThreads = 8;

/**
 * Creates an engine.
 * @param name which engine; `auto` is the fastest that works on this machine.
 * @throws PmpoError when the engine is not installed or does not start.
 */
export async function createEngine(name: 'auto' | EngineName, options: EngineOptions = {}): Promise<Engine> {
  const chosen = name === 'auto' ? chooseEngine() : name;
  requireAvailable(chosen);
  switch (chosen) {
    case 'cpu':
      await tf.setBackend('cpu');
      return new EagerEngine(chosen, 'cpu', exportTraced);
    case 'wasm':
      await prepareWasm();
      return new EagerEngine(chosen, 'wasm', exportTraced);
    case 'tfjs-node':
    case 'tfjs-node-gpu':
      await prepareNative(chosen);
      return new EagerEngine(chosen, 'tensorflow', exportTraced);
    case 'onnx':
      return createOnnxEngine(options);
  }
}

function requireAvailable(name: EngineName): void {
  const { available, detail } = findEngine(name);
  if (available) return;
  throw new PmpoError({
    where: `engine ${name}`,
    what: detail,
    remedy: `Install it (npm install ${enginePackages[name]}) or choose another engine: \`npx pmpo doctor\` lists those that work here`,
  });
}

async function prepareNative(name: 'tfjs-node' | 'tfjs-node-gpu'): Promise<void> {
  createRequire(import.meta.url)(enginePackages[name]);
  if (await tf.setBackend('tensorflow')) return;
  throw new PmpoError({
    where: `engine ${name}`,
    what: `${enginePackages[name]} did not start`,
    remedy: 'Choose another engine: `npx pmpo doctor` lists those that work here',
  });
}

async function createOnnxEngine({
  threads,
  executionProvider = 'cpu',
  profilePrefix,
}: EngineOptions): Promise<Engine> {
  await chooseBackend();
  const { OnnxEngine } = await import('./onnx/onnx-engine.js');
  const settings: SessionSettings = {
    threads: threads ?? Math.min(maxThreads, availableParallelism()),
    executionProvider,
    // Long enough to bridge the gaps between operators, short enough to leave the core to a simulator afterwards.
    spinMicroseconds: 20,
    profilePrefix,
  };
  if (executionProvider !== 'cpu') {
    const { checkProvider } = await import('./onnx/providers.js');
    await checkProvider(settings);
  }
  return new OnnxEngine(settings);
}

/** Exports by tracing, also for engines that do not trace otherwise. */
const exportTraced: Exporter = async (...request) => {
  requireAvailable('onnx');
  await chooseBackend();
  const { exportForeign } = await import('./onnx/export.js');
  return exportForeign(...request);
};
