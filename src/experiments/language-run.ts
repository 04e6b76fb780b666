import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { LoadedLanguageConfig, ResolvedLanguageConfig } from '../config/load.js';
import { foldIn, randomKey } from '../core/random-keys.js';
import { createEngine } from '../engine/create.js';
import type { Reward, RewardContext } from '../language/rewards/reward.js';
import type { BatchSource, EvaluatedContext } from '../learners/language/batch.js';
import {
  DatasetBatches,
  heldOutLogProbs,
  holdOut,
  perplexity,
} from '../learners/language/dataset-batches.js';
import { PromptBatches } from '../learners/language/prompt-batches.js';
import { showContext, showPrompt } from '../learners/language/show-layout.js';
import { trainLanguage } from '../learners/language/train.js';
import type { HeldOutJudge, LanguageObserver } from '../learners/language/train-options.js';
import { renderCompletions } from '../report/completions.js';
import { readRun } from '../report/run-data.js';
import { missingCompletions, readCompletions, writeCompletions } from '../run/completion-files.js';
import type { RunDirectory } from '../run/run-directory.js';
import { writeAtomically } from '../system/atomic-file.js';
import { checkDataset, datasetUse, largestContext } from './dataset-checks.js';
import { type Prompts, readDataset, readPrompts, readTexts } from './language-data.js';
import { type OpenedModel, openLanguageModel } from './language-models.js';
import { modelSlots } from './model-slots.js';
import {
  describeRun,
  makeRun,
  openClassifier,
  type RunContext,
  type RunDescription,
  type RunOptions,
  type RunResult,
  type StartedRun,
  summaryOf,
} from './run-lifecycle.js';
import { heldOutJudge } from './winrate/held-out-judge.js';
import { openJudge } from './winrate/judges.js';

/** What `trainLanguageRun` needs. */
export interface LanguageRunOptions extends RunOptions {
  /** The configuration, as `loadLanguageConfig` returns it. */
  readonly loaded: LoadedLanguageConfig;
}

/** The data to learn from and to evaluate on. */
interface Data {
  readonly prompts?: Prompts;
  readonly reward?: Reward;
  readonly contexts?: {
    readonly training: readonly EvaluatedContext[];
    readonly heldOut: readonly EvaluatedContext[];
  };
  /** Whether the evaluations of a data set are labels or scores. */
  readonly evaluations?: 'labels' | 'scores';
  readonly texts?: readonly Int32Array[];
}

async function openReward(
  { config, catalogue }: LoadedLanguageConfig,
  context: Omit<RewardContext, 'where'>,
): Promise<Reward | undefined> {
  const { reward } = config.language;
  if (reward === undefined) return undefined;
  const { name, ...settings } = reward;
  return catalogue.rewards.get(name).open(settings, { where: 'language.reward', ...context });
}

async function openData(
  loaded: LoadedLanguageConfig,
  { tokenizer, contextLength }: OpenedModel,
  { onEnd, notice, say, checkpoint, signal }: RunContext,
  waiting: RewardContext['waiting'],
): Promise<Data> {
  const { config } = loaded;
  const reward = await openReward(loaded, { notice, signal, waiting });
  if (reward !== undefined) onEnd(() => reward.close());
  const { prompts, dataset } = config.language;
  const key = randomKey(config.seed);
  const data: Data = {
    reward,
    ...(prompts === undefined
      ? {}
      : { prompts: await readPrompts(config, tokenizer, contextLength, notice) }),
    ...(config.evaluation.text === undefined
      ? {}
      : { texts: await readTexts(config.evaluation.text, tokenizer, contextLength) }),
  };
  const show = (what: string, examples: readonly (readonly string[])[]) => {
    if (checkpoint !== undefined || examples.length === 0) return;
    say(`The first ${what}, token by token (all of it: npx pmpo data):`);
    examples.flat().forEach(say);
  };
  const width = 160;
  if (dataset === undefined) {
    const first = data.prompts?.training.slice(0, 3) ?? [];
    show(
      'prompts',
      first.map((prompt) => showPrompt(tokenizer, prompt, { width })),
    );
    return data;
  }
  const { contexts, evaluations } = await readDataset(loaded, tokenizer, contextLength, notice);
  const usable = checkDataset(contexts, datasetUse(loaded, evaluations), notice);
  show(
    'examples',
    usable.slice(0, 3).map((context) => showContext(tokenizer, context, { width })),
  );
  return { ...data, evaluations, contexts: holdOut(usable, dataset.heldOut, foldIn(key, 'held out')) };
}

