import type { LoadedConfig, ResolvedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import { replayMemory } from '../learners/control/replay-memory.js';
import { trainControl } from '../learners/control/train.js';
import type { TrainControlResult } from '../learners/control/train-options.js';
import type { RunSummary } from '../run/records.js';
import { machineMemory } from '../system/memory.js';
import { openTrainingEnvironments } from './environments.js';
import { openReplayReader, remoteReplay } from './remote-replay.js';
import {
  describeRun,
  makeRun,
  openClassifier,
  type RunOptions,
  type RunResult,
  summaryOf,
} from './run-lifecycle.js';
import { writePolicies } from './trained-policy.js';

/** What `trainRun` needs. */
export interface TrainRunOptions extends RunOptions {
  /** The configuration: `await loadConfig('cartpole.yaml')`. */
  readonly loaded: LoadedConfig;
}

/**
 * Trains a policy in simulators as a configuration says, and writes everything about the run to a folder: configuration,
 * metrics, checkpoints, policy, summary and report. Nothing is written until the simulators have answered.
 *
 * @throws PmpoError as the engine, the simulators and the learner do. If the run can be resumed, the message says how.
 */
export function trainRun(options: TrainRunOptions): Promise<RunResult> {
  const { config, operator, classifier } = options.loaded;
  return makeRun(
    describeRun(options.loaded),
    options,
    async (context) => {
      const engine = await createEngine(config.engine, { threads: config.threads });
      context.onEnd(() => engine.dispose());
      await openClassifier(config.feedback.name, classifier, context);
      const environments = await openTrainingEnvironments(config, context);
      context.onEnd(() => environments.close());
      const memory = replayMemory(config, environments.evaluationEnvironment, machineMemory());
      // A resumed run has said it before.
      if (context.checkpoint === undefined) context.notice(memory);
      if (config.replay.redis === undefined) return { engine, environments, reader: undefined };
      const reader = await openReplayReader(config, context.checkpoint === undefined, context);
      context.onEnd(() => reader.close());
      return { engine, environments, reader };
    },
    async ({ engine, environments, reader }, { directory, observer, checkpoint, signal }) => {
      const { environment, evaluationEnvironment, recorder } = environments;
      const result = await trainControl({
        config,
        engine,
        ...(environment === undefined
          ? { remote: remoteReplay(reader!, directory, config) }
          : { environment }),
        evaluationEnvironment,
        recorder,
        operator,
        classifier,
        classifierName: config.feedback.name,
        observer,
        resume: checkpoint?.checkpoint,
        signal,
        clock: () => performance.now(),
      });
      if (result.interrupted) return undefined;
      await writePolicies(directory, config, result, result.environmentSteps);
      return { ...summarize(config, result), best: result.best };
    },
  );
}

function summarize(
  { environment, operator, feedback, seed }: ResolvedConfig,
  { environmentSteps, updates, wallSeconds, evaluation }: TrainControlResult,
): RunSummary {
  const facts = {
    operator: operator.name,
    feedback: feedback.name,
    environment: environment.simulator ?? environment.address?.toString() ?? '',
    seed,
  };
  return summaryOf('control', facts, { steps: environmentSteps, updates, wallSeconds }, evaluation.scores);
}
