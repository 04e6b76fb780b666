import type { Config } from '../../config/schema.js';
import { createFamily } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { Engine } from '../../engine/engine.js';
import { ConnectionLostError } from '../../environments/errors.js';
import type { VectorEnvironment, VectorStep } from '../../environments/vector-environment.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { Operator } from '../../operators/operator.js';
import { foldIn, type RandomKey, randomKey } from '../../random/keys.js';
import { NStepWindows } from '../../replay/n-step.js';
import { TransitionStore } from '../../replay/transition-store.js';
import type { Checkpoint, EvaluationRecord, LearnerObserver } from '../../run/contracts.js';
import { Agent, type Metrics } from './agent.js';
import { Averages } from './averages.js';
import { type Counters, restoreJob, saveJob } from './checkpoint.js';
import { ActingNoise, headNoise, randomActions, updateNoise } from './noise.js';
import { TrainedPolicy } from './policy.js';

export interface TrainControlOptions {
  /** Fully resolved: `learner.samples` is set. */
  readonly config: Config;
  readonly engine: Engine;
  /** K worlds to learn from. */
  readonly environment: VectorEnvironment;
  /** Worlds to be judged in. */
  readonly evaluationEnvironment: VectorEnvironment;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  readonly observer: LearnerObserver;
  readonly resume?: Checkpoint;
  /** Aborted: the job saves a checkpoint and returns. */
  readonly signal?: AbortSignal;
  /** Milliseconds; differences alone are used. */
  readonly clock: () => number;
}

export interface TrainControlResult {
  readonly environmentSteps: number;
  readonly updates: number;
  readonly wallSeconds: number;
  /** The last evaluation; without returns when the job was interrupted before it. */
  readonly evaluation: EvaluationRecord;
  readonly interrupted: boolean;
  /** As it is now, on the job's engine. */
  readonly policy: TrainedPolicy;
}

/** Environment steps between two lines of metrics. */
const metricsEvery = 1000;

/**
 * Trains an off-policy actor-critic: acts in K worlds, remembers, and improves critics and policy, by a schedule that
 * counts and never races: iteration i acts with the policy that the updates of iteration i−1 left, and this
 * iteration's updates run while the worlds step. The same configuration and seed give the same parameters.
 *
 * @throws PmpoError from the environment (after a checkpoint when a connection stays lost), the classifier or a
 *   diverged update.
 */
export async function trainControl(options: TrainControlOptions): Promise<TrainControlResult> {
  return new ControlJob(options).run();
}

class ControlJob {
  readonly #o: TrainControlOptions;
  readonly #agent: Agent;
  readonly #policy: TrainedPolicy;
  readonly #store: TransitionStore;
  readonly #windows: NStepWindows;
  readonly #noise: ActingNoise;
  readonly #key: RandomKey;
  readonly #family: DistributionFamily;
  readonly #averages = new Averages();
  #counters: Counters;
  #observations: Float32Array = new Float32Array();
  /** Wall time before this process took over, and when it did. */
  #elapsedBefore = 0;
  #startedAt = 0;
  #lastMetrics = { wallSeconds: 0, environmentSteps: 0, updates: 0 };