async function openHeldOutJudge(
  { config, modules }: LoadedLanguageConfig,
  { prompts }: Data,
  { onEnd, notice, signal }: RunContext,
): Promise<HeldOutJudge | undefined> {
  const { judge: file } = config.evaluation;
  if (file === undefined || prompts === undefined) return undefined;
  const judge = await openJudge(file, { context: { notice, signal }, modules, key: 'evaluation.judge' });
  onEnd(() => judge.close());
  return heldOutJudge(judge, prompts.heldOut);
}

function sourceOf(
  { config, operator }: LoadedLanguageConfig,
  data: Data,
  { samplers }: OpenedModel,
): BatchSource {
  const { batchSize, samples } = config.learner;
  const key = foldIn(randomKey(config.seed), 'batches');
  if (data.contexts !== undefined) {
    const limit = Math.min(samples, largestContext(data.contexts.training));
    const withAccepted = data.evaluations === 'labels' && operator.needs.imitatesUnranked === true;
    return new DatasetBatches(data.contexts.training, { batchSize, samples: limit, withAccepted }, key);
  }
  const evaluation = {
    sampler: samplers.reference,
    reward: data.reward!,
    sampling: config.language.sampling,
  };
  return new PromptBatches(data.prompts!.training, { ...evaluation, batchSize, samples }, key);
}

function observerOf(
  { observer, directory }: StartedRun,
  { checkpoint }: ResolvedLanguageConfig,
  { isLocal }: OpenedModel,
): LanguageObserver {
  const { completions, checkpoints } = directory.files;
  // In the trainer's folder, where runs of the same name on other machines may write, too.
  const remoteFolder = `${directory.name}-${idOf(directory)}`;
  return {
    ...observer,
    completions: (evaluation) => writeCompletions(completions, evaluation),
    completionsAt: (updates) => readCompletions(completions, updates),
    ...modelSlots(
      checkpoint.keep,
      isLocal ? { local: join(checkpoints, 'models') } : { remote: remoteFolder },
    ),
  };
}

/** Describes this run to other runs that want to use the same trainer. */
function holderOf({ name }: RunDescription): string {
  return `the run ${name} (process ${process.pid} on ${hostname()})`;
}

/** Distinguishes runs of the same name. */
function idOf({ path }: RunDirectory): string {
  return createHash('sha256').update(`${hostname()} ${path}`).digest('hex').slice(0, 8);
}

/** Says which completions of a run that is resumed are missing. */
async function sayMissingCompletions({ directory, observer }: StartedRun): Promise<void> {
  const { evaluations } = await readRun(directory.path);
  const updates = evaluations.map((evaluation) => evaluation.updates);
  const missing = await missingCompletions(directory.files.completions, updates);
  if (missing !== undefined) observer.notice(`Warning: ${missing}`);
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
 * Trains a language model as configured, and writes a run folder. Nothing is written before model, sampler and reward have answered.
 * @throws PmpoError if one of these or the learner fails. If the run can be resumed, the message says how.
 */
export function trainLanguageRun(options: LanguageRunOptions): Promise<RunResult> {
  const { loaded } = options;
  const { config, operator, classifier } = loaded;
  // There is no progress line before the run has its folder.
  let tellWait: LanguageObserver['waiting'];
  return makeRun(
    describeRun(loaded),
    options,
    async (context) => {
      const engine = await createEngine(config.engine, { threads: config.threads });
      context.onEnd(() => engine.dispose());
      await openClassifier(config.feedback.name, classifier, context);
      const opened = await openLanguageModel(config, engine, holderOf(describeRun(loaded)), context);
      const data = await openData(loaded, opened, context, (what) => tellWait?.(what));
      const judge = await openHeldOutJudge(loaded, data, context);
      return { engine, opened, data, judge };
    },
    async ({ engine, opened, data, judge }, inside) => {
      tellWait = inside.observer.waiting;
      if (inside.checkpoint !== undefined) await sayMissingCompletions(inside);
      const { model, samplers } = opened;
      const { prompts, reward, contexts, evaluations, texts } = data;
      const { kl, sampling, dataset } = config.language;
      const floor = dataset === undefined ? {} : { rejectedFloor: dataset.rejectedFloor };
      const result = await trainLanguage({
        config: { ...config, kl, sampling, ...floor },
        engine,
        model,
        samplers,
        operator,
        classifier,
        classifierName: config.feedback.name,
        source: sourceOf(loaded, data, opened),
        ...(prompts === undefined ? {} : { heldOut: { prompts: prompts.heldOut, reward: reward!, judge } }),
        ...(contexts === undefined && texts === undefined
          ? {}
          : {
              heldOutMetrics: async () => ({
                ...(contexts === undefined
                  ? {}
                  : await heldOutLogProbs(model, contexts.heldOut, evaluations!)),
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
      const remotePolicy = `${name}-${idOf(inside.directory)}/policy`;
      await model.exportPolicy(opened.isLocal ? files.model : remotePolicy);
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
