import type { Config } from '../../config/schema.js';
import { ConnectionLostError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey } from '../../core/random-keys.js';
import { createFamily } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { Engine } from '../../engine/engine.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { Operator } from '../../operators/operator.js';
import type { TransitionSink } from '../../replay/n-step.js';
import { TransitionStore } from '../../replay/transition-store.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { LearnerObserver } from '../../run/observer.js';
import type { EvaluationRecord } from '../../run/records.js';
import { learningRateFactor } from '../schedule.js';
import { Agent, type Metrics } from './agent.js';
import { Averages } from './averages.js';
import { type Counters, restoreJob, saveJob } from './checkpoint.js';
import type { Experience } from './experience.js';
import { OwnWorlds } from './local-actors.js';
import { updateNoise } from './noise.js';
import { TrainedPolicy } from './policy.js';
import { RemoteActors, type RemoteReplay } from './remote-actors.js';

interface JobOptions {
  /** Fully resolved: `learner.samples` is set. */
  readonly config: Config;
  readonly engine: Engine;
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

/** Where the experience comes from: one of the two. */
type ExperienceOptions =
  | {
      /** K worlds to learn from. */
      readonly environment: VectorEnvironment;
      readonly remote?: undefined;
    }
  | {
      readonly environment?: undefined;
      /** The transitions of actors elsewhere, in worlds like those to be judged in. */
      readonly remote: RemoteReplay;
    };

export type TrainControlOptions = JobOptions & ExperienceOptions;

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
 * Trains an off-policy actor-critic: gathers experience, remembers, and improves critics and policy. With worlds of its
 * own it keeps to a schedule that counts and never races: iteration i acts with the policy that the updates of iteration
 * i−1 left, and this iteration's updates run while the worlds step. The same configuration and seed then give the same
 * parameters; what actors elsewhere send comes in whatever order they send it.
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
  readonly #experience: Experience;
  readonly #key: RandomKey;
  readonly #family: DistributionFamily;
  readonly #averages = new Averages();
  #counters: Counters = { environmentSteps: 0, updates: 0, wallSeconds: 0 };
  /** Wall time before this process took over, and when it did. */
  #elapsedBefore = 0;
  #startedAt = 0;
  #lastMetrics = { wallSeconds: 0, environmentSteps: 0, updates: 0 };

  constructor(options: TrainControlOptions) {
    this.#o = options;
    const { config, engine } = options;
    const shape = options.environment ?? options.evaluationEnvironment;
    const { observationSize, actionSize, actionMinimum, actionMaximum, actionValues } = shape;
    this.#key = randomKey(config.seed);
    this.#family = createFamily(config.policy, actionValues);
    this.#agent = new Agent(
      {
        ...options,
        classifierName: config.feedback.name,
        family: this.#family,
        observationSize,
        actionSize,
        actionMinimum,
        actionMaximum,
        actionValues,
      },
      foldIn(this.#key, 'parameters'),
    );
    this.#policy = new TrainedPolicy(engine, config, shape, this.#agent.parameters.policy);
    this.#store = new TransitionStore(config.replay.capacity, observationSize, actionSize);
    this.#experience = this.#createExperience();
  }

