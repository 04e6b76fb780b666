import { configText, type LoadedConfig, type ResolvedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import { exportPolicy } from '../learners/control/policy.js';
import { type TrainControlResult, trainControl } from '../learners/control/train.js';
import type { RunSummary } from '../run/records.js';
import { openReplayReader, remoteReplay } from './remote-replay.js';
import {
  makeRun,
  type RunFrameOptions,
  type RunResult,
  type RunSubject,
  summaryOf,
} from './run-lifecycle.js';
import { defaultRunName } from './run-name.js';
import { openWorlds } from './worlds.js';

export interface TrainRunOptions extends RunFrameOptions {
  readonly loaded: LoadedConfig;
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

function subjectOf({ config, warnings }: LoadedConfig): RunSubject {
  return {
    kind: 'control',
    output: config.output,
    name: config.name ?? defaultRunName(config),
    config: configText(config),
    total: { totalSteps: config.learner.environmentSteps },
    keep: config.checkpoint.keep,
    warnings,
  };
}

/**
 * One training run in simulators from a configuration to a folder with everything that it leaves behind: engine, simulators,
 * learner, records, policy, summary and report. Nothing is written before the simulators have answered.
 *
 * @throws PmpoError as the engine, the simulators and the learner do; where the run can go on, the message says how.
 */
export function trainRun(options: TrainRunOptions): Promise<RunResult> {
  const { config, operator, classifier } = options.loaded;
  return makeRun(
    subjectOf(options.loaded),
    options,
    async (surroundings) => {
      const engine = await createEngine(config.engine, { threads: config.threads });
      surroundings.onEnd(() => engine.dispose());
      const worlds = await openWorlds(config, surroundings);
      surroundings.onEnd(() => worlds.close());
      if (config.replay.redis === undefined) return { engine, worlds, reader: undefined };
      const reader = await openReplayReader(config, surroundings.checkpoint === undefined, surroundings);
      surroundings.onEnd(() => reader.close());
      return { engine, worlds, reader };
    },
    async ({ engine, worlds, reader }, { directory, observer, checkpoint, signal }) => {
      const { environment, evaluationEnvironment } = worlds;
      const result = await trainControl({
        config,
        engine,
        ...(environment === undefined ? { remote: remoteReplay(reader!, directory) } : { environment }),
        evaluationEnvironment,
        operator,
        classifier,
        observer,
        resume: checkpoint?.checkpoint,
        signal,
        clock: () => performance.now(),
      });
      if (result.interrupted) return undefined;
      await directory.writePolicy(await exportPolicy(result));
      return summarize(config, result);
    },
  );
}
