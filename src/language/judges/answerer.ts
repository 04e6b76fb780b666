import { z } from 'zod';
import { ConfigError } from '../../errors.js';
import { addressSchema, tlsSchema, tokenSchema } from '../../grpc/schema.js';
import { ChatEndpoint } from '../chat-endpoint.js';
import { VllmClient } from '../vllm-client.js';

/** Who answers a judge's questions: a language model over gRPC, or a chat endpoint over HTTP. */

export const answererSettings = {
  address: z
    .union([addressSchema, z.array(addressSchema).min(1)])
    .optional()
    .describe('host:port of a server that speaks vLLM’s gRPC protocol, or a list of several'),
  url: z.string().optional().describe('An HTTP endpoint of OpenAI’s form: https://judge.example/v1'),
  model: z.string().optional().describe('The model’s name at the HTTP endpoint'),
  tls: tlsSchema,
  token: tokenSchema,
  chat: z
    .boolean()
    .default(true)
    .describe("gRPC: whether a question is laid out as a user's turn by the model's chat template"),
  maxTokens: z.int().min(1).default(64).describe('Of an answer'),
  temperature: z.number().min(0).default(0).describe('0: the likeliest answer'),
  deadlineSeconds: z.number().positive().default(120),
  inFlight: z.int().min(1).default(8).describe('Questions under way at once'),
};

export type AnswererSettings = z.infer<z.ZodObject<typeof answererSettings>>;

export interface Answerer {
  /** An answer to one question. @param seed of what is random in it. @throws PmpoError when none can be had. */
  answer(question: string, seed: number, signal?: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/**
 * Connects to who answers.
 * @param where the configuration's key, for messages.
 * @throws ConfigError when the settings name neither or both; PmpoError when it cannot be reached.
 */
export async function openAnswerer(settings: AnswererSettings, where: string): Promise<Answerer> {
  const { address: given, url, model, tls, token, chat, maxTokens, temperature, ...limits } = settings;
  if ((given === undefined) === (url === undefined)) {
    throw new ConfigError({
      where,
      what: given === undefined ? 'it names nobody who answers' : 'it names both an address and a url',
      remedy: 'Give address (gRPC) or url (HTTP)',
    });
  }
  if (url !== undefined) {
    if (tls !== false) {
      throw new ConfigError({
        where: `${where}.tls`,
        what: 'is of gRPC; an HTTP endpoint is reached by TLS where its url begins with https',
        remedy: 'Leave it out',
      });
    }
    if (model === undefined)
      throw new ConfigError({
        where: `${where}.model`,
        what: 'is missing: the endpoint wants to know which model',
      });
    const endpoint = new ChatEndpoint({ url, model, token, ...limits, configKey: where });
    return {
      answer: (question, seed, signal) =>
        endpoint.complete(question, { maxTokens, temperature, seed, signal }),
      close: () => endpoint.close(),
    };
  }
  const client = await VllmClient.connect({ address: given!, tls, token, ...limits, configKey: where });
  const { tokenizer } = client;
  const asChat = chat && tokenizer.hasChatTemplate;
  return {
    async answer(question, seed, signal) {
      const prompt = asChat
        ? tokenizer.encodeChat([{ role: 'user', content: question }])
        : tokenizer.encode(question);
      const [completion] = await client.sample({
        prompt,
        completions: 1,
        maxTokens,
        temperature,
        seed,
        logProbs: false,
        signal,
      });
      return completion!.text;
    },
    close: () => client.close(),
  };
}
