import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ResolvedLanguageConfig } from '../config/load-language.js';
import { createEngine } from '../engine/create.js';
import { PmpoError } from '../errors.js';
import { reviews } from '../language/embedded/corpus.js';
import { type ModelFolder, readModelFolder, writeModelFiles } from '../language/embedded/model-folder.js';
import { createPretraining, type PretrainingBatch } from '../language/embedded/pretraining.js';
import { trainTokenizer } from '../language/embedded/tokenizer-training.js';
import { HuggingFaceTokenizer } from '../language/hugging-face-tokenizer.js';
import { drawInTurn } from '../learners/language/prompt-batches.js';
import { initTransformer, transformerDefaults } from '../networks/transformer.js';
import { foldIn, randomKey } from '../random/keys.js';
import { cacheFolder } from '../run/cache.js';

/** The embedded model as it is before any feedback: taught to continue a corpus, once, and kept in the user's cache. */

type EmbeddedSettings = Extract<ResolvedLanguageConfig['language']['model'], { name: 'embedded' }>;

export interface BaseModelOptions extends Pick<ResolvedLanguageConfig, 'engine' | 'threads'> {
  /** Told what is being done: it takes a minute. */
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
}

/** Part of the name under which it is kept: to be raised when the same settings make another model. */
const format = 1;
/** The base model is the same for every run, whatever the run's seed. */
const key = foldIn(randomKey(0), 'base model');
const noticeEvery = 100;

async function corpusOf({ corpus }: EmbeddedSettings): Promise<string[]> {
  if (corpus === undefined) return reviews(foldIn(key, 'corpus'));
  let text: string;
  try {
    text = await readFile(corpus, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new PmpoError({
      where: 'language.model.corpus',
      what: missing ? `there is no file ${corpus}` : `${corpus} cannot be read: ${(cause as Error).message}`,
      cause,
    });
  }
  const documents = text.split('\n').filter((line) => line.trim() !== '');
  if (documents.length > 0) return documents;
  throw new PmpoError({ where: corpus, what: 'there is no text in it' });
}

function batchOf(documents: readonly Int32Array[], contextLength: number): PretrainingBatch {
  const longest = Math.min(contextLength, Math.max(...documents.map(({ length }) => length)));
  // One of few lengths, so that few graphs are compiled.
  const width = Math.min(contextLength, Math.ceil(longest / 16) * 16);
  const tokens = new Int32Array(documents.length * width);
  const lengths = documents.map((document, b) => {
    const part = document.subarray(0, width);
    tokens.set(part, b * width);
    return part.length;
  });
  return { tokens, lengths: Int32Array.from(lengths) };
}

async function pretrain(
  settings: EmbeddedSettings,
  corpus: readonly string[],
  { engine: name, threads, notice, signal }: BaseModelOptions,
): Promise<ModelFolder> {
  const { contextLength, layers, width, heads, keyValueHeads, hidden, pretraining } = settings;
  const tokenizerFiles = trainTokenizer(corpus, { vocabularySize: settings.vocabularySize, contextLength });
  const tokenizer = new HuggingFaceTokenizer(tokenizerFiles);
  const config = {
    vocabularySize: tokenizer.vocabularySize,
    contextLength,
    layers,
    width,
    heads,
    keyValueHeads,
    hidden,
    ...transformerDefaults,
  };
  const end = tokenizer.endToken;
  const documents = corpus.map((text) =>
    Int32Array.from([...tokenizer.encode(text, { begin: true }), ...(end === undefined ? [] : [end])]),
  );
  const engine = await createEngine(name, { threads });
  try {
    const job = createPretraining(engine, config, initTransformer(foldIn(key, 'parameters'), config));
    const { steps, batchSize, learningRate } = pretraining;
    for (let step = 0; step < steps; step++) {
      if (signal?.aborted) {
        throw new PmpoError({ where: 'the base model', what: 'stopped before it was made' });
      }
      const drawn = drawInTurn(documents, step * batchSize, batchSize, foldIn(key, 'order'));
      // A short rise, then a half cosine: nothing is learned well at one rate.
      const rise = Math.min(1, (step + 1) / (0.05 * steps));
      const fall = 0.5 * (1 + Math.cos((Math.PI * step) / steps));
      const nats = await job.step(batchOf(drawn, contextLength), learningRate * rise * fall);
      if ((step + 1) % noticeEvery === 0 || step + 1 === steps) {
        notice(`Making the base model: step ${step + 1} of ${steps}, ${nats.toFixed(2)} nats per token`);
      }
    }
    return { config, tokenizerFiles, parameters: await job.parameters() };
  } finally {
    await engine.dispose();
  }
}

/**
 * The base model of these settings: from the cache, or made and put there. The same settings make the same model.
 * @throws PmpoError when the corpus cannot be read, or when stopped.
 */
export async function baseModel(settings: EmbeddedSettings, options: BaseModelOptions): Promise<ModelFolder> {
  const corpus = await corpusOf(settings);
  const { corpus: _, ...sizes } = settings;
  const digest = createHash('sha256')
    .update(JSON.stringify([format, sizes, corpus]))
    .digest('hex')
    .slice(0, 16);
  const folder = join(cacheFolder(), 'models', digest);
  const isMade = await stat(join(folder, 'config.json')).then(
    () => true,
    () => false,
  );
  if (isMade) return readModelFolder(folder);
  options.notice('Making the base model, once for these settings …');
  const model = await pretrain(settings, corpus, options);
  await mkdir(dirname(folder), { recursive: true });
  const aside = await mkdtemp(`${folder}.`);
  await writeModelFiles(aside, model);
  // Another run may have made the same meanwhile: the first one stays.
  await rename(aside, folder).catch(() => rm(aside, { recursive: true, force: true }));
  return model;
}
