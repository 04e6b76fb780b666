import type { ResolvedLanguageConfig } from '../../config/load.js';
import { PmpoError } from '../../core/errors.js';
import { foldIn, randomKey } from '../../core/random-keys.js';
import type { Engine } from '../../engine/engine.js';
import type { HostTensor } from '../../engine/tensors.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { LanguageModel } from '../../language/language-model.js';
import type { Reward } from '../../language/rewards/reward.js';
import type { TrainableModel } from '../../language/trainable-model.js';
import type { Operator } from '../../operators/operator.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import { expectShapes } from '../../run/checkpoints.js';
import type { LearnerObserver } from '../../run/observer.js';
import { type EvaluationRecord, type LanguageEvaluation, readRecord } from '../../run/records.js';
import { learningRateFactor } from '../schedule.js';
import type { BatchSource, LanguageBatch, Prompt } from './batch.js';
import { evaluated, evaluations, winRate } from './evaluation.js';
import { GradientStep } from './gradient-step.js';
import { sampleAndJudge } from './prompt-batches.js';
import { improve } from './update.js';

/** Who samples: from the reference to learn, from the policy to be judged. One server may do both in turn. */
export interface Samplers {
  readonly reference: LanguageModel;
  readonly policy: LanguageModel;
  /** `reference` has the reference's weights from now on. @param changed whether they are new since the last time. */
  publishReference(changed: boolean): Promise<void>;
  /** `policy` has the policy's weights from now on. */
  publishPolicy(): Promise<void>;
}

export interface TrainLanguageOptions {
  readonly config: ResolvedLanguageConfig;
  /** Runs the operator's mathematics. */
  readonly engine: Engine;
  readonly model: TrainableModel;
  readonly samplers: Samplers;
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** What is learned from; where its completions are sampled, from `samplers.reference`. */
  readonly source: BatchSource;
  /** Prompts that are only evaluated on, and what evaluates them; absent where there is none (a data set of labels). */
  readonly heldOut?: { readonly prompts: readonly Prompt[]; readonly reward: Reward };
  /** Numbers of held-out data, to be recorded at each evaluation. */
  readonly heldOutMetrics?: () => Promise<Readonly<Record<string, number>>>;
  readonly observer: LanguageObserver;
  readonly resume?: Checkpoint;
  /** Aborted: the job saves a checkpoint and returns. */
  readonly signal?: AbortSignal;
  /** Milliseconds; differences alone are used. */
  readonly clock: () => number;
}

/** What a language job tells beside what all learners do. */
export interface LanguageObserver extends LearnerObserver {
  /** Held-out completions, to be kept. */
  completions(evaluation: LanguageEvaluation): Promise<void>;
  /** Those that were kept of an evaluation; undefined where there are none. */
  completionsAt(updates: number): Promise<LanguageEvaluation | undefined>;
  /**
   * A name for the model's part of checkpoint number `index`, and the folder that a name stands for: the run may be moved while it
   * is stopped.
   */
  modelName(index: number): string;
  modelFolder(name: string): string;
}

export interface TrainLanguageResult {
  readonly samples: number;
  readonly updates: number;
  readonly wallSeconds: number;
  readonly evaluation: EvaluationRecord;
  readonly interrupted: boolean;
}

interface Counters {
  updates: number;
  /** Completions learned from: the environment's steps of a language model, each a whole sequence. */
  samples: number;
  wallSeconds: number;
  /** Checkpoints saved. */
  checkpoints: number;
}

/** What stands in a checkpoint beside the operator's state. */
interface JobMetadata {
  readonly job: 'language';
  readonly counters: Counters;
  /** The name of the model's part, and the optimizer steps that it had made. */
  readonly model: string;
  readonly steps: number;
  /** Whether it was saved when an evaluation was due, which a stop then cut short. */
  readonly evaluationDue: boolean;
  readonly last?: EvaluationRecord;
}

/**
 * Improves a language model: draws batches, takes the operator's gradient on them, and hands it to the model as coefficients.
 * Completions are always those of the present reference: where it stays the same after an update, the next batch is sampled
 * while this one is learned from; where it changes, sampling waits for it. Which weights sampled what is thus decided by
 * counting.
 *
 * @throws PmpoError from model, sampler, reward and classifier, and for numbers that are not finite.
 */
export async function trainLanguage(options: TrainLanguageOptions): Promise<TrainLanguageResult> {
  return new LanguageJob(options).run();
}

class LanguageJob {
  readonly #o: TrainLanguageOptions;
  readonly #step: GradientStep;
  readonly #key;
  #counters: Counters = { updates: 0, samples: 0, wallSeconds: 0, checkpoints: 0 };
  #elapsedBefore = 0;
  #startedAt = 0;
  #base: LanguageEvaluation | undefined;
  #last: EvaluationRecord | undefined;
  /** Updates at the last checkpoint. */
  #savedAt = -1;
  /** The batch of the next update, on its way. */
  #next: Promise<LanguageBatch> | undefined;

