/**
 * `pmpo`: whole runs, their configuration, and errors. The parts of runs have their own modules:
 * `pmpo/operators`, `pmpo/feedback`, `pmpo/distributions`, `pmpo/engine`, `pmpo/environments`, `pmpo/dm-env-rpc`, `pmpo/language`
 * and `pmpo/learners`.
 */

// Configuration and the registries that plugins add to

export { type Config, configSchema } from './config/control-schema.js';
export {
  configText,
  type LoadedConfig,
  type LoadedLanguageConfig,
  loadConfig,
  loadLanguageConfig,
  type ResolvedConfig,
  resolveConfig,
} from './config/load.js';
export { loadPlugins, type PluginApi } from './config/plugins.js';
export { Registry } from './core/registry.js';

// Errors

export { ConfigError, ConnectionLostError, PmpoError } from './core/errors.js';
export { RefusedCallError, SecurityError } from './grpc/errors.js';

// Random keys, which environments and learners take

export { foldIn, type RandomKey, randomKey } from './core/random-keys.js';

// Runs

export { type CompareOptions, type CompareResult, compare } from './experiments/compare.js';
export { type LanguageRunOptions, trainLanguageRun } from './experiments/language-run.js';
export type { RunOptions, RunResult } from './experiments/run-lifecycle.js';
export { type TrainRunOptions, trainRun } from './experiments/train-run.js';
export type { LearnerObserver } from './run/observer.js';

// The files of a run: records, checkpoints and reports

export { decodeSafetensors, encodeSafetensors } from './core/safetensors.js';
export { renderCurveSvg, renderReport } from './report/report.js';
export { readRun } from './report/run-data.js';
export { type Checkpoint, readCheckpoint } from './run/checkpoints.js';
export type { EvaluationRecord, MetricRecord, RunSummary } from './run/records.js';
export { openRunDirectory } from './run/run-directory.js';

// Embedded simulators

export { type EmbeddedServer, startEmbeddedServer } from './simulators/embedded-server.js';
export { createSimulator, simulators } from './simulators/registry.js';
export { serveSimulators } from './simulators/serve.js';
