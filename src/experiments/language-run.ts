import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { LoadedLanguageConfig, ResolvedLanguageConfig } from '../config/load.js';
import { configText } from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import { foldIn, randomKey } from '../core/random-keys.js';
import { createEngine } from '../engine/create.js';
import type { Reward } from '../language/rewards/reward.js';
import type { BatchSource, JudgedContext } from '../learners/language/batch.js';
import {
  DatasetBatches,
  holdOut,
  labelledLogProbs,
  perplexity,
} from '../learners/language/dataset-batches.js';
import { PromptBatches } from '../learners/language/prompt-batches.js';
import { type LanguageObserver, trainLanguage } from '../learners/language/train.js';
import { renderCompletions } from '../report/completions.js';
import type { RunDirectory } from '../run/run-directory.js';
import { writeAtomically } from '../system/atomic-file.js';
import { readCompletions, writeCompletions } from './completion-files.js';
import { largestContext, type Prompts, readDataset, readPrompts, readTexts } from './language-data.js';
import { type OpenedModel, openLanguageModel } from './language-models.js';
import {
  makeRun,
  type RunContext,
  type RunDescription,
  type RunOptions,
  type RunResult,
  type StartedRun,
  summaryOf,
} from './run-lifecycle.js';
import { defaultRunName } from './run-name.js';

export interface LanguageRunOptions extends RunOptions {
  readonly loaded: LoadedLanguageConfig;
}

function subjectOf({ config, warnings }: LoadedLanguageConfig): RunDescription {
  return {
    kind: 'language',
    output: config.output,
    name: config.name ?? defaultRunName(config),
    config: configText(config),
    total: { totalUpdates: config.learner.updates },
    keep: config.checkpoint.keep,
    warnings,
  };
}

/** What a job learns from, and what it is judged on. */
interface Data {
  readonly prompts?: Prompts;
  readonly reward?: Reward;
  readonly contexts?: {
    readonly learned: readonly JudgedContext[];
    readonly heldOut: readonly JudgedContext[];
  };
  readonly texts?: readonly Int32Array[];
}

async function openReward(
  { config, catalogue }: LoadedLanguageConfig,
  notice: RunContext['notice'],
): Promise<Reward | undefined> {
  const { reward } = config.language;
  if (reward === undefined) return undefined;
  const { name, ...settings } = reward;
  return catalogue.rewards.get(name).open(settings, { where: 'language.reward', notice });
}

async function openData(
  loaded: LoadedLanguageConfig,
  { tokenizer, contextLength }: OpenedModel,
  { onEnd, notice }: RunContext,
): Promise<Data> {
  const { config } = loaded;
  const reward = await openReward(loaded, notice);
  if (reward !== undefined) onEnd(() => reward.close());
  const { prompts, dataset } = config.language;
  const key = randomKey(config.seed);
  const data: Data = {
    reward,
    ...(prompts === undefined ? {} : { prompts: await readPrompts(config, tokenizer, contextLength) }),
    ...(config.evaluation.text === undefined
      ? {}
      : { texts: await readTexts(config.evaluation.text, tokenizer, contextLength) }),
  };
  if (dataset === undefined) return data;
  // What learns from pairs is given them one by one, all others every completion of a prompt at once.
  const merge = loaded.operator.needs.feedback !== 'pairs';
  const contexts = await readDataset(config, tokenizer, contextLength, merge);
  checkLabels(loaded, contexts, notice);
  return { ...data, contexts: holdOut(contexts, dataset.heldOut, foldIn(key, 'held out')) };
}

/** What learns from data that another operator cannot learn from, by what those data lack. */
const remedies = {
  accepted: '{name: pmpo, alpha: 0, beta: 2} learns from rejected ones alone',
  rejected: '{name: pmpo, alpha: 1} learns from accepted ones alone',
  paired: '{name: pmpo} and {name: kto} need no pairs',
} as const;

/** A data set must hold what the operator learns from. */
function checkLabels(
  { config, operator, catalogue }: LoadedLanguageConfig,
  contexts: readonly JudgedContext[],
  notice: RunContext['notice'],
): void {
  const labels = contexts.flatMap(({ completions }) => completions.map(({ evaluation = 0 }) => evaluation));
  const { file } = config.language.dataset!;
  const only = (...values: number[]) => labels.every((label) => values.includes(label));
  const { comparesSamples, readsLabels } = catalogue.feedback.get(config.feedback.name);
  if (comparesSamples && only(-1, 1)) {
    throw new PmpoError({
      where: file,
      what: `the rows are labelled, and the feedback '${config.feedback.name}' compares scores`,
      remedy: 'Set feedback: {name: label}, or leave it out',
    });
  }
  if (!readsLabels) return;
  if (labels.includes(0) && only(0, 1)) {
    throw new PmpoError({
      where: file,
      what: 'the labels are 0 and 1, and 0 stands for neither accepted nor rejected',
      remedy: 'Give true and false, or 1 and −1',
    });
  }
  const count = (sign: number) =>
    contexts.reduce(
      (sum, { completions }) =>
        sum + completions.filter(({ evaluation = 0 }) => evaluation * sign > 0).length,
      0,
    );
  const pairs = contexts.filter(({ completions }) =>
    [1, -1].every((sign) => completions.some(({ evaluation = 0 }) => evaluation * sign > 0)),
  ).length;
  const { feedback } = operator.needs;
  const lacking =
    feedback === 'accepts' || feedback === 'both'
      ? count(1) === 0 && 'accepted'
      : feedback === 'rejects'
        ? count(-1) === 0 && 'rejected'
        : feedback === 'pairs' && pairs === 0 && 'paired';
  if (lacking === false) {
    const other = count(1) === 0 ? 'accepted' : count(-1) === 0 ? 'rejected' : undefined;
    if (feedback === 'either' && other !== undefined) {
      notice(
        `Warning: ${file} has no ${other} completions. The operator learns from the other side alone${other === 'accepted' ? ', which collapses unless the KL holds it back: operator.alpha: 0 with operator.beta: 2 or more is meant for this' : ''}`,
      );
    }
    return;
  }
  throw new PmpoError({
    where: file,
    what: `the operator '${config.operator.name}' learns from ${lacking} completions, and there are none (${count(1)} accepted, ${count(-1)} rejected, ${pairs} contexts with both)`,
    remedy: `Choose another operator: ${remedies[lacking]}`,
  });
}