  constructor(options: TrainLanguageOptions) {
    this.#o = options;
    const { config, engine, operator, classifier } = options;
    this.#key = randomKey(config.seed);
    this.#step = new GradientStep({
      engine,
      operator,
      classifier,
      classifierName: config.feedback.name,
      kl: config.language.kl,
      stateLearningRate: config.learner.stateLearningRate,
    });
  }

  async run(): Promise<TrainLanguageResult> {
    const { config, observer, signal, clock, resume } = this.#o;
    this.#startedAt = clock();
    const { updates: total } = config.learner;
    let evaluationDue = resume === undefined || (await this.#restore(resume));
    if (resume === undefined) await this.#begin();
    // Whoever samples may have other weights from before.
    await this.#publishReference(true);
    while (true) {
      const { updates } = this.#counters;
      if (updates > 0 && updates % config.checkpoint.every === 0 && updates !== this.#savedAt)
        await this.#checkpoint(evaluationDue);
      if (evaluationDue && !(await this.#evaluate())) return this.#stopped(true);
      evaluationDue = false;
      if (updates >= total) break;
      if (signal?.aborted || !(await this.#update())) return this.#stopped(false);
      observer.progress(this.#counters.samples, this.#counters.updates);
      const done = this.#counters.updates;
      evaluationDue = done === total || done % config.evaluation.every === 0;
      if (done === total) await this.#checkpoint(true);
    }
    return this.#result(signal?.aborted ?? false);
  }

  /** From the model's own weights, whatever it has learned in runs before. */
  async #begin(): Promise<void> {
    const { model, observer } = this.#o;
    const { name, steps } = model.info;
    await model.reset();
    if (steps > 0) observer.notice(`${name} had made ${steps} steps: it was reset to where it began`);
  }

  async #stopped(evaluationDue: boolean): Promise<TrainLanguageResult> {
    await this.#settle();
    await this.#checkpoint(evaluationDue);
    return this.#result(true);
  }

  /** Whether the reference is another one once `updates` updates are done. */
  #referenceChanges(updates: number): boolean {
    const { reference } = this.#o.config;
    if (reference === 'initial') return false;
    return 'rate' in reference || updates % reference.period === 0;
  }

  /** One update; false when it was stopped before anything was learned. */
  async #update(): Promise<boolean> {
    const { config, model, source, signal } = this.#o;
    const { updates } = this.#counters;
    const { learningRate, decayFrom, updates: total, overlap, maxGradientNorm, samples } = config.learner;
    let batch: LanguageBatch;
    try {
      batch = await (this.#next ?? source.batch(updates, signal));
    } catch (error) {
      if (signal?.aborted) return false;
      throw error;
    } finally {
      this.#next = undefined;
    }
    const changes = this.#referenceChanges(updates + 1);
    if (overlap && !changes && updates + 1 < total) {
      this.#next = source.batch(updates + 1, signal);
      // Its failure is met when it is waited for.
      this.#next.catch(() => {});
    }
    if (updates === 0 && this.#o.heldOut !== undefined) this.#lookAtRewards(batch);
    const started = this.#wallSeconds();
    const values = await improve(
      batch,
      updates,
      learningRate * learningRateFactor(updates / total, decayFrom),
      {
        model,
        step: this.#step,
        samples,
        paddedTokens: { prompt: model.info.contextLength, completion: config.language.sampling.maxTokens },
        exactKl: config.language.kl === 'exact',
        maxGradientNorm,
      },
    );
    this.#counters.updates += 1;
    this.#counters.samples += batch.reduce((sum, { completions }) => sum + completions.length, 0);
    if (changes) {
      const { reference } = config;
      await model.copyReference(
        typeof reference === 'object' && 'rate' in reference ? reference.rate : undefined,
      );
      if (updates + 1 < total) await this.#publishReference(true);
    }
    const seconds = this.#wallSeconds() - started;
    this.#record({ ...values, 'speed/updateSeconds': seconds });
    return true;
  }

  /** A reward that tells nothing apart at the start is most often a mistake: what is accepted is then a matter of chance. */
  #lookAtRewards(batch: LanguageBatch): void {
    const given = batch.flatMap(({ completions }) =>
      completions.flatMap(({ evaluation }) => evaluation ?? []),
    );
    if (given.length < 2 || given.some((one) => one !== given[0])) return;
    this.#o.observer.notice(
      `Warning: all ${given.length} completions of the first batch were evaluated with ${given[0]}. A reward that tells none from another teaches nothing: is it right?`,
    );
  }

  #record(values: Readonly<Record<string, number>>): void {
    const { updates, samples } = this.#counters;
    const finite = Object.fromEntries(Object.entries(values).filter(([, value]) => !Number.isNaN(value)));
    this.#o.observer.metrics({
      steps: samples,
      stepUnit: 'completions',
      updates,
      wallSeconds: this.#wallSeconds(),
      values: finite,
    });
  }

  #evaluationRecord(scores: readonly number[]): EvaluationRecord {
    const { updates, samples } = this.#counters;
    const wallSeconds = this.#wallSeconds();
    return { steps: samples, stepUnit: 'completions', updates, wallSeconds, scoreName: 'reward', scores };
  }

  /** Waits for what is being sampled: weights must not change under it. */
  async #settle(): Promise<void> {
    await this.#next?.catch(() => {});
  }

  /** Judges the policy; false when it was stopped before the end. */
  async #evaluate(): Promise<boolean> {
    const { config, samplers, observer, heldOut, heldOutMetrics, signal } = this.#o;
    await this.#settle();
    const { updates } = this.#counters;
    if (heldOutMetrics !== undefined) this.#record(await heldOutMetrics());
    if (heldOut === undefined) return true;
    if (signal?.aborted) return false;
    await samplers.publishPolicy();
    // The same seeds each time: what differs is the policy.
    let batch: LanguageBatch;
    try {
      batch = await sampleAndJudge(
        heldOut.prompts,
        config.evaluation.completions,
        foldIn(this.#key, 'evaluation'),
        { sampler: samplers.policy, reward: heldOut.reward, sampling: config.language.sampling },
        signal,
      );
    } catch (error) {
      if (signal?.aborted) return false;
      throw error;
    }
    const evaluation = evaluated(updates, batch);
    this.#base ??= updates === 0 ? evaluation : await observer.completionsAt(0);
    const last = this.#evaluationRecord(evaluations(evaluation));
    this.#last = last;
    await observer.completions(evaluation);
    observer.evaluation(last);
    if (this.#base !== undefined) this.#record({ 'evaluation/winRate': winRate(evaluation, this.#base) });
    if (updates < config.learner.updates) await this.#publishReference(false);
    return true;
  }

  /** A server may load for minutes. Where that was stopped, nothing more is sampled, and whoever goes on publishes again. */
  async #publishReference(changed: boolean): Promise<void> {
    const { samplers, signal } = this.#o;
    try {
      await samplers.publishReference(changed);
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  }

  #wallSeconds(): number {
    return this.#elapsedBefore + (this.#o.clock() - this.#startedAt) / 1000;
  }

  async #checkpoint(evaluationDue: boolean): Promise<void> {
    const { engine, model, observer } = this.#o;
    await this.#settle();
    this.#counters.checkpoints += 1;
    this.#savedAt = this.#counters.updates;
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    const name = observer.modelName(counters.checkpoints);
    await model.save(observer.modelFolder(name));
    const { state } = this.#step;
    const values = await engine.read(Object.values(state));
    await observer.checkpoint(counters.samples, {
      tensors: Object.fromEntries(Object.keys(state).map((name, i) => [name, values[i]!])),
      metadata: {
        job: 'language',
        counters,
        model: name,
        steps: model.info.steps,
        evaluationDue,
        ...(this.#last ? { last: this.#last } : {}),
      } satisfies JobMetadata,
    });
  }

  /** Takes everything up where the checkpoint left it; returns whether an evaluation is due. */
  async #restore({ tensors, metadata }: Checkpoint): Promise<boolean> {
    const { engine, model, observer } = this.#o;
    const saved = metadata as unknown as JobMetadata;
    const { state } = this.#step;
    const shapes = Object.fromEntries(Object.entries(state).map(([name, { shape }]) => [name, shape]));
    expectShapes('checkpoint', tensors, shapes);
    for (const [name, variable] of Object.entries(state)) {
      await engine.write(variable, tensors[name] as HostTensor);
    }
    this.#counters = { ...saved.counters };
    this.#savedAt = saved.counters.updates;
    this.#elapsedBefore = saved.counters.wallSeconds;
    this.#last = saved.last && readRecord<EvaluationRecord>(saved.last, 'language');
    const folder = observer.modelFolder(saved.model);
    await model.load(folder);
    if (model.info.steps !== saved.steps) {
      throw new PmpoError({
        where: folder,
        what: `the model there has made ${model.info.steps} steps, that of the checkpoint ${saved.steps}: another run has written over it`,
      });
    }
    return saved.evaluationDue;
  }

  #result(interrupted: boolean): TrainLanguageResult {
    const { updates, samples } = this.#counters;
    const wallSeconds = this.#wallSeconds();
    return {
      updates,
      samples,
      wallSeconds,
      evaluation: this.#last ?? this.#evaluationRecord([]),
      interrupted,
    };
  }
}
