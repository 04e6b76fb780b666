import { PmpoError, StoppedError } from '../../core/errors.js';
import { foreignText } from '../../core/foreign-text.js';
import { foldIn, randomKey } from '../../core/random-keys.js';
import { hostTensor } from '../../engine/tensors.js';
import { FeedbackError } from '../../feedback/checked-host.js';
import { type Checkpoint, expectShapes } from '../../run/checkpoints.js';
import { type EvaluationRecord, type LanguageEvaluation, readRecord } from '../../run/records.js';
import { copyIsDue, learningRateFactor } from '../schedule.js';
import type { LanguageBatch } from './batch.js';
import { evaluated, evaluations, textMetrics, winRate } from './evaluation.js';
import { OperatorGradient } from './operator-gradient.js';
import { sampleAndEvaluate } from './prompt-batches.js';
import type { TrainLanguageOptions, TrainLanguageResult } from './train-options.js';
import { updateModel } from './update.js';
import { equalRewardsWarning, KlWatch } from './watch.js';

interface Counters {
  updates: number;
  /** Completions learned from. */
  samples: number;
  wallSeconds: number;
  /** Checkpoints saved. */
  checkpoints: number;
}

/** The metadata of a checkpoint; its tensors are the operator's state. */
type JobMetadata = {
  readonly job: 'language';
  readonly counters: Counters;
  /** The name of the saved model, and the number of optimizer steps that it has made. */
  readonly model: string;
  readonly steps: number;
  /** Whether an evaluation was due that has not been completed. */
  readonly evaluationDue: boolean;
  readonly last?: EvaluationRecord;
};

/**
 * Improves a language model. Each update draws a batch, takes the gradient of the operator's loss in its log-probs and KLs, and
 * passes it to the model as coefficients. Completions always come from the current reference: if an update leaves the reference
 * as it is, the next batch is sampled meanwhile; if the update changes it, sampling waits. Which weights sample which
 * batch depends on step counts only, not on timing, so a job can be repeated.
 *
 * @throws PmpoError from model, sampler, reward and classifier, and when a number is not finite.
 */
export async function trainLanguage(options: TrainLanguageOptions): Promise<TrainLanguageResult> {
  return new LanguageJob(options).run();
}

class LanguageJob {
  readonly #options: TrainLanguageOptions;
  readonly #operatorGradient: OperatorGradient;
  readonly #key;
  #counters: Counters = { updates: 0, samples: 0, wallSeconds: 0, checkpoints: 0 };
  #elapsedBefore = 0;
  #startedAt = 0;
  #base: LanguageEvaluation | undefined;
  #last: EvaluationRecord | undefined;
  /** Updates at the last checkpoint. */
  #savedAt = -1;
  readonly #klWatch: KlWatch;
  /** The batch of the next update, if it is being sampled already. */
  #next: Promise<LanguageBatch> | undefined;

