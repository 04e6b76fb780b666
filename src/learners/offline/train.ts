import { PmpoError, StoppedError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey } from '../../core/random-keys.js';
import { digestOf } from '../../datasets/transitions/digest.js';
import { createFamily } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { EvaluationRecord } from '../../run/records.js';
import { Averages } from '../control/averages.js';
import { actionTensors, restoreParameters, savedVariables } from '../control/checkpoint.js';
import { isOfClassifier } from '../control/experience.js';
import { LaggedCopies } from '../control/lagged-copies.js';
import { updateNoise } from '../control/noise.js';
import { type AgentParameters, createParameters } from '../control/parameters.js';
import { shapeInCheckpoint, TrainedPolicy } from '../control/policy.js';
import { PolicyEvaluation } from '../control/policy-evaluation.js';
import { requireSameKind } from '../control/policy-fit.js';
import { ImprovementStep } from '../improvement-step.js';
import { learningRateFactor } from '../schedule.js';
import type { TrainOfflineOptions, TrainOfflineResult } from './train-options.js';
import { TransitionWindows } from './transition-windows.js';
import {
  type EvaluatedActions,
  evaluateActions,
  improveOffline,
  noiseShape,
  type OfflineInputs,
  type OfflineSpec,
} from './update.js';

/** Updates between two lines of metrics. */
const metricsEvery = 250;
const resumeRemedy = 'Resume with the data set that the run was started with';
/** Updates that may be submitted before the first of them must have ended. */
export const updatesInFlight = 4;

interface Counters {
  updates: number;
  wallSeconds: number;
  /** Whether an evaluation was due that has not been completed. */
  evaluationDue: boolean;
}

/**
 * Trains a policy on fixed transitions: critics by policy evaluation, the policy by an operator on the data's own actions, on samples of the
 * policy, or on both, beside behavior cloning. The same configuration, data and seed give the same parameters, and so does a run that was
 * stopped and resumed.
 *
 * @throws PmpoError naming file and place of data that cannot be learned from, from the classifier (after a checkpoint if it is plain code),
 *   from the environment, and when the parameters diverge.
 */
export async function trainOffline(options: TrainOfflineOptions): Promise<TrainOfflineResult> {
  return new OfflineJob(options).run();
}

class OfflineJob {
  readonly #options: TrainOfflineOptions;
  readonly #parameters: AgentParameters;
  readonly #policy: TrainedPolicy;
  readonly #family: DistributionFamily;
  readonly #key: RandomKey;
  readonly #windows: TransitionWindows;
  readonly #step: ImprovementStep<OfflineInputs, EvaluatedActions, Record<never, never>>;
  readonly #copies: LaggedCopies;
  readonly #evaluation: PolicyEvaluation;
  readonly #averages = new Averages();
  #counters: Counters = { updates: 0, wallSeconds: 0, evaluationDue: false };
  /** Recognizes the data set in a checkpoint. */
  #digest = '';
  #elapsedBefore = 0;
  #startedAt = 0;
  #lastMetrics = { updates: 0, wallSeconds: 0 };

