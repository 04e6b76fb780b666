import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ResolvedLanguageConfig } from '../config/load.js';
import { PmpoError } from '../core/errors.js';
import { foldIn, randomKey } from '../core/random-keys.js';
import { createEngine } from '../engine/create.js';
import { pretrainBaseModel } from '../language/embedded/base-model.js';
import { type ModelFolder, readModelFolder, writeModelFiles } from '../language/embedded/model-folder.js';
import { makeReviews, reviewPrompts } from '../language/embedded/reviews.js';
import { cacheFolder } from '../system/cache-folder.js';

/** The embedded model before it learns from feedback: pretrained once for its settings, and kept in the user's cache folder. */

type EmbeddedSettings = Extract<ResolvedLanguageConfig['language']['model'], { name: 'embedded' }>;

/** How a base model is pretrained, and how that is reported. */
export interface BaseModelOptions extends Pick<ResolvedLanguageConfig, 'engine' | 'threads'> {
  /** Receives progress lines: pretraining takes about a minute. */
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Part of the cache key. Raise it when a change of the code makes another model from the same settings. */
const format = 1;
/** The base model is the same for every run, whatever the run's seed. */
const key = foldIn(randomKey(0), 'base model');
/** Number of generated reviews to pretrain on if the configuration names no corpus. */
const reviewCount = 16_000;
const sayEvery = 100;

async function documentsOf({ corpus }: EmbeddedSettings): Promise<string[]> {
  if (corpus === undefined) {
    const reviews = makeReviews(foldIn(key, 'reviews'), reviewPrompts(key).training, reviewCount);
    return reviews.map(({ prompt, completion }) => prompt + completion);
  }
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
  throw new PmpoError({ where: corpus, what: 'the corpus has no text' });
}

async function pretrain(
  settings: EmbeddedSettings,
  documents: readonly string[],
  { engine: name, threads, say, signal }: BaseModelOptions,
): Promise<ModelFolder> {
  const { steps } = settings.pretraining;
  const engine = await createEngine(name, { threads });
  try {
    return await pretrainBaseModel({
      engine,
      key,
      documents,
      settings,
      signal,
      onStep: (step, crossEntropy) => {
        if ((step + 1) % sayEvery !== 0 && step + 1 !== steps) return;
        say(
          `Pretraining the base model: step ${step + 1} of ${steps}, ${crossEntropy.toFixed(2)} nats per token`,
        );
      },
    });
  } catch (cause) {
    if (!signal?.aborted) throw cause;
    throw new PmpoError({ where: 'the base model', what: 'pretraining was stopped', cause });
  } finally {
    await engine.dispose();
  }
}

/**
 * The base model for these settings, from the cache if it is there; otherwise it is pretrained and cached. The same settings give the
 * same model.
 * @throws PmpoError if the corpus cannot be read, the settings contradict each other, pretraining is stopped, or the model in the
 *   cache is damaged.
 */
export async function cachedBaseModel(
  settings: EmbeddedSettings,
  options: BaseModelOptions,
): Promise<ModelFolder> {
  const documents = await documentsOf(settings);
  const { corpus: _, ...sizes } = settings;
  const digest = createHash('sha256')
    .update(JSON.stringify([format, sizes, documents]))
    .digest('hex')
    .slice(0, 16);
  const folder = join(cacheFolder(), 'models', digest);
  const isMade = await stat(join(folder, 'config.json')).then(
    () => true,
    () => false,
  );
  if (isMade) return readCached(folder);
  options.say('Pretraining the base model, once for these settings …');
  const model = await pretrain(settings, documents, options);
  await mkdir(dirname(folder), { recursive: true });
  const aside = await mkdtemp(`${folder}.`);
  await writeModelFiles(aside, model);
  // Another run may have made the same model in the meantime: the first one stays.
  await rename(aside, folder).catch(() => rm(aside, { recursive: true, force: true }));
  return model;
}

async function readCached(folder: string): Promise<ModelFolder> {
  try {
    return await readModelFolder(folder, { checksum: true });
  } catch (cause) {
    if (!(cause instanceof PmpoError)) throw cause;
    const remedy = `Delete the folder ${folder}: the base model is then made again`;
    throw new PmpoError({ ...cause.details, remedy, cause });
  }
}
