import { z } from 'zod';
import { ConfigError, ConnectionLostError, PmpoError } from '../../core/errors.js';
import { StoppedError } from '../../grpc/call.js';
import { SecurityError } from '../../grpc/errors.js';
import { addressSchema, patienceKeys, tlsSchema, tokenSchema } from '../../grpc/schema.js';
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
  temperature: z
    .number()
    .min(0)
    .default(0)
    .describe('0: the likeliest answer; asked once more, one at temperature 1'),
  deadlineSeconds: z.number().positive().default(120),
  inFlight: z.int().min(1).default(8).describe('Questions under way at once'),
  ...patienceKeys,
};

export type AnswererSettings = z.infer<z.ZodObject<typeof answererSettings>>;

export interface Draw {
  /** Of what is random in an answer. */
  readonly seed: number;
  /** How often the same was asked before: the likeliest answer would only be repeated, and is drawn at temperature 1 then. */
  readonly attempt: number;
}

export interface Answerer {
  /** An answer to one question. @throws PmpoError when none can be had. */
  answer(question: string, draw: Draw, signal?: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/**
 * Whether an error is of one question alone (one that is too long for the judge, an answer without a text, an answer that did
 * not come in time), and says nothing of the others.
 */
function isOfOneQuestion(error: unknown): error is PmpoError {
  const ofAll = [ConnectionLostError, SecurityError, StoppedError, ConfigError];
  return error instanceof PmpoError && !ofAll.some((kind) => error instanceof kind);
}

/** What was read from an answer; or, where none could be used, the last answer or why there was none. */
export type Asked<T> =
  | { readonly value: T; readonly answer: string }
  | { readonly value: undefined; readonly answer: string }
  | { readonly value: undefined; readonly error: PmpoError };

/** Asks a question until its answer can be read, `attempts` times at most. @throws PmpoError for what is not of this question. */
export async function askUntilRead<T>(
  answerer: Answerer,
  question: string,
  {
    attempts,
    seedOf,
    read,
  }: {
    readonly attempts: number;
    readonly seedOf: (attempt: number) => number;
    readonly read: (answer: string) => T | undefined;
  },
  signal?: AbortSignal,
): Promise<Asked<T>> {
  let last: Asked<T> = { value: undefined, answer: '' };
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      const answer = await answerer.answer(question, { seed: seedOf(attempt), attempt }, signal);
      const value = read(answer);
      if (value !== undefined) return { value, answer };
      last = { value: undefined, answer };
    } catch (error) {
      if (!isOfOneQuestion(error)) throw error;
      last = { value: undefined, error };
    }
  }
  return last;
}

/**
 * Connects to who answers.
 * @param where the configuration's key, for messages.
 * @param notice takes what a person should know while it is waited for.
 * @throws ConfigError when the settings name neither or both; PmpoError when it cannot be reached.
 */
export async function openAnswerer(
  settings: AnswererSettings,
  where: string,
  notice: (message: string) => void,
): Promise<Answerer> {
  const { address: given, url, model, tls, token, chat, maxTokens, temperature, ...limits } = settings;
  if ((given === undefined) === (url === undefined)) {
    throw new ConfigError({
      where,
      what: given === undefined ? 'it names nobody who answers' : 'it names both an address and a url',
      remedy: 'Give address (gRPC) or url (HTTP)',
    });
  }
  const temperatureOf = ({ attempt }: Draw) => (temperature === 0 && attempt > 0 ? 1 : temperature);
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
    const endpoint = new ChatEndpoint({ url, model, token, ...limits, configKey: where }, { notice });
    return {
      answer: (question, draw, signal) =>
        endpoint.complete(question, {
          maxTokens,
          temperature: temperatureOf(draw),
          seed: draw.seed,
          signal,
        }),
      close: () => endpoint.close(),
    };
  }
  const client = await VllmClient.connect({ address: given!, tls, token, ...limits, configKey: where });
  const { tokenizer } = client;
  const asChat = chat && tokenizer.hasChatTemplate;
  return {
    async answer(question, draw, signal) {
      const prompt = asChat
        ? tokenizer.encodeChat([{ role: 'user', content: question }])
        : tokenizer.encode(question);
      const [completion] = await client.sample({
        prompt,
        completions: 1,
        maxTokens,
        temperature: temperatureOf(draw),
        seed: draw.seed,
        logProbs: false,
        signal,
      });
      return completion!.text;
    },
    close: () => client.close(),
  };
}