  constructor(options: TrainControlOptions) {
    this.#o = options;
    const { config, environment } = options;
    const { observationSize, actionSize, size: worlds } = environment;
    this.#key = randomKey(config.seed);
    this.#family = createFamily(config.policy);
    this.#agent = new Agent(
      {
        ...options,
        classifierName: config.feedback.name,
        family: this.#family,
        observationSize,
        actionSize,
        actionMinimum: environment.actionMinimum,
        actionMaximum: environment.actionMaximum,
      },
      foldIn(this.#key, 'parameters'),
    );
    this.#policy = new TrainedPolicy(options.engine, config, environment, this.#agent.parameters.policy);
    this.#store = new TransitionStore(config.replay.capacity, observationSize, actionSize);
    this.#windows = new NStepWindows({
      worlds,
      observationSize,
      actionSize,
      steps: config.replay.steps,
      discount: config.learner.discount,
    });
    this.#noise = new ActingNoise(
      worlds,
      actionSize,
      config.learner.explorationCorrelation,
      foldIn(this.#key, 'acting'),
    );
    this.#counters = {
      environmentSteps: 0,
      updates: 0,
      wallSeconds: 0,
      episodeSteps: Array(worlds).fill(0),
      episodeReturns: Array(worlds).fill(0),
    };
  }

  async run(): Promise<TrainControlResult> {
    const { config, environment, observer, signal, clock } = this.#o;
    this.#startedAt = clock();
    await this.#begin();
    const total = config.learner.environmentSteps;
    while (this.#counters.environmentSteps < total) {
      if (signal?.aborted) {
        await this.#checkpoint();
        return this.#result(this.#evaluationRecord([]), true);
      }
      const before = this.#counters.environmentSteps;
      await this.#iterate();
      const after = this.#counters.environmentSteps;
      const crossed = (every: number) => Math.floor(after / every) > Math.floor(before / every);
      observer.progress(after, this.#counters.updates);
      if (crossed(metricsEvery)) this.#report();
      if (after < total && crossed(config.evaluation.every)) await this.#evaluate();
      if (after < total && crossed(config.checkpoint.every)) await this.#checkpoint();
    }
    await this.#runUpdates();
    this.#report();
    observer.progress(this.#counters.environmentSteps, this.#counters.updates);
    await this.#checkpoint();
    const evaluation = await this.#evaluate();
    await environment.close();
    return this.#result(evaluation, signal?.aborted ?? false);
  }

  async #begin(): Promise<void> {
    const { environment, resume, observer } = this.#o;
    if (resume === undefined) {
      this.#observations = await environment.reset();
      return;
    }
    const restored = await restoreJob(resume, this.#parts());
    this.#counters = restored.counters;
    this.#elapsedBefore = restored.counters.wallSeconds;
    this.#observations = await environment.restore(restored.openEpisodes);
    this.#lastMetrics = { ...this.#counters };
    const size = environment.observationSize;
    for (let k = 0; k < environment.size; k++) {
      const same = restored.observations
        .subarray(k * size, (k + 1) * size)
        .every((value, i) => value === this.#observations[k * size + i]);
      if (same) continue;
      this.#windows.clear(k);
      observer.notice(
        `world ${k} did not come back to the state it was stopped in: its simulator is not deterministic, or it was reset. The run goes on from where that world is now`,
      );
    }
  }

  /** Act, step and learn at once, remember. */
  async #iterate(): Promise<void> {
    const { environment } = this.#o;
    const actions = await this.#chooseActions();
    let failure: unknown;
    const stepping = environment.step(actions).catch((error: unknown) => {
      failure = error;
      return undefined;
    });
    try {
      await this.#runUpdates();
    } finally {
      // Never leave a step under way: the streams belong to whoever closes them.
      await stepping;
    }
    const step = await stepping;
    if (step === undefined) {
      if (failure instanceof ConnectionLostError) await this.#checkpoint();
      throw failure;
    }
    this.#remember(actions, step);
    this.#observations = step.observations;
    this.#counters.environmentSteps += environment.size;
  }

  async #chooseActions(): Promise<Float32Array> {
    const { config, environment } = this.#o;
    const { environmentSteps } = this.#counters;
    const z = this.#noise.advance(environmentSteps);
    if (environmentSteps < config.learner.warmupSteps) return randomActions(z);
    const noise = headNoise(this.#family, z);
    return this.#agent.act(this.#observations, noise, environment.size);
  }

  /** Runs the updates that the steps taken so far have earned. */
  async #runUpdates(): Promise<void> {
    const { config, environment } = this.#o;
    const {
      warmupSteps,
      stepsPerUpdate,
      batchSize,
      samples = 4,
      environmentSteps: total,
      decayFrom,
    } = config.learner;
    if (this.#store.size === 0) return;
    const earned = Math.floor((this.#counters.environmentSteps - warmupSteps) / stepsPerUpdate);
    const factor = learningRateFactor(this.#counters.environmentSteps / total, decayFrom);
    const pending: Promise<Metrics>[] = [];
    while (this.#counters.updates < earned) {
      const { updates } = this.#counters;
      const key = foldIn(foldIn(this.#key, 'update'), updates);
      const batch = this.#store.sample(foldIn(key, 'batch'), batchSize);
      const noise = updateNoise(this.#family, foldIn(key, 'samples'), [
        samples,
        batchSize,
        environment.actionSize,
      ]);
      const work = this.#agent.update(updates, batch, noise, factor);
      // The next batch is drawn while this update runs.
      pending.push(work);
      if (this.#agent.sequential) await work;
      this.#counters.updates += 1;
    }
    for (const metrics of await Promise.all(pending)) this.#averages.add(metrics);
  }

  #remember(actions: Float32Array, step: VectorStep): void {
    const { environment } = this.#o;
    const { observationSize: o, actionSize: a } = environment;
    const { episodeReturns, episodeSteps } = this.#counters;
    for (let k = 0; k < environment.size; k++) {
      const end = {
        terminated: step.terminated[k] === 1,
        truncated: step.truncated[k] === 1,
        lost: step.lost[k] === 1,
      };
      this.#windows.step(
        k,
        this.#observations.subarray(k * o, (k + 1) * o),
        actions.subarray(k * a, (k + 1) * a),
        step.rewards[k],
        step.finalObservations.subarray(k * o, (k + 1) * o),
        end,
        (observation, action, nStepReturn, discount, next) =>
          this.#store.add(observation, action, nStepReturn, discount, next),
      );
      episodeSteps[k] += 1;
      if (!end.lost) episodeReturns[k] += step.rewards[k];
      if (end.terminated || end.truncated || end.lost) {
        if (!end.lost)
          this.#averages.add({ 'acting/return': episodeReturns[k], 'acting/length': episodeSteps[k] });
        episodeReturns[k] = 0;
        episodeSteps[k] = 0;
      }
    }
  }

  #wallSeconds(): number {
    return this.#elapsedBefore + (this.#o.clock() - this.#startedAt) / 1000;
  }

  #report(): void {
    const { environmentSteps, updates } = this.#counters;
    if (environmentSteps === this.#lastMetrics.environmentSteps) return;
    const wallSeconds = this.#wallSeconds();
    const seconds = Math.max(1e-9, wallSeconds - this.#lastMetrics.wallSeconds);
    const values = {
      ...this.#averages.take(),
      'replay/size': this.#store.size,
      'speed/stepsPerSecond': (environmentSteps - this.#lastMetrics.environmentSteps) / seconds,
      'speed/updatesPerSecond': (updates - this.#lastMetrics.updates) / seconds,
    };
    this.#lastMetrics = { environmentSteps, updates, wallSeconds };
    this.#o.observer.metrics({ environmentSteps, updates, wallSeconds, values });
  }

  #evaluationRecord(returns: readonly number[]): EvaluationRecord {
    const { environmentSteps, updates } = this.#counters;
    return { environmentSteps, updates, wallSeconds: this.#wallSeconds(), returns };
  }

  async #evaluate(): Promise<EvaluationRecord> {
    const { config, evaluationEnvironment, observer, signal } = this.#o;
    const returns = await this.#policy.evaluate(evaluationEnvironment, config.evaluation.episodes, signal);
    const record = this.#evaluationRecord(returns);
    // An evaluation cut short would look like a worse policy.
    if (!signal?.aborted) observer.evaluation(record);
    return record;
  }

  #parts() {
    return {
      engine: this.#o.engine,
      parameters: this.#agent.parameters,
      store: this.#store,
      windows: this.#windows,
      noise: this.#noise,
      environment: this.#o.environment,
    };
  }

  async #checkpoint(): Promise<void> {
    this.#report();
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    const checkpoint = await saveJob(this.#parts(), counters, this.#observations);
    await this.#o.observer.checkpoint(counters.environmentSteps, checkpoint);
  }

  #result(evaluation: EvaluationRecord, interrupted: boolean): TrainControlResult {
    const { environmentSteps, updates } = this.#counters;
    return {
      environmentSteps,
      updates,
      wallSeconds: this.#wallSeconds(),
      evaluation,
      interrupted,
      policy: this.#policy,
    };
  }
}

/** 1 until the share `decayFrom` of the run is done, then linearly down to a twentieth at its end. */
export function learningRateFactor(progress: number, decayFrom: number): number {
  if (progress <= decayFrom) return 1;
  return Math.max(0.05, (1 - progress) / (1 - decayFrom));
}
