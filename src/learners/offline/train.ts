import { PmpoError, StoppedError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey } from '../../core/random-keys.js';
import { digestOf } from '../../datasets/transitions/digest.js';
import { createFamily } from '../../distributions/create.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { Compiled } from '../../engine/engine.js';
import type { NamedVariables } from '../../engine/tensors.js';
import { copyVariables, moveTowards } from '../../engine/variables.js';
import type { EvaluationRecord } from '../../run/records.js';
import { Averages } from '../control/averages.js';
import { BestPolicy } from '../control/best-policy.js';
import { restoreParameters } from '../control/checkpoint.js';
import { isOfClassifier, isOfSimulators } from '../control/experience.js';
import { updateNoise } from '../control/noise.js';
import { type AgentParameters, allVariables, createParameters } from '../control/parameters.js';
import { policyPrefixes, shapeInCheckpoint, TrainedPolicy } from '../control/policy.js';
import { requireSameKind } from '../control/policy-fit.js';
import { ImprovementStep } from '../improvement-step.js';
import { copyIsDue, learningRateFactor } from '../schedule.js';
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
const inFlight = 4;

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
  readonly #copyReference: Compiled;
  readonly #copyTargets: Compiled;
  readonly #averages = new Averages();
  readonly #best = new BestPolicy();
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
    const { policy, actingPolicy, reference, critics, targetCritics } = this.#parameters;
    this.#policy = new TrainedPolicy(engine, config, data.shape, actingPolicy);
    const { reference: rule, critic } = config;
    this.#copyReference = engine.jit('copyReference', () => {
      if (typeof rule === 'object' && 'rate' in rule) moveTowards(policy, reference, rule.rate);
      else copyVariables(policy, reference);
      return {};
    });
    this.#copyTargets = engine.jit('copyTargetCritics', () => {
      critics.forEach((tree, i) => {
        if ('rate' in critic.target) moveTowards(tree, targetCritics[i]!, critic.target.rate);
        else copyVariables(tree, targetCritics[i]!);
      });
      return {};
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
    if (this.#counters.evaluationDue && this.#counters.updates < total) await this.#evaluateMidway();
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
      if (after < total && crossed(config.evaluation.every)) await this.#evaluateMidway();
      const isAsked = observer.checkpointRequested?.() === true;
      if (after < total && (isAsked || crossed(config.checkpoint.every))) await this.#checkpoint();
    }
    this.#report();
    observer.progress(this.#counters.updates, this.#counters.updates);
    this.#counters.evaluationDue = true;
    await this.#checkpoint();
    const evaluation = await this.#evaluate();
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
    this.#best.restore(checkpoint);
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
      if (pending.length >= inFlight) await pending.shift();
    }
    await Promise.all(pending);
  }

  async #update(update: number, batch: Awaited<ReturnType<TransitionWindows['batch']>>): Promise<void> {
    const { config, data } = this.#options;
    const { learner, reference, critic } = config;
    const shape = noiseShape(learner, data.shape.actionMinimum.length);
    const noise = updateNoise(this.#family, foldIn(foldIn(this.#key, 'samples'), update), shape);
    const factor = learningRateFactor(update / learner.updates, learner.decayFrom);
    const improving = this.#step.run(
      { ...batch, noise, learningRateFactor: { shape: [], data: Float32Array.of(factor) } },
      update,
    );
    if (this.#step.sequential) await improving;
    // The engine runs calls in the order in which they are made.
    const [{ metrics }] = await Promise.all([
      improving,
      ...(reference !== 'initial' && copyIsDue(reference, update + 1) ? [this.#copyReference.run({})] : []),
      ...(copyIsDue(critic.target, update + 1) ? [this.#copyTargets.run({})] : []),
    ]);
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

  async #evaluate(): Promise<EvaluationRecord> {
    const { config, evaluationEnvironment, observer, signal, recorder } = this.#options;
    if (evaluationEnvironment === undefined) return this.#record([]);
    recorder?.start();
    const returns = await this.#policy.evaluate(evaluationEnvironment, config.evaluation.episodes, signal);
    const record = this.#record(returns);
    // An evaluation that was cut short has too few episodes to be recorded.
    if (!signal?.aborted) {
      observer.evaluation(record);
      const isBest = await this.#best.offer(record, this.#options.engine, this.#policyVariables());
      const episode = await recorder?.take();
      if (episode !== undefined) await observer.episode?.(record, episode, isBest);
    }
    return record;
  }

  /** Evaluates before the end of the run. If the evaluation fails or is cut short, the resumed run repeats it. */
  async #evaluateMidway(): Promise<void> {
    if (this.#options.evaluationEnvironment === undefined) return;
    this.#counters.evaluationDue = true;
    try {
      await this.#evaluate();
    } catch (error) {
      if (isOfSimulators(error)) await this.#checkpoint();
      throw error;
    }
    this.#counters.evaluationDue = this.#options.signal?.aborted ?? false;
  }

  /** The variables that make up the policy, by their names in a checkpoint. */
  #policyVariables(): NamedVariables {
    return Object.fromEntries(
      Object.entries(allVariables(this.#parameters)).filter(([name]) =>
        policyPrefixes.some((prefix) => name.startsWith(prefix)),
      ),
    );
  }

  async #checkpoint(): Promise<void> {
    this.#report();
    const { engine, observer, data } = this.#options;
    const variables = allVariables(this.#parameters);
    const values = await engine.read(Object.values(variables));
    const { observationSize, actionMinimum, actionMaximum, actionValues, layout } = data.shape;
    const best = this.#best.snapshot();
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    await observer.checkpoint(counters.updates, {
      tensors: {
        ...Object.fromEntries(Object.keys(variables).map((name, i) => [name, values[i]!])),
        'acting/actionMinimum': { shape: [actionMinimum.length], data: actionMinimum.slice() },
        'acting/actionMaximum': { shape: [actionMinimum.length], data: actionMaximum.slice() },
        'acting/actionValues': { shape: [actionMinimum.length], data: actionValues.slice() },
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

  #bestPolicy(): TrainedPolicy | undefined {
    const { config, engine } = this.#options;
    if (this.#best.evaluation === undefined) return undefined;
    const variables = Object.entries(this.#best.values).map(
      ([name, value]) => [name.slice(name.indexOf('/') + 1), engine.variable(`best/${name}`, value)] as const,
    );
    return new TrainedPolicy(engine, config, this.#policy.shape, Object.fromEntries(variables));
  }

  #result(evaluation: EvaluationRecord, interrupted: boolean): TrainOfflineResult {
    return {
      updates: this.#counters.updates,
      wallSeconds: this.#wallSeconds(),
      evaluation,
      interrupted,
      policy: this.#policy,
      best: this.#best.evaluation,
      bestPolicy: interrupted ? undefined : this.#bestPolicy(),
    };
  }
}
