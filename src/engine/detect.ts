import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type EngineName, engineNames } from './engine.js';

/** What `pmpo doctor` says about one engine. */
export interface EngineReport {
  readonly name: EngineName;
  readonly available: boolean;
  /** Its version when it is available, the reason when it is not. */
  readonly detail: string;
  /** Whether `auto` takes it. */
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

/** Engines whose package is compiled for some platforms only, and is not there or not usable on others. */
const nativeEngines: ReadonlySet<EngineName> = new Set(['onnx', 'tfjs-node-gpu', 'tfjs-node']);

/** `auto` takes the first of these that works here. */
const preference: readonly EngineName[] = ['onnx', 'tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu'];

const require = createRequire(import.meta.url);

function packageVersion(name: string): string | undefined {
  // package.json itself may be hidden by `exports`: walk up from the main file.
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

/** Looks for an engine's package and, where it has native code, loads it. */
export function findEngine(name: EngineName): { available: boolean; detail: string } {
  const module = enginePackages[name];
  const version = packageVersion(module);
  if (version === undefined) return { available: false, detail: `${module} is not installed` };
  if (nativeEngines.has(name)) {
    try {
      // TensorFlow's own remarks on the processor would stand between a job's lines.
      process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
      require(module);
    } catch (error) {
      return { available: false, detail: `${module} ${version} does not load: ${firstLine(error)}` };
    }
  }
  return { available: true, detail: `${module} ${version}` };
}

/** The engine that `auto` takes on this machine. */
export function chooseEngine(): EngineName {
  return preference.find((name) => findEngine(name).available) ?? 'cpu';
}

/** What there is on this machine, in the order of preference. Loads native packages, which takes a moment. */
export function detectEngines(): readonly EngineReport[] {
  const chosen = chooseEngine();
  return [...engineNames].map((name) => ({ name, ...findEngine(name), chosen: name === chosen }));
}