  constructor(options: TrainOfflineOptions) {
    this.#options = options;
    const {
      config,
      engine,
      source,
      data,
      operator,
      classifier,
      classifierName = 'custom',
      observer,
    } = options;
    const { observationSize, actionMinimum, actionMaximum, actionValues } = data.shape;
    this.#key = randomKey(config.seed);
    this.#family = createFamily(config.policy, actionValues);
    const spec: OfflineSpec = {
      config,
      operator,
      family: this.#family,
      observationSize,
      actionSize: actionMinimum.length,
      actionMinimum,
      actionMaximum,
      actionValues: Int32Array.from(actionValues),
    };
    this.#parameters = createParameters(engine, spec, foldIn(this.#key, 'parameters'));
    this.#policy = new TrainedPolicy(engine, config, data.shape, this.#parameters.actingPolicy);
    this.#copies = new LaggedCopies(engine, config, this.#parameters);
    this.#evaluation = new PolicyEvaluation({
      ...options,
      policy: this.#policy,
      actingPolicy: this.#parameters.actingPolicy,
      environment: options.evaluationEnvironment,
      recordOf: (scores) => this.#record(scores),
    });
    this.#step = new ImprovementStep({
      engine,
      classifier,
      classifierName,
      hostCalls: { signal: options.signal, onWait: (what) => observer.waiting?.(what) },
      evaluate: (inputs: OfflineInputs) => evaluateActions(spec, this.#parameters, inputs),
      improve: (batch) => ({ metrics: improveOffline(spec, this.#parameters, batch), results: {} }),
    });
    this.#windows = new TransitionWindows({
      source,
      data,
      nStep: config.dataset.nStep,
      discount: config.learner.discount,
      batchSize: config.learner.batchSize,
      bytes: config.dataset.megabytes * 1e6,
      key: foldIn(this.#key, 'data'),
      notice: observer.notice,
    });
  }

  async run(): Promise<TrainOfflineResult> {
    try {
      return await this.#run();
    } catch (error) {
      if (!isOfClassifier(error)) throw error;
      await this.#checkpoint();
      if (error instanceof StoppedError) return this.#result(this.#record([]), true);
      throw error;
    }
  }

  async #run(): Promise<TrainOfflineResult> {
    const { config, observer, signal, clock, resume } = this.#options;
    this.#startedAt = clock();
    this.#digest = await digestOf(this.#options.source);
    if (resume !== undefined) await this.#resume();
    else this.#describeMemory();
    const total = config.learner.updates;
    if (this.#counters.evaluationDue && this.#counters.updates < total) await this.#midway();
    while (this.#counters.updates < total) {
      if (signal?.aborted) {
        await this.#checkpoint();
        return this.#result(this.#record([]), true);
      }
      const before = this.#counters.updates;
      await this.#makeUpdates(Math.min(total, this.#nextStop(before)));
      const after = this.#counters.updates;
      const crossed = (every: number) => Math.floor(after / every) > Math.floor(before / every);
      observer.progress(after, after);
      if (crossed(metricsEvery)) this.#report();
      if (after < total && crossed(config.evaluation.every)) await this.#midway();
      const isAsked = observer.checkpointRequested?.() === true;
      if (after < total && (isAsked || crossed(config.checkpoint.every))) await this.#checkpoint();
    }
    this.#report();
    observer.progress(this.#counters.updates, this.#counters.updates);
    this.#counters.evaluationDue = true;
    await this.#checkpoint();
    const evaluation = await this.#evaluation.evaluate();
    return this.#result(evaluation, signal?.aborted ?? false);
  }

  #describeMemory(): void {
    const { source, observer, config } = this.#options;
    const { transitions, isWhole, bytes } = this.#windows;
    const count = `${transitions.toLocaleString('en-US')} transitions`;
    observer.notice(
      isWhole
        ? `${source.where}: ${count}, all in memory`
        : `${source.where}: ${count}, of which those that fit in dataset.megabytes = ${config.dataset.megabytes} are in memory at a time`,
    );
    if (bytes > config.dataset.megabytes * 1e6) {
      observer.notice(
        `${source.where}: its transitions take ${Math.ceil(bytes / 1e6)} megabytes, more than dataset.megabytes = ${config.dataset.megabytes}, because a block of the file is the least that is read. Write the file with smaller row groups or episodes, or raise dataset.megabytes`,
      );
    }
  }

  /** The update at which the loop looks up again: at every one where something happens, and a few times a second. */
  #nextStop(from: number): number {
    const { evaluation, checkpoint } = this.#options.config;
    const next = (every: number) => (Math.floor(from / every) + 1) * every;
    return Math.min(next(25), next(evaluation.every), next(checkpoint.every));
  }

  async #resume(): Promise<void> {
    const { engine, resume, source } = this.#options;
    const checkpoint = resume!;
    const { job, counters, dataset } = checkpoint.metadata as {
      job?: string;
      counters: Counters;
      /** Absent in checkpoints of earlier versions. */
      dataset?: string;
    };
    if (job !== 'offline') {
      throw new PmpoError({
        where: 'checkpoint',
        what: `it belongs to a '${job}' job, not to an offline job`,
        remedy: 'Resume from a checkpoint of an offline run',
      });
    }
    requireSameKind(this.#policy.shape, shapeInCheckpoint(checkpoint), resumeRemedy);
    if (dataset !== undefined && dataset !== this.#digest) {
      throw new PmpoError({
        where: source.where,
        what: 'it is not the data set that the run was started with: its blocks or its numbers are others',
        remedy: resumeRemedy,
      });
    }
    await restoreParameters(engine, this.#parameters, checkpoint);
    this.#evaluation.best.restore(checkpoint);
    this.#counters = {
      updates: counters.updates,
      wallSeconds: counters.wallSeconds,
      evaluationDue: counters.evaluationDue ?? false,
    };
    this.#elapsedBefore = counters.wallSeconds;
    this.#lastMetrics = { updates: counters.updates, wallSeconds: counters.wallSeconds };
  }

  /** Makes updates until there are `target`. If a classifier of plain code fails or is stopped, the last update has changed nothing. */
  async #makeUpdates(target: number): Promise<void> {
    const pending: Promise<void>[] = [];
    const submit = (work: Promise<void>) => {
      // Awaited below; a failure must not count as unhandled until then.
      work.catch(() => {});
      pending.push(work);
    };
    while (this.#counters.updates < target) {
      const { updates } = this.#counters;
      const batch = await this.#windows.batch(updates);
      const work = this.#update(updates, batch);
      if (this.#step.sequential) await work;
      else submit(work);
      this.#counters.updates += 1;
      if (pending.length >= updatesInFlight) await pending.shift();
    }
    await Promise.all(pending);
  }

  async #update(update: number, batch: Awaited<ReturnType<TransitionWindows['batch']>>): Promise<void> {
    const { config, data } = this.#options;
    const { learner } = config;
    const shape = noiseShape(learner, data.shape.actionMinimum.length);
    const noise = updateNoise(this.#family, foldIn(foldIn(this.#key, 'samples'), update), shape);
    const factor = learningRateFactor(update / learner.updates, learner.decayFrom);
    const improving = this.#step.run(
      { ...batch, noise, learningRateFactor: { shape: [], data: Float32Array.of(factor) } },
      update,
    );
    if (this.#step.sequential) await improving;
    // The engine runs calls in the order in which they are made.
    const [{ metrics }] = await Promise.all([improving, this.#copies.follow(update + 1)]);
    this.#averages.add(metrics);
  }

  #wallSeconds(): number {
    return this.#elapsedBefore + (this.#options.clock() - this.#startedAt) / 1000;
  }

  #report(): void {
    const { updates } = this.#counters;
    if (updates === this.#lastMetrics.updates) return;
    const wallSeconds = this.#wallSeconds();
    const seconds = Math.max(1e-9, wallSeconds - this.#lastMetrics.wallSeconds);
    const values = {
      ...this.#averages.take(),
      'speed/updatesPerSecond': (updates - this.#lastMetrics.updates) / seconds,
    };
    this.#lastMetrics = { updates, wallSeconds };
    this.#options.observer.metrics({ steps: updates, stepUnit: 'updates', updates, wallSeconds, values });
  }

  #record(scores: readonly number[]): EvaluationRecord {
    const { updates } = this.#counters;
    return {
      steps: updates,
      stepUnit: 'updates',
      updates,
      wallSeconds: this.#wallSeconds(),
      scoreName: 'return',
      scores,
    };
  }

  #midway(): Promise<void> {
    return this.#evaluation.midway(this.#counters, () => this.#checkpoint());
  }

  async #checkpoint(): Promise<void> {
    this.#report();
    const { engine, observer, data } = this.#options;
    const variables = await savedVariables(engine, this.#parameters);
    const { observationSize, layout } = data.shape;
    const best = this.#evaluation.best.snapshot();
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    await observer.checkpoint(counters.updates, {
      tensors: {
        ...variables,
        ...actionTensors(data.shape),
        ...best.tensors,
      },
      metadata: {
        job: 'offline',
        dataset: this.#digest,
        observationSize,
        counters,
        ...best.metadata,
        ...(layout === undefined ? {} : { layout }),
      },
    });
  }

  #result(evaluation: EvaluationRecord, interrupted: boolean): TrainOfflineResult {
    return {
      updates: this.#counters.updates,
      wallSeconds: this.#wallSeconds(),
      evaluation,
      interrupted,
      policy: this.#policy,
      best: this.#evaluation.best.evaluation,
      bestPolicy: interrupted ? undefined : this.#evaluation.bestPolicy(),
    };
  }
}
