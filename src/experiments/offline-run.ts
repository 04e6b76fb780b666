import type { LoadedOfflineConfig, ResolvedOfflineConfig } from '../config/load.js';
import { openTransitions } from '../datasets/transitions/open.js';
import { createEngine } from '../engine/create.js';
import type { EpisodeRecorder } from '../environments/episode-recorder.js';
import { shapeOf } from '../learners/control/policy.js';
import { dataShape } from '../learners/offline/data-shape.js';
import { trainOffline } from '../learners/offline/train.js';
import type { TrainOfflineResult } from '../learners/offline/train-options.js';
import type { RunSummary } from '../run/records.js';
import { evaluationRecorder, numEvaluationEnvs, openEnvironments } from './environments.js';
import { environmentDifference } from './recording/recorded-environment.js';
import {
  describeRun,
  makeRun,
  openClassifier,
  type RunContext,
  type RunOptions,
  type RunResult,
  summaryOf,
} from './run-lifecycle.js';
import { writePolicies } from './trained-policy.js';

/** What `trainOfflineRun` needs. */
export interface TrainOfflineRunOptions extends RunOptions {
  readonly loaded: LoadedOfflineConfig;
}

/**
 * Trains a policy on fixed transitions as a configuration says, and writes everything about the run to a folder. Nothing is written until
 * the data set has been opened and the simulators, if there are any, have answered.
 *
 * @throws PmpoError as the engine, the data set, the simulators and the learner do. If the run can be resumed, the message says how.
 */
export function trainOfflineRun(options: TrainOfflineRunOptions): Promise<RunResult> {
  const { config, operator, classifier } = options.loaded;
  return makeRun(
    describeRun(options.loaded),
    options,
    async (context) => {
      const engine = await createEngine(config.engine, { threads: config.threads });
      context.onEnd(() => engine.dispose());
      await openClassifier(config.feedback.name, classifier, context);
      const source = await openTransitions(config.dataset.file);
      context.onEnd(() => source.close());
      const recorder = evaluationRecorder(context.notice);
      const evaluationEnvironment = await openEvaluation(config, { ...context, recorder });
      const data = dataShape(source, {
        ...config.dataset,
        environment: evaluationEnvironment && shapeOf(evaluationEnvironment),
        oneHot: config.environment?.oneHotObservations,
      });
      if (context.checkpoint === undefined) {
        data.notes.forEach(context.notice);
        const difference = config.environment && environmentDifference(source.recordedIn, config.environment);
        if (difference !== undefined) context.notice(difference);
      }
      return { engine, source, data, evaluationEnvironment, recorder };
    },
    async (
      { engine, source, data, evaluationEnvironment, recorder },
      { directory, observer, checkpoint, signal },
    ) => {
      const result = await trainOffline({
        config,
        engine,
        source,
        data,
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
      await writePolicies(directory, config, result, result.updates);
      return { ...summarize(config, result), best: result.best };
    },
  );
}

async function openEvaluation(
  { environment, evaluation, seed }: ResolvedOfflineConfig,
  context: RunContext & { readonly recorder: EpisodeRecorder },
) {
  if (environment === undefined) return undefined;
  const config = { environment, evaluation, seed };
  const numEnvs = numEvaluationEnvs(config, evaluation.episodes);
  const opened = await openEnvironments(config, 'evaluation', numEnvs, context);
  context.onEnd(() => opened.close());
  for (const note of opened.environment.observationLayout.notes) context.notice(note);
  return opened.environment;
}

function summarize(
  { environment, dataset, operator, feedback, seed }: ResolvedOfflineConfig,
  { updates, wallSeconds, evaluation }: TrainOfflineResult,
): RunSummary {
  const facts = {
    operator: operator.name,
    feedback: feedback.name,
    environment: environment?.simulator ?? environment?.address?.toString() ?? dataset.file,
    seed,
  };
  return summaryOf('offline', facts, { steps: updates, updates, wallSeconds }, evaluation.scores);
}