  constructor(options: TrainLanguageOptions) {
    this.#options = options;
    const { config, engine, operator, classifier, classifierName = 'custom' } = options;
    this.#key = randomKey(config.seed);
    this.#klWatch = new KlWatch(config.learner.maxKl);
    this.#operatorGradient = new OperatorGradient({
      engine,
      operator,
      classifier,
      classifierName,
      hostCalls: { signal: options.signal, onWait: (what) => options.observer.waiting?.(what) },
      kl: config.kl,
      stateLearningRate: config.learner.stateLearningRate,
    });
  }

  async run(): Promise<TrainLanguageResult> {
    const { config, observer, signal, clock, resume } = this.#options;
    this.#startedAt = clock();
    const { updates: total } = config.learner;
    let evaluationDue = resume === undefined || (await this.#restore(resume));
    if (resume === undefined) await this.#begin();
    // The sampler may still have weights from an earlier job.
    await this.#publishReference(true);
    while (true) {
      const { updates } = this.#counters;
      const isAsked = observer.checkpointRequested?.() === true;
      if (updates > 0 && (isAsked || updates % config.checkpoint.every === 0) && updates !== this.#savedAt)
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

  /** Starts from the model's initial weights, whatever it has learned in earlier jobs. */
  async #begin(): Promise<void> {
    const { model, observer } = this.#options;
    const { name, steps } = model.info;
    await model.reset();
    if (steps > 0)
      observer.notice(
        `${foreignText(name)} had already made ${steps} steps and was reset to its initial weights`,
      );
  }

  async #stopped(evaluationDue: boolean): Promise<TrainLanguageResult> {
    await this.#settle();
    await this.#checkpoint(evaluationDue);
    return this.#result(true);
  }

  /** Whether the reference changes once `updates` updates are done. */
  #referenceChanges(updates: number): boolean {
    const { reference } = this.#options.config;
    return reference !== 'initial' && copyIsDue(reference, updates);
  }

  /** Makes one update. @returns false if the job was stopped before anything was learned. */
  async #update(): Promise<boolean> {
    const { config, model, source, signal } = this.#options;
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
      // A failure is reported when the batch is awaited.
      this.#next.catch(() => {});
    }
    if (updates === 0 && this.#options.heldOut !== undefined) {
      const warning = equalRewardsWarning(batch);
      if (warning !== undefined) this.#options.observer.notice(warning);
    }
    const started = this.#wallSeconds();
    let values: Readonly<Record<string, number>>;
    try {
      values = await updateModel(
        batch,
        updates,
        learningRate * learningRateFactor(updates / total, decayFrom),
        {
          model,
          operatorGradient: this.#operatorGradient,
          samples,
          paddedTokens: { prompt: model.info.contextLength, completion: config.sampling.maxTokens },
          exactKl: config.kl === 'exact',
          reverseKl: this.#options.operator.needs.reverseKl === true,
          mismatched: this.#options.operator.needs.mismatched === true,
          ...(this.#options.operator.needs.rejectsReferenceSamples === true
            ? { rejectedFloor: config.rejectedFloor }
            : {}),
          maxGradientNorm,
        },
      );
    } catch (error) {
      // A classifier of plain code runs before anything changes.
      if (error instanceof StoppedError) return false;
      if (error instanceof FeedbackError) await this.#checkpoint(false);
      throw error;
    }
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
    await this.#watchKl(values['policy/kl'] ?? values['policy/sampledKl'] ?? 0);
    return true;
  }

  /** @throws PmpoError with a checkpoint saved, if the policy is further from its reference than `learner.maxKl`. */
  async #watchKl(kl: number): Promise<void> {
    const { updates } = this.#counters;
    const end = this.#klWatch.end(updates, kl);
    if (end !== undefined) {
      await this.#checkpoint(false);
      throw end;
    }
    const warning = this.#klWatch.warning(updates, kl);
    if (warning !== undefined) this.#options.observer.notice(warning);
  }

  #record(values: Readonly<Record<string, number>>): void {
    const { updates, samples } = this.#counters;
    const finite = Object.fromEntries(Object.entries(values).filter(([, value]) => !Number.isNaN(value)));
    this.#options.observer.metrics({
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

  /** Waits for the batch that is being sampled, because its weights must not change. */
  async #settle(): Promise<void> {
    await this.#next?.catch(() => {});
  }

  /** Evaluates the policy. @returns false if the job was stopped before the end of the evaluation. */
  async #evaluate(): Promise<boolean> {
    const { config, samplers, observer, heldOut, heldOutMetrics, signal } = this.#options;
    await this.#settle();
    const { updates } = this.#counters;
    if (heldOutMetrics !== undefined) this.#record(await heldOutMetrics());
    if (heldOut === undefined) return true;
    if (signal?.aborted) return false;
    await samplers.publishPolicy();
    // The seeds are the same each time, so that evaluations differ by the policy alone.
    let batch: LanguageBatch;
    try {
      batch = await sampleAndEvaluate(
        heldOut.prompts,
        config.evaluation.completions,
        foldIn(this.#key, 'evaluation'),
        { sampler: samplers.policy, reward: heldOut.reward, sampling: config.sampling },
        signal,
      );
    } catch (error) {
      if (signal?.aborted) return false;
      throw error;
    }
    const evaluation = evaluated(updates, batch);
    this.#base ??= updates === 0 ? evaluation : await observer.completionsAt(0);
    const last = this.#evaluationRecord(evaluations(evaluation));
    await observer.completions(evaluation);
    const judged = await this.#judged(evaluation);
    // If the job was stopped, the evaluation is made again, and must not be recorded twice.
    if (judged === undefined) return false;
    this.#last = last;
    observer.evaluation(last);
    this.#record({
      ...(this.#base === undefined ? {} : { 'evaluation/winRate': winRate(evaluation, this.#base) }),
      ...judged,
      ...textMetrics(evaluation),
    });
    if (updates < config.learner.updates) await this.#publishReference(false);
    return true;
  }

  /**
   * What the judge says of an evaluation: nothing if it fails, because training does not depend on it.
   * @returns undefined if the job was stopped meanwhile.
   */
  async #judged(evaluation: LanguageEvaluation): Promise<Readonly<Record<string, number>> | undefined> {
    const { heldOut, observer, signal } = this.#options;
    if (this.#base === undefined) return {};
    try {
      return (await heldOut?.judge?.(evaluation, this.#base, signal)) ?? {};
    } catch (error) {
      if (signal?.aborted) return undefined;
      const message = error instanceof Error ? error.message : String(error);
      observer.notice(
        `Warning: the judge failed, so the evaluation after ${evaluation.updates} updates has no metrics of it. ${foreignText(message)}`,
      );
      return {};
    }
  }

  /**
   * Loads the reference's weights into its sampler, which may take minutes. If the job is stopped meanwhile, nothing more is
   * sampled, and the resumed job publishes again.
   */
  async #publishReference(changed: boolean): Promise<void> {
    const { samplers, signal } = this.#options;
    try {
      await samplers.publishReference(changed);
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  }

  #wallSeconds(): number {
    return this.#elapsedBefore + (this.#options.clock() - this.#startedAt) / 1000;
  }

  async #checkpoint(evaluationDue: boolean): Promise<void> {
    const { engine, model, observer } = this.#options;
    await this.#settle();
    this.#counters.checkpoints += 1;
    this.#savedAt = this.#counters.updates;
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    const name = observer.modelName(counters.checkpoints);
    await model.save(observer.modelFolder(name));
    const { state } = this.#operatorGradient;
    const values = await engine.read(Object.values(state));
    await observer.checkpoint(counters.samples, {
      tensors: Object.fromEntries(Object.keys(state).map((name, i) => [name, values[i]])),
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

  /** Restores everything from a checkpoint. @returns whether an evaluation is due. */
  async #restore({ tensors, metadata }: Checkpoint): Promise<boolean> {
    const { engine, model, observer } = this.#options;
    const saved = metadata as JobMetadata;
    if (saved.job !== 'language') {
      throw new PmpoError({
        where: 'checkpoint',
        what: `it belongs to a '${saved.job}' job, not to a language job`,
      });
    }
    const { state } = this.#operatorGradient;
    const shapes = Object.fromEntries(Object.entries(state).map(([name, { shape }]) => [name, shape]));
    expectShapes('checkpoint', tensors, shapes);
    for (const [name, variable] of Object.entries(state)) {
      await engine.write(variable, hostTensor(tensors[name]));
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
        what: `the model there has made ${model.info.steps} steps, but the checkpoint's model had made ${saved.steps}: another run has overwritten it`,
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