function sourceOf(config: ResolvedLanguageConfig, data: Data, { samplers }: OpenedModel): BatchSource {
  const { batchSize, samples } = config.learner;
  const key = foldIn(randomKey(config.seed), 'batches');
  if (data.contexts !== undefined) {
    const limit = Math.min(samples, largestContext(data.contexts.learned));
    return new DatasetBatches(data.contexts.learned, { batchSize, samples: limit }, key);
  }
  const judge = { sampler: samplers.reference, reward: data.reward!, sampling: config.language.sampling };
  return new PromptBatches(data.prompts!.learned, { ...judge, batchSize, samples }, key);
}

function observerOf(
  { observer, directory }: StartedRun,
  { checkpoint }: ResolvedLanguageConfig,
  { isHere }: OpenedModel,
): LanguageObserver {
  const { completions, checkpoints } = directory.files;
  // Below a trainer's own folder, where runs of the same name on other machines may write too.
  const elsewhere = `${directory.name}-${idOf(directory)}`;
  return {
    ...observer,
    completions: (evaluation) => writeCompletions(completions, evaluation),
    completionsAt: (updates) => readCompletions(completions, updates),
    // Taken in turn: the one that is written over belongs to no checkpoint that is kept.
    modelName: (index) => {
      const slot = `slot-${index % (checkpoint.keep + 1)}`;
      return isHere ? slot : `${elsewhere}/${slot}`;
    },
    modelFolder: (name) => (isHere ? join(checkpoints, 'models', name) : name),
  };
}

/** What others read who would use the same trainer. */
function holderOf({ name }: RunDescription): string {
  return `the run ${name} (process ${process.pid} on ${hostname()})`;
}

/** Tells runs of the same name apart. */
function idOf({ path }: RunDirectory): string {
  return createHash('sha256').update(`${hostname()} ${path}`).digest('hex').slice(0, 8);
}

async function writeCompletionsPage(
  directory: RunDirectory,
  updates: number,
  command: string,
): Promise<void> {
  const { completions, completionsPage } = directory.files;
  const before = await readCompletions(completions, 0);
  const after = await readCompletions(completions, updates);
  if (before === undefined || after === undefined) return;
  await writeAtomically(
    completionsPage,
    renderCompletions(before, after, { title: directory.name, command }),
  );
}

/**
 * One training run of a language model from a configuration to a folder with everything that it leaves behind. Nothing is
 * written before model, sampler and reward have answered.
 *
 * @throws PmpoError as these and the learner do; where the run can go on, the message says how.
 */
export function trainLanguageRun(options: LanguageRunOptions): Promise<RunResult> {
  const { loaded } = options;
  const { config, operator, classifier } = loaded;
  return makeRun(
    subjectOf(loaded),
    options,
    async (context) => {
      const engine = await createEngine(config.engine, { threads: config.threads });
      context.onEnd(() => engine.dispose());
      const opened = await openLanguageModel(config, engine, holderOf(subjectOf(loaded)), context);
      return { engine, opened, data: await openData(loaded, opened, context) };
    },
    async ({ engine, opened, data }, inside) => {
      const { model, samplers } = opened;
      const { prompts, reward, contexts, texts } = data;
      const result = await trainLanguage({
        config,
        engine,
        model,
        samplers,
        operator,
        classifier,
        source: sourceOf(config, data, opened),
        ...(prompts === undefined ? {} : { heldOut: { prompts: prompts.heldOut, reward: reward! } }),
        ...(contexts === undefined && texts === undefined
          ? {}
          : {
              heldOutMetrics: async () => ({
                ...(contexts === undefined ? {} : await labelledLogProbs(model, contexts.heldOut)),
                ...(texts === undefined ? {} : { 'heldOut/perplexity': await perplexity(model, texts) }),
              }),
            }),
        observer: observerOf(inside, config, opened),
        resume: inside.checkpoint?.checkpoint,
        signal: inside.signal,
        clock: () => performance.now(),
      });
      if (result.interrupted) return undefined;
      const { files, name } = inside.directory;
      const there = `${name}-${idOf(inside.directory)}/policy`;
      await model.exportPolicy(opened.isHere ? files.model : there);
      await writeCompletionsPage(inside.directory, result.updates, options.command);
      const facts = {
        operator: config.operator.name,
        feedback: config.feedback.name,
        environment: config.language.model.name,
        seed: config.seed,
      };
      const { samples: steps, updates, wallSeconds } = result;
      return summaryOf('language', facts, { steps, updates, wallSeconds }, result.evaluation.scores);
    },
  );
}
