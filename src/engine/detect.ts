import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type EngineName, engineNames } from './engine.js';

/** Whether an engine works on this machine; a line of `pmpo doctor`. */
export interface EngineReport {
  readonly name: EngineName;
  readonly available: boolean;
  /** The package and version that it runs on, or the reason why it is not available. */
  readonly detail: string;
  /** Whether `createEngine('auto')` makes this engine. */
  readonly chosen: boolean;
}

/** The npm package that each engine runs on. */
export const enginePackages: Readonly<Record<EngineName, string>> = {
  onnx: 'onnxruntime-node',
  'tfjs-node-gpu': '@tensorflow/tfjs-node-gpu',
  'tfjs-node': '@tensorflow/tfjs-node',
  wasm: '@tensorflow/tfjs-backend-wasm',
  cpu: '@tensorflow/tfjs-backend-cpu',
};

/** Engines whose package is compiled for some platforms only; on others it is missing or does not load. */
const nativeEngines: ReadonlySet<EngineName> = new Set(['onnx', 'tfjs-node-gpu', 'tfjs-node']);

const require = createRequire(import.meta.url);

function packageVersion(name: string): string | undefined {
  // A package's `exports` may hide its package.json from `require`: walk up from the main file instead.
  try {
    for (let folder = dirname(require.resolve(name)); folder !== dirname(folder); folder = dirname(folder)) {
      const path = join(folder, 'package.json');
      if (!existsSync(path)) continue;
      const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'));
      const { name: found, version } = parsed as { name?: string; version?: string };
      if (found === name) return version;
    }
  } catch {}
  return undefined;
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0]!;
}

/** Looks for the package of an engine, and loads it if it has native code. */
export function findEngine(name: EngineName): { available: boolean; detail: string } {
  const module = enginePackages[name];
  const version = packageVersion(module);
  if (version === undefined) return { available: false, detail: `${module} is not installed` };
  if (nativeEngines.has(name)) {
    try {
      // Keeps TensorFlow from printing its remarks about the processor into the output of the program.
      process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
      require(module);
    } catch (error) {
      return { available: false, detail: `${module} ${version} does not load: ${firstLine(error)}` };
    }
  }
  return { available: true, detail: `${module} ${version}` };
}

/** The engine that `auto` selects on this machine. */
export function chooseEngine(): EngineName {
  return engineNames.find((name) => findEngine(name).available) ?? 'cpu';
}

/** Reports on every engine, in the order of preference. Loads native packages, which may take a second. */
export function detectEngines(): readonly EngineReport[] {
  const chosen = chooseEngine();
  return engineNames.map((name) => ({ name, ...findEngine(name), chosen: name === chosen }));
}
