import type { ResolvedLanguageConfig } from '../../config/load-language.js';
import type { Engine } from '../../engine/engine.js';
import type { HostTensor } from '../../engine/tensors.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { LanguageModel } from '../../language/language-model.js';
import type { Reward } from '../../language/rewards/reward.js';
import type { TrainableModel } from '../../language/trainable-model.js';
import type { Operator } from '../../operators/operator.js';
import { foldIn, randomKey } from '../../random/keys.js';
import { expectShapes } from '../../run/checkpoints.js';
import type { Checkpoint, EvaluationRecord, LearnerObserver } from '../../run/contracts.js';
import { learningRateFactor } from '../schedule.js';
import type { BatchSource, LanguageBatch, Prompt } from './batch.js';
import { evaluated, evaluations, type LanguageEvaluation, winRate } from './evaluation.js';
import { OperatorStep } from './operator-step.js';
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
  /** A folder for the model's part of the next checkpoint. */
  modelFolder(updates: number): string;
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
  readonly #step: OperatorStep;
  readonly #key;
  #counters: Counters = { updates: 0, samples: 0, wallSeconds: 0 };
  #elapsedBefore = 0;
  #startedAt = 0;
  #base: LanguageEvaluation | undefined;
  #last: EvaluationRecord | undefined;
  /** The batch of the next update, on its way. */
  #next: Promise<LanguageBatch> | undefined;

  constructor(options: TrainLanguageOptions) {
    this.#o = options;
    const { config, engine, operator, classifier } = options;
    this.#key = randomKey(config.seed);
    this.#step = new OperatorStep({
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
    if (resume === undefined) await this.#evaluate();
    else await this.#restore(resume);
    const { updates: total } = config.learner;
    while (this.#counters.updates < total) {
      if (signal?.aborted) {
        await this.#settle();
        await this.#checkpoint();
        return this.#result(true);
      }
      await this.#update();
      const { updates, samples } = this.#counters;
      observer.progress(samples, updates);
      if (updates === total) break;
      if (updates % config.evaluation.every === 0) await this.#evaluate();
      if (updates % config.checkpoint.every === 0) await this.#checkpoint();
    }
    await this.#checkpoint();
    await this.#evaluate();
    return this.#result(signal?.aborted ?? false);
  }

  /** Whether the reference is another one once `updates` updates are done. */
  #referenceChanges(updates: number): boolean {
    const { reference } = this.#o.config;
    if (reference === 'initial') return false;
    return 'rate' in reference || updates % reference.period === 0;
  }

  async #update(): Promise<void> {
    const { config, model, samplers, source, signal } = this.#o;
    const { updates } = this.#counters;
    const { learningRate, decayFrom, updates: total, overlap, maxGradientNorm, samples } = config.learner;
    const batch = await (this.#next ?? source.batch(updates, signal));
    this.#next = undefined;
    const changes = this.#referenceChanges(updates + 1);
    if (overlap && !changes && updates + 1 < total) {
      this.#next = source.batch(updates + 1, signal);
      // Its failure is met when it is waited for.
      this.#next.catch(() => {});
    }
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
      if (updates + 1 < total) await samplers.publishReference(true);
    }
    const seconds = this.#wallSeconds() - started;
    this.#record({ ...values, 'speed/updateSeconds': seconds });
  }

  #record(values: Readonly<Record<string, number>>): void {
    const { updates, samples } = this.#counters;
    const finite = Object.fromEntries(Object.entries(values).filter(([, value]) => !Number.isNaN(value)));
    this.#o.observer.metrics({
      environmentSteps: samples,
      updates,
      wallSeconds: this.#wallSeconds(),
      values: finite,
    });
  }

  /** Waits for what is being sampled: weights must not change under it. */
  async #settle(): Promise<void> {
    await this.#next?.catch(() => {});
  }

  async #evaluate(): Promise<void> {
    const { config, samplers, observer, heldOut, heldOutMetrics, signal } = this.#o;
    await this.#settle();
    const { updates, samples } = this.#counters;
    if (heldOutMetrics !== undefined) this.#record(await heldOutMetrics());
    if (heldOut === undefined) return;
    await samplers.publishPolicy();
    // The same seeds each time: what differs is the policy.
    const batch = await sampleAndJudge(
      heldOut.prompts,
      config.evaluation.completions,
      foldIn(this.#key, 'evaluation'),
      { sampler: samplers.policy, reward: heldOut.reward, sampling: config.language.sampling },
      signal,
    );
    const evaluation = evaluated(updates, batch);
    this.#base ??= updates === 0 ? evaluation : await observer.completionsAt(0);
    const returns = evaluations(evaluation);
    this.#last = { environmentSteps: samples, updates, wallSeconds: this.#wallSeconds(), returns };
    await observer.completions(evaluation);
    observer.evaluation(this.#last);
    if (this.#base !== undefined) this.#record({ 'evaluation/winRate': winRate(evaluation, this.#base) });
    if (updates < config.learner.updates) await samplers.publishReference(false);
  }

  #wallSeconds(): number {
    return this.#elapsedBefore + (this.#o.clock() - this.#startedAt) / 1000;
  }

  async #checkpoint(): Promise<void> {
    const { engine, model, observer } = this.#o;
    await this.#settle();
    const counters = { ...this.#counters, wallSeconds: this.#wallSeconds() };
    const folder = observer.modelFolder(counters.updates);
    await model.save(folder);
    const { state } = this.#step;
    const values = await engine.read(Object.values(state));
    await observer.checkpoint(counters.samples, {
      tensors: Object.fromEntries(Object.keys(state).map((name, i) => [name, values[i]!])),
      metadata: { job: 'language', counters, model: folder, ...(this.#last ? { last: this.#last } : {}) },
    });
  }

  async #restore({ tensors, metadata }: Checkpoint): Promise<void> {
    const { engine, model, samplers } = this.#o;
    const { state } = this.#step;
    const shapes = Object.fromEntries(Object.entries(state).map(([name, { shape }]) => [name, shape]));
    expectShapes('checkpoint', tensors, shapes);
    for (const [name, variable] of Object.entries(state)) {
      await engine.write(variable, tensors[name] as HostTensor);
    }
    this.#counters = { ...(metadata.counters as Counters) };
    this.#elapsedBefore = this.#counters.wallSeconds;
    this.#last = metadata.last as EvaluationRecord | undefined;
    await model.load(metadata.model as string);
    await samplers.publishReference(true);
  }

  #result(interrupted: boolean): TrainLanguageResult {
    const { updates, samples } = this.#counters;
    const wallSeconds = this.#wallSeconds();
    return {
      updates,
      samples,
      wallSeconds,
      evaluation: this.#last ?? { environmentSteps: samples, updates, wallSeconds, returns: [] },
      interrupted,
    };
  }
}
