import type { ResolvedLanguageConfig } from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import { foldIn, randomKey } from '../core/random-keys.js';
import type { Engine } from '../engine/engine.js';
import { connectEmbedded } from '../language/embedded/client.js';
import { createEmbeddedModel } from '../language/embedded/embedded-model.js';
import { HuggingFaceTokenizer } from '../language/hugging-face-tokenizer.js';
import type { Tokenizer } from '../language/tokenizer.js';
import type { TrainableModel } from '../language/trainable-model.js';
import { openTrainer, type TrainerClient } from '../language/trainer-client.js';
import { VllmClient, type VllmClientOptions } from '../language/vllm-client.js';
import type { Samplers } from '../learners/language/train-options.js';
import { cachedBaseModel } from './base-model-cache.js';
import { runReloadCommand } from './reload-command.js';
import type { RunContext } from './run-lifecycle.js';

/** The model of a language job, and the servers that sample from it. */
export interface OpenedModel {
  readonly model: TrainableModel;
  /** Whether the model runs in this process and can write to any folder. A trainer writes only below its own `--folder`. */
  readonly isLocal: boolean;
  readonly samplers: Samplers;
  readonly tokenizer: Tokenizer;
  readonly contextLength: number;
}

type ModelConfig = ResolvedLanguageConfig['language']['model'];
type TrainerConfig = Extract<ModelConfig, { name: 'trainer' }>;
type SamplerConfig = NonNullable<TrainerConfig['sampler']>;

/** Samplers for a model whose own server samples from both reference and policy, one after the other. */
function ownSamplers(model: TrainableModel): Samplers {
  return {
    reference: model.sampler,
    policy: model.sampler,
    publishReference: () => model.publish('reference'),
    publishPolicy: () => model.publish('policy'),
  };
}

/** Samplers for a trainer with a separate server: that server samples from the reference, the trainer from the policy. */
function separateSamplers(
  trainer: TrainerClient,
  sampler: VllmClient,
  { publish }: SamplerConfig,
  signal: AbortSignal | undefined,
): Samplers {
  return {
    reference: sampler,
    policy: trainer.sampler,
    publishPolicy: () => trainer.publish('policy'),
    publishReference: async (changed) => {
      if (!changed || publish === undefined) return;
      const folder = await trainer.publishTo(publish.folder, 'reference');
      // Calls to the server while it restarts are repeated until it answers.
      await runReloadCommand(publish.command, folder, { signal, deadlineSeconds: publish.deadlineSeconds });
    },
  };
}

async function openTrainerModel(
  { name: _name, address, deadlineSeconds, reconnect, sampler: other, ...settings }: TrainerConfig,
  holder: string,
  { onEnd, signal }: RunContext,
): Promise<OpenedModel> {
  const connection = { ...settings, configKey: 'language.model' };
  const own = await VllmClient.connect({ ...connection, address, deadlineSeconds, reconnect });
  onEnd(() => own.close());
  const model = await openTrainer({
    ...connection,
    address,
    sampler: own,
    computeSeconds: deadlineSeconds,
    holder,
    signal,
  });
  onEnd(() => model.close());
  const common = { model, isLocal: false, tokenizer: own.tokenizer, contextLength: model.info.contextLength };
  if (other === undefined) return { ...common, samplers: ownSamplers(model) };
  const { publish: _, ...samplerSettings } = other;
  const sampler = await VllmClient.connect({ ...samplerSettings, configKey: 'language.model.sampler' });
  onEnd(() => sampler.close());
  if (sampler.tokenizer.vocabularyHash !== model.info.vocabularyHash) {
    throw new PmpoError({
      where: [other.address].flat().join(', '),
      what: `its tokenizer has another vocabulary than the trainer's model (${model.info.name})`,
      remedy: 'Serve the same model on both',
    });
  }
  const contextLength = Math.min(common.contextLength, sampler.info.contextLength);
  return { ...common, contextLength, samplers: separateSamplers(model, sampler, other, signal) };
}

async function openEmbedded(
  config: ResolvedLanguageConfig,
  settings: Extract<ModelConfig, { name: 'embedded' }>,
  engine: Engine,
  { onEnd, say, signal }: RunContext,
): Promise<OpenedModel> {
  const base = await cachedBaseModel(settings, {
    engine: config.engine,
    threads: config.threads,
    say,
    signal,
  });
  const model = await createEmbeddedModel({
    engine,
    base,
    name: 'embedded',
    key: foldIn(randomKey(config.seed), 'embedded model'),
    connect: (address) => connectEmbedded(address, 'language.model'),
  });
  onEnd(() => model.close());
  const { tokenizer } = model.sampler;
  return {
    model,
    isLocal: true,
    samplers: ownSamplers(model),
    tokenizer,
    contextLength: settings.contextLength,
  };
}

/**
 * The tokenizer and the context length of a configuration's model. A trainer may be in use by a run meanwhile.
 * @throws PmpoError if a server cannot be reached or trusted.
 */
export async function openTokenizer(
  { language, engine, threads }: ResolvedLanguageConfig,
  { onEnd, say, signal }: Pick<RunContext, 'onEnd' | 'say' | 'signal'>,
): Promise<Pick<OpenedModel, 'tokenizer' | 'contextLength'>> {
  const { model } = language;
  if (model.name === 'embedded') {
    const { tokenizerFiles } = await cachedBaseModel(model, { engine, threads, say, signal });
    return { tokenizer: new HuggingFaceTokenizer(tokenizerFiles), contextLength: model.contextLength };
  }
  const { name: _name, sampler, ...settings } = model;
  const connect = async (options: VllmClientOptions) => {
    const client = await VllmClient.connect(options);
    onEnd(() => client.close());
    return client;
  };
  const { tokenizer, info } = await connect({ ...settings, configKey: 'language.model' });
  if (sampler === undefined) return { tokenizer, contextLength: info.contextLength };
  const { publish: _publish, ...own } = sampler;
  const other = await connect({ ...own, configKey: 'language.model.sampler' });
  return { tokenizer, contextLength: Math.min(info.contextLength, other.info.contextLength) };
}

/**
 * Creates or connects to the model of a configuration and its samplers.
 * @param holder describes this run to other runs that want to use the same trainer.
 * @throws PmpoError if a server cannot be reached or trusted, or the servers have different models.
 */
export function openLanguageModel(
  config: ResolvedLanguageConfig,
  engine: Engine,
  holder: string,
  context: RunContext,
): Promise<OpenedModel> {
  const { model } = config.language;
  return model.name === 'trainer'
    ? openTrainerModel(model, holder, context)
    : openEmbedded(config, model, engine, context);
}
