import { OutOfStepError, StoppedError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey } from '../../core/random-keys.js';
import { createFamily } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { TransitionSink } from '../../replay/n-step.js';
import { TransitionStore } from '../../replay/transition-store.js';
import type { EvaluationRecord } from '../../run/records.js';
import { controlLearningRateFactor } from '../schedule.js';
import { Agent, type Metrics } from './agent.js';
import { Averages } from './averages.js';
import { type Counters, rememberParameters, restoreJob, saveJob } from './checkpoint.js';
import { type Experience, isOfClassifier, isOfSimulators, unsaved } from './experience.js';
import { LearningWatch, watchedPolicy } from './learning-watch.js';
import { LocalActors } from './local-actors.js';
import { updateNoise } from './noise.js';
import { shapeInCheckpoint, shapeOf, TrainedPolicy } from './policy.js';
import { PolicyEvaluation } from './policy-evaluation.js';
import { requireSameKind } from './policy-fit.js';
import { RemoteActors } from './remote-actors.js';
import type { TrainControlOptions, TrainControlResult } from './train-options.js';

/** Environment steps between two lines of metrics. */
const metricsEvery = 1000;

/**
 * Trains a policy in simulators by off-policy actor-critic learning: gathers experience into a replay, and improves critics and
 * policy on batches from it. In its own environments it keeps to a schedule that depends on step counts only, not on timing:
 * iteration i acts with the policy after the updates of iteration i−1, and the updates of iteration i run while the environments
 * step. The same configuration and seed then give the same parameters. Transitions of remote actors are taken in the order of
 * their arrival.
 *
 * @throws PmpoError from the environment (after a checkpoint if a connection stays lost, or a simulator fails again and again) or
 *   the classifier (after a checkpoint if it is plain code), and when the parameters diverge; OutOfStepError, without a checkpoint, if experience cannot be trusted.
 */
export async function trainControl(options: TrainControlOptions): Promise<TrainControlResult> {
  return new ControlJob(options).run();
}

class ControlJob {
  readonly #options: TrainControlOptions;
  readonly #agent: Agent;
  readonly #policy: TrainedPolicy;
  readonly #store: TransitionStore;
  readonly #experience: Experience;
  readonly #key: RandomKey;
  readonly #family: DistributionFamily;
  readonly #averages = new Averages();
  readonly #evaluation: PolicyEvaluation;
  #watch: LearningWatch;
  #counters: Counters = { environmentSteps: 0, updates: 0, wallSeconds: 0 };
  /** Wall time of the processes before this one in seconds, and the clock when this one began. */
  #elapsedBefore = 0;
  #startedAt = 0;
  #lastMetrics = { wallSeconds: 0, environmentSteps: 0, updates: 0 };

