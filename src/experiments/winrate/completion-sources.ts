import { PmpoError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey, randomSeed } from '../../core/random-keys.js';
import type { PromptRow } from '../../datasets/prompts.js';
import { conversationOf, promptOf } from '../../datasets/prompts.js';
import { isDataFile, readRows } from '../../datasets/rows.js';
import { createEngine } from '../../engine/create.js';
import type { SecuritySettings } from '../../grpc/security.js';
import { connectEmbedded } from '../../language/embedded/client.js';
import { createEmbeddedModel } from '../../language/embedded/embedded-model.js';
import { readModelFolder } from '../../language/embedded/model-folder.js';
import type { FinishReason, LanguageModel, SamplingSettings } from '../../language/language-model.js';
import { VllmClient } from '../../language/vllm-client.js';
import { promptTokens, turnEnds } from '../../learners/language/layout.js';

/** A completion and how it ended. */
export interface SourceCompletion {
  readonly text: string;
  readonly finishReason: FinishReason;
}

/** One side of a comparison: a model that completes the prompts, or a file of completions. */
export interface CompletionSource {
  /** One completion for each prompt, in order. @throws PmpoError if one is missing or cannot be sampled. */
  complete(prompts: readonly PromptRow[], signal?: AbortSignal): Promise<readonly SourceCompletion[]>;
  close(): Promise<void>;
}

/** How completions are sampled or read. */
export interface CompletionSourceOptions extends SecuritySettings {
  readonly sampling: SamplingSettings;
  readonly chat: boolean;
  /** Both sources get the same key, and so sample with the same seeds. */
  readonly key: RandomKey;
  /** Its name on the command line, for error messages: A or B. */
  readonly where: string;
}

function modelSource(
  model: LanguageModel,
  { sampling, chat, key }: CompletionSourceOptions,
  close: () => Promise<void>,
): CompletionSource {
  return {
    complete: (prompts, signal) =>
      Promise.all(
        prompts.map(async (row, i) => {
          const [completion] = await model.sample({
            ...sampling,
            prompt: promptTokens(model.tokenizer, row, chat),
            stopTokens: turnEnds(model.tokenizer, row, chat),
            completions: 1,
            seed: randomSeed(foldIn(key, i)) >>> 1,
            logProbs: false,
            signal,
          });
          const { text, finishReason } = completion!;
          return { text, finishReason };
        }),
      ),
    close,
  };
}

/** A file of prompts and completions, such as those in `completions/` of a run. */
async function fileSource(file: string): Promise<CompletionSource> {
  const found = new Map<string, SourceCompletion>();
  for (const placed of await readRows(file)) {
    const prompt = conversationOf(promptOf(placed, 'prompt'));
    const { completion, finishReason = 'stop' } = placed.row;
    if (typeof completion !== 'string') {
      throw new PmpoError({ where: placed.where, what: "'completion' is not text" });
    }
    if (!found.has(prompt))
      found.set(prompt, { text: completion, finishReason: finishReason as FinishReason });
  }
  return {
    async complete(prompts) {
      return prompts.map((prompt) => {
        const completion = found.get(conversationOf(prompt));
        if (completion !== undefined) return completion;
        throw new PmpoError({ where: file, what: `it has no completion of the prompt at ${prompt.where}` });
      });
    },
    close: async () => {},
  };
}

async function folderSource(folder: string, options: CompletionSourceOptions): Promise<CompletionSource> {
  const base = await readModelFolder(folder);
  const engine = await createEngine('auto');
  const model = await createEmbeddedModel({
    engine,
    base,
    name: folder,
    key: randomKey(0),
    connect: (address) => connectEmbedded(address, options.where),
  });
  return modelSource(model.sampler, options, async () => {
    await model.close();
    await engine.dispose();
  });
}

/**
 * Opens a source of completions.
 * @param source `host:port` of an LM server, a file of completions (`.jsonl`, `.json`, `.parquet`), or the folder of an embedded model
 *   (`runs/NAME/model`).
 * @throws PmpoError if it cannot be reached or read.
 */
export async function openCompletionSource(
  source: string,
  options: CompletionSourceOptions,
): Promise<CompletionSource> {
  if (isDataFile(source)) return fileSource(source);
  if (/^(\S+:\d{1,5}|unix:\S+)$/.test(source)) {
    const { tls, token, where } = options;
    const client = await VllmClient.connect({ address: source, tls, token, configKey: where });
    return modelSource(client, options, () => client.close());
  }
  return folderSource(source, options);
}
