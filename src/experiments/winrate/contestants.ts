import { PmpoError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey, randomSeed } from '../../core/random-keys.js';
import type { PromptRow } from '../../datasets/prompts.js';
import { conversationOf, promptOf } from '../../datasets/prompts.js';
import { readRows } from '../../datasets/rows.js';
import { createEngine } from '../../engine/create.js';
import type { SecuritySettings } from '../../grpc/security.js';
import { connectEmbedded } from '../../language/embedded/client.js';
import { createEmbeddedModel } from '../../language/embedded/embedded-model.js';
import { readModelFolder } from '../../language/embedded/model-folder.js';
import { encodePrompt } from '../../language/encoding.js';
import type { FinishReason, LanguageModel, SamplingSettings } from '../../language/language-model.js';
import { VllmClient } from '../../language/vllm-client.js';

/** A completion, and how it ended. */
export interface Written {
  readonly text: string;
  readonly finishReason: FinishReason;
}

/** Who is compared: a model that completes the prompts, or a file of completions. */
export interface Contestant {
  /** The completion of each prompt. @throws PmpoError when one cannot be had. */
  complete(prompts: readonly PromptRow[], signal?: AbortSignal): Promise<readonly Written[]>;
  close(): Promise<void>;
}

export interface ContestantOptions extends SecuritySettings {
  readonly sampling: SamplingSettings;
  readonly chat: boolean;
  /** Of what is random: the same key gives both contestants the same seeds. */
  readonly key: RandomKey;
  /** What it was called on the command line, for messages. */
  readonly where: string;
}

function ofModel(
  model: LanguageModel,
  { sampling, chat, key }: ContestantOptions,
  close: () => Promise<void>,
): Contestant {
  return {
    complete: (prompts, signal) =>
      Promise.all(
        prompts.map(async (row, i) => {
          const [completion] = await model.sample({
            ...sampling,
            prompt: encodePrompt(model.tokenizer, row, chat),
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

/** Completions by their prompts: of a file such as those in `completions/` of a run. */
async function ofFile(file: string): Promise<Contestant> {
  const found = new Map<string, Written>();
  for (const placed of await readRows(file)) {
    const prompt = conversationOf(promptOf(placed, 'prompt'));
    const { completion, finishReason = 'stop' } = placed.row;
    if (typeof completion !== 'string') {
      throw new PmpoError({ where: placed.where, what: "there is no text in 'completion'" });
    }
    if (!found.has(prompt))
      found.set(prompt, { text: completion, finishReason: finishReason as FinishReason });
  }
  return {
    async complete(prompts) {
      return prompts.map((prompt) => {
        const completion = found.get(conversationOf(prompt));
        if (completion !== undefined) return completion;
        throw new PmpoError({ where: file, what: `there is no completion of the prompt at ${prompt.where}` });
      });
    },
    close: async () => {},
  };
}

async function ofFolder(folder: string, options: ContestantOptions): Promise<Contestant> {
  const base = await readModelFolder(folder);
  const engine = await createEngine('auto');
  const model = await createEmbeddedModel({
    engine,
    base,
    name: folder,
    key: randomKey(0),
    connect: (address) => connectEmbedded(address, options.where),
  });
  return ofModel(model.sampler, options, async () => {
    await model.close();
    await engine.dispose();
  });
}

/**
 * Opens what a word on the command line stands for: `host:port` of an LM server, a file of completions (`.jsonl`,
 * `.parquet`), or the folder of an embedded model (`runs/NAME/model`).
 * @throws PmpoError when it is none of these, or cannot be reached or read.
 */
export async function openContestant(word: string, options: ContestantOptions): Promise<Contestant> {
  if (/\.(jsonl|parquet)$/.test(word)) return ofFile(word);
  if (/^(\S+:\d{1,5}|unix:\S+)$/.test(word)) {
    const { tls, token, where } = options;
    const client = await VllmClient.connect({ address: word, tls, token, configKey: where });
    return ofModel(client, options, () => client.close());
  }
  return ofFolder(word, options);
}
