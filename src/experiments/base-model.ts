import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ResolvedLanguageConfig } from '../config/load-language.js';
import { PmpoError } from '../core/errors.js';
import { foldIn, randomKey } from '../core/random-keys.js';
import { createEngine } from '../engine/create.js';
import { pretrainBaseModel } from '../language/embedded/base-model.js';
import { type ModelFolder, readModelFolder, writeModelFiles } from '../language/embedded/model-folder.js';
import { makeReviews, reviewPrompts } from '../language/embedded/reviews.js';
import { cacheFolder } from '../system/cache-folder.js';

/** The embedded model as it is before any feedback: made once for its settings, and kept in the user's cache. */

type EmbeddedSettings = Extract<ResolvedLanguageConfig['language']['model'], { name: 'embedded' }>;

export interface BaseModelOptions extends Pick<ResolvedLanguageConfig, 'engine' | 'threads'> {
  /** Told what is being done: it takes a minute. */
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Part of the name under which it is kept: to be raised when the same settings make another model. */
const format = 1;
/** The base model is the same for every run, whatever the run's seed. */
const key = foldIn(randomKey(0), 'base model');
/** Reviews that a base model learns from where no corpus is named. */
const reviewCount = 16_000;
const sayEvery = 100;

/** The prompts of the built-in reviews: those that the base model has seen reviews of, and those that it has not. */
export function builtInPrompts() {
  return reviewPrompts(key);
}

async function documentsOf({ corpus }: EmbeddedSettings): Promise<string[]> {
  if (corpus === undefined) {
    const reviews = makeReviews(foldIn(key, 'reviews'), builtInPrompts().training, reviewCount);
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
  throw new PmpoError({ where: corpus, what: 'there is no text in it' });
}

async function make(
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
        say(`Making the base model: step ${step + 1} of ${steps}, ${crossEntropy.toFixed(2)} nats per token`);
      },
    });
  } catch (cause) {
    if (!signal?.aborted) throw cause;
    throw new PmpoError({ where: 'the base model', what: 'stopped before it was made', cause });
  } finally {
    await engine.dispose();
  }
}

/**
 * The base model of these settings: from the cache, or made and put there. The same settings make the same model.
 * @throws PmpoError when the corpus cannot be read, the settings do not fit together, or when stopped.
 */
export async function baseModel(settings: EmbeddedSettings, options: BaseModelOptions): Promise<ModelFolder> {
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
  if (isMade) return readModelFolder(folder);
  options.say('Making the base model, once for these settings …');
  const model = await make(settings, documents, options);
  await mkdir(dirname(folder), { recursive: true });
  const aside = await mkdtemp(`${folder}.`);
  await writeModelFiles(aside, model);
  // Another run may have made the same meanwhile: the first one stays.
  await rename(aside, folder).catch(() => rm(aside, { recursive: true, force: true }));
  return model;
}