  constructor(options: TrainControlOptions) {
    this.#options = options;
    const { config, engine } = options;
    const shape = options.environment ?? options.evaluationEnvironment;
    const { observationSize, actionSize, actionMinimum, actionMaximum, actionValues } = shape;
    this.#key = randomKey(config.seed);
    this.#family = createFamily(config.policy, actionValues);
    this.#agent = new Agent(
      {
        ...options,
        classifierName: options.classifierName ?? 'custom',
        hostCalls: { signal: options.signal, onWait: (what) => options.observer.waiting?.(what) },
        family: this.#family,
        observationSize,
        actionSize,
        actionMinimum,
        actionMaximum,
        actionValues,
        allActions: this.#family.allActions(config.learner.allActionsUpTo),
      },
      foldIn(this.#key, 'parameters'),
    );
    this.#policy = new TrainedPolicy(engine, config, shapeOf(shape), this.#agent.parameters.actingPolicy);
    this.#evaluation = new PolicyEvaluation({
      ...options,
      policy: this.#policy,
      actingPolicy: this.#agent.parameters.actingPolicy,
      environment: options.evaluationEnvironment,
      recordOf: (scores) => this.#evaluationRecord(scores),
    });
    this.#watch = new LearningWatch(this.#watched);
    this.#store = new TransitionStore(config.replay.capacity, shape);
    this.#experience = this.#createExperience();
  }

  get #watched() {
    const { config, operator } = this.#options;
    const { actionValues } = this.#options.environment ?? this.#options.evaluationEnvironment;
    return watchedPolicy(this.#family, config.policy, actionValues, operator);
  }

  #createExperience(): Experience {
    const { config, engine, environment, evaluationEnvironment, remote, observer, signal, clock } =
      this.#options;
    const sink: TransitionSink = (...transition) => this.#store.add(...transition);
    const shared = { config, sink, averages: this.#averages, notice: observer.notice };
    if (remote === undefined) {
      return new LocalActors({
        ...shared,
        environment,
        family: this.#family,
        key: foldIn(this.#key, 'acting'),
        act: (...inputs) => this.#agent.act(...inputs),
      });
    }
    const { actingPolicy: policy } = this.#agent.parameters;
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
    try {
      return await this.#run();
    } catch (error) {
      if (!isOfClassifier(error)) throw unsaved(error);
      try {
        await this.#checkpoint();
      } catch (other) {
        throw unsaved(other);
      }
      if (error instanceof StoppedError) return this.#result(this.#evaluationRecord([]), true);
      throw error;
    }
  }

  async #run(): Promise<TrainControlResult> {
    const { config, observer, signal, clock } = this.#options;
    this.#startedAt = clock();
    await this.#begin();
    const total = config.learner.environmentSteps;
    // At the end of a run that was extended meanwhile, too.
    if (this.#counters.evaluationDue === true && this.#counters.environmentSteps < total) {
      await this.#midway();
    }
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
      if (after < total && crossed(config.evaluation.every)) await this.#midway();
      const isAsked = observer.checkpointRequested?.() === true;
      if (after < total && (isAsked || crossed(config.checkpoint.every))) await this.#checkpoint();
    }
    await this.#runUpdates(this.#experience.updatesDue(this.#counters.environmentSteps));
    this.#report();
    observer.progress(this.#counters.environmentSteps, this.#counters.updates);
    this.#counters.evaluationDue = true;
    await this.#checkpoint();
    await this.#experience.end();
    const evaluation = await this.#evaluation.evaluate();
    await this.#experience.close();
    return this.#result(evaluation, signal?.aborted ?? false);
  }

  async #begin(): Promise<void> {
    const { resume } = this.#options;
    if (resume === undefined) {
      await this.#experience.begin();
      if (this.#experience.needsCheckpointAtStart) await this.#checkpoint();
      return;
    }
    const remedy = 'Resume with the simulator that the run was started with, or start a new run';
    requireSameKind(this.#policy.shape, shapeInCheckpoint(resume), remedy);
    this.#counters = await restoreJob(resume, this.#parts());
    this.#evaluation.best.restore(resume);
    this.#watch = new LearningWatch(this.#watched, this.#counters.watch);
    this.#elapsedBefore = this.#counters.wallSeconds;
    this.#lastMetrics = { ...this.#counters };
  }

  /** Gathers and learns at the same time, then records what was gathered. */
  async #iterate(): Promise<void> {
    const { arrived } = await this.#experience.gather(this.#counters);
    let failure: unknown;
    const gathering = arrived.catch((error: unknown) => {
      failure = error;
      return undefined;
    });
    let ofUpdates: unknown;
    try {
      await this.#runUpdates(this.#experience.updatesAllowed(this.#counters.environmentSteps));
    } catch (error) {
      ofUpdates = error;
    }
    // The step must have ended before the caller closes the environments.
    const record = await gathering;
    // What cannot be trusted must not be saved, whatever else has failed.
    if (ofUpdates !== undefined && !(failure instanceof OutOfStepError)) throw ofUpdates;
    if (record === undefined) {
      if (isOfSimulators(failure)) await this.#checkpoint();
      throw failure;
    }
    this.#counters.environmentSteps += record();
  }

  /**
   * Makes updates until there are `target` in all. If a classifier of plain code fails or is stopped in the middle, all of them are
   * taken back, so that a resumed run repeats them with the same experience.
   */
  async #runUpdates(target: number): Promise<void> {
    if (this.#store.size === 0 || this.#counters.updates >= target) return;
    if (!this.#agent.sequential) return this.#makeUpdates(target);
    const { updates } = this.#counters;
    const restore = await rememberParameters(this.#options.engine, this.#agent.parameters);
    try {
      await this.#makeUpdates(target);
    } catch (error) {
      await restore();
      this.#counters.updates = updates;
      throw error;
    }
  }

  async #makeUpdates(target: number): Promise<void> {
    const { config } = this.#options;
    const { batchSize } = config.learner;
    const drawn = [this.#agent.samples, batchSize, this.#experience.shape.actionSize];
    const factor = controlLearningRateFactor(this.#counters.environmentSteps, config.learner);
    const pending: Promise<Metrics>[] = [];
    while (this.#counters.updates < target) {
      const { updates } = this.#counters;
      const key = foldIn(foldIn(this.#key, 'update'), updates);
      const batch = this.#store.sample(foldIn(key, 'batch'), batchSize);
      const noise = updateNoise(this.#family, foldIn(key, 'samples'), drawn);
      const work = this.#agent.update(updates, batch, noise, factor);
      // The next batch is drawn while this update runs.
      pending.push(work);
      if (this.#agent.sequential) await work;
      this.#counters.updates += 1;
    }
    for (const metrics of await Promise.all(pending)) this.#averages.add(metrics);
  }

  #wallSeconds(): number {
    return this.#elapsedBefore + (this.#options.clock() - this.#startedAt) / 1000;
  }

  #report(): void {
    const { environmentSteps, updates } = this.#counters;
    if (environmentSteps === this.#lastMetrics.environmentSteps) return;
    const wallSeconds = this.#wallSeconds();
    const seconds = Math.max(1e-9, wallSeconds - this.#lastMetrics.wallSeconds);
    const values = {
      ...this.#averages.take(),
      ...this.#experience.totals(),
      'replay/size': this.#store.size,
      'speed/stepsPerSecond': (environmentSteps - this.#lastMetrics.environmentSteps) / seconds,
      'speed/updatesPerSecond': (updates - this.#lastMetrics.updates) / seconds,
    };
    this.#lastMetrics = { environmentSteps, updates, wallSeconds };
    const { config, observer } = this.#options;
    observer.metrics({
      steps: environmentSteps,
      stepUnit: 'environment steps',
      updates,
      wallSeconds,
      values,
    });
    const progress = environmentSteps / config.learner.environmentSteps;
    for (const message of this.#watch.observe(values, progress)) observer.notice(message);
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

  #midway(): Promise<void> {
    return this.#evaluation.midway(this.#counters, () => this.#checkpoint());
  }

  #parts() {
    return {
      engine: this.#options.engine,
      parameters: this.#agent.parameters,
      store: this.#store,
      experience: this.#experience,
    };
  }

  /** Saves a checkpoint. @throws OutOfStepError before that if what was learned cannot be trusted. */
  async #checkpoint(): Promise<void> {
    this.#report();
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds(), watch: this.#watch.state };
    const [{ tensors, metadata }] = await Promise.all([
      saveJob(this.#parts(), counters),
      this.#experience.verify(),
    ]);
    const best = this.#evaluation.best.snapshot();
    const { layout } = this.#policy.shape;
    await this.#options.observer.checkpoint(counters.environmentSteps, {
      tensors: { ...tensors, ...best.tensors },
      metadata: { ...metadata, ...best.metadata, ...(layout === undefined ? {} : { layout }) },
    });
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
      best: this.#evaluation.best.evaluation,
      bestPolicy: interrupted ? undefined : this.#evaluation.bestPolicy(),
    };
  }
}