  #createExperience(): Experience {
    const { config, engine, environment, evaluationEnvironment, remote, observer, signal, clock } = this.#o;
    const sink: TransitionSink = (...transition) => this.#store.add(...transition);
    const shared = { config, sink, averages: this.#averages, notice: observer.notice };
    if (remote === undefined) {
      return new OwnWorlds({
        ...shared,
        environment,
        family: this.#family,
        key: foldIn(this.#key, 'acting'),
        act: (observations, noise, numEnvs) => this.#agent.act(observations, noise, numEnvs),
      });
    }
    const { policy } = this.#agent.parameters;
    return new RemoteActors({
      ...shared,
      shape: evaluationEnvironment,
      remote,
      readPolicy: async () => {
        const values = await engine.read(Object.values(policy));
        return Object.fromEntries(Object.keys(policy).map((name, i) => [name, values[i]]));
      },
      signal,
      clock,
    });
  }

  async run(): Promise<TrainControlResult> {
    const { config, observer, signal, clock } = this.#o;
    this.#startedAt = clock();
    await this.#begin();
    const total = config.learner.environmentSteps;
    if (this.#counters.evaluationDue === true) await this.#evaluateOnTheWay();
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
      if (after < total && crossed(config.evaluation.every)) await this.#evaluateOnTheWay();
      if (after < total && crossed(config.checkpoint.every)) await this.#checkpoint();
    }
    await this.#runUpdates(this.#experience.updatesDue(this.#counters.environmentSteps));
    this.#report();
    observer.progress(this.#counters.environmentSteps, this.#counters.updates);
    await this.#checkpoint();
    await this.#experience.end();
    const evaluation = await this.#evaluate();
    await this.#experience.close();
    return this.#result(evaluation, signal?.aborted ?? false);
  }

  async #begin(): Promise<void> {
    const { resume } = this.#o;
    if (resume === undefined) {
      await this.#experience.begin();
      if (this.#experience.needsCheckpointAtStart) await this.#checkpoint();
      return;
    }
    this.#counters = await restoreJob(resume, this.#parts());
    this.#elapsedBefore = this.#counters.wallSeconds;
    this.#lastMetrics = { ...this.#counters };
  }

  /** Gather and learn at once, then take in what was gathered. */
  async #iterate(): Promise<void> {
    const { arrived } = await this.#experience.gather(this.#counters);
    let failure: unknown;
    const gathering = arrived.catch((error: unknown) => {
      failure = error;
      return undefined;
    });
    try {
      await this.#runUpdates(this.#experience.updatesAllowed(this.#counters.environmentSteps));
    } finally {
      // Never leave a step under way: the streams belong to whoever closes them.
      await gathering;
    }
    const takeIn = await gathering;
    if (takeIn === undefined) {
      if (failure instanceof ConnectionLostError) await this.#checkpoint();
      throw failure;
    }
    this.#counters.environmentSteps += takeIn();
  }

  /** Goes on to update number `target`. */
  async #runUpdates(target: number): Promise<void> {
    const { config } = this.#o;
    const { batchSize, samples = 4, environmentSteps: total, decayFrom } = config.learner;
    if (this.#store.size === 0) return;
    const { actionSize } = this.#experience.shape;
    const factor = learningRateFactor(this.#counters.environmentSteps / total, decayFrom);
    const pending: Promise<Metrics>[] = [];
    while (this.#counters.updates < target) {
      const { updates } = this.#counters;
      const key = foldIn(foldIn(this.#key, 'update'), updates);
      const batch = this.#store.sample(foldIn(key, 'batch'), batchSize);
      const noise = updateNoise(this.#family, foldIn(key, 'samples'), [samples, batchSize, actionSize]);
      const work = this.#agent.update(updates, batch, noise, factor);
      // The next batch is drawn while this update runs.
      pending.push(work);
      if (this.#agent.sequential) await work;
      this.#counters.updates += 1;
    }
    for (const metrics of await Promise.all(pending)) this.#averages.add(metrics);
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
    this.#o.observer.metrics({
      steps: environmentSteps,
      stepUnit: 'environment steps',
      updates,
      wallSeconds,
      values,
    });
  }

  #evaluationRecord(scores: readonly number[]): EvaluationRecord {
    const { environmentSteps, updates } = this.#counters;
    return {
      steps: environmentSteps,
      stepUnit: 'environment steps',
      updates,
      wallSeconds: this.#wallSeconds(),
      scoreName: 'return',
      scores,
    };
  }

  async #evaluate(): Promise<EvaluationRecord> {
    const { config, evaluationEnvironment, observer, signal } = this.#o;
    const returns = await this.#policy.evaluate(evaluationEnvironment, config.evaluation.episodes, signal);
    const record = this.#evaluationRecord(returns);
    // An evaluation cut short would look like a worse policy.
    if (!signal?.aborted) observer.evaluation(record);
    return record;
  }

  /** An evaluation that is lost or cut short is made up for by whoever goes on from the checkpoint. */
  async #evaluateOnTheWay(): Promise<void> {
    this.#counters.evaluationDue = true;
    try {
      await this.#evaluate();
    } catch (error) {
      if (error instanceof ConnectionLostError) await this.#checkpoint();
      throw error;
    }
    this.#counters.evaluationDue = this.#o.signal?.aborted ?? false;
  }

  #parts() {
    return {
      engine: this.#o.engine,
      parameters: this.#agent.parameters,
      store: this.#store,
      experience: this.#experience,
    };
  }

  async #checkpoint(): Promise<void> {
    this.#report();
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    const checkpoint = await saveJob(this.#parts(), counters);
    await this.#o.observer.checkpoint(counters.environmentSteps, checkpoint);
    await this.#experience.saved();
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
