import { z } from 'zod';
import { ConfigError, ConnectionLostError, PmpoError, StoppedError } from '../../core/errors.js';
import { SecurityError } from '../../grpc/errors.js';
import { addressSchema, patienceKeys, tlsSchema, tokenSchema } from '../../grpc/schema.js';
import { ChatEndpoint } from '../chat-endpoint.js';
import { VllmClient } from '../vllm-client.js';
import { withoutThoughts } from './answers.js';

/** The language model behind a judge, reached over gRPC or at an HTTP chat endpoint. */

export const judgeModelSettings = {
  address: z
    .union([addressSchema, z.array(addressSchema).min(1)])
    .optional()
    .describe('host:port of a server that speaks vLLM’s gRPC protocol, or a list of several'),
  url: z.string().optional().describe('An OpenAI-compatible HTTP endpoint: https://judge.example/v1'),
  model: z.string().optional().describe('The model’s name at the HTTP endpoint'),
  tls: tlsSchema,
  token: tokenSchema,
  chat: z
    .boolean()
    .default(true)
    .describe("gRPC: whether to format a question as a user message with the model's chat template"),
  maxTokens: z.int().min(1).default(64).describe('Maximum length of an answer, in tokens'),
  temperature: z
    .number()
    .min(0)
    .default(0)
    .describe('0: the most likely answer; a question that is asked again is then sampled at temperature 1'),
  deadlineSeconds: z.number().positive().default(120).describe('Maximum duration of one answer'),
  inFlight: z.int().min(1).default(8).describe('Maximum number of concurrent questions'),
  ...patienceKeys,
};

export type JudgeModelSettings = z.infer<z.ZodObject<typeof judgeModelSettings>>;

export interface AnswerOptions {
  readonly seed: number;
  /** How often this question was asked before. From 1, temperature 0 becomes 1: the most likely answer would only be repeated. */
  readonly attempt: number;
}

export interface JudgeModel {
  /** Answers one question. @throws PmpoError if the model cannot be reached, refuses, or gives no text in time. */
  answer(question: string, options: AnswerOptions, signal?: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/**
 * Whether an error concerns only this question, for example because it is too long for the judge, the answer has no text, or the
 * deadline passed. Other questions may still be answered.
 */
function concernsOneQuestion(error: unknown): error is PmpoError {
  const concernsAll = [ConnectionLostError, SecurityError, StoppedError, ConfigError];
  return error instanceof PmpoError && !concernsAll.some((kind) => error instanceof kind);
}

/** The value parsed from an answer. If no attempt gave a value: the last answer, or the error of the last attempt. */
export type JudgeAnswer<T> =
  | { readonly value: T; readonly answer: string }
  | { readonly value: undefined; readonly answer: string }
  | { readonly value: undefined; readonly error: PmpoError };

/**
 * Asks a question until its answer can be parsed, at most `attempts` times.
 * @throws PmpoError if an attempt fails for a reason that concerns other questions as well, such as a lost connection.
 */
export async function askUntilParsed<T>(
  model: JudgeModel,
  question: string,
  {
    attempts,
    seedOf,
    parse,
  }: {
    readonly attempts: number;
    readonly seedOf: (attempt: number) => number;
    /** Returns undefined for an answer, without what the model thought before it, that cannot be used. */
    readonly parse: (answer: string) => T | undefined;
  },
  signal?: AbortSignal,
): Promise<JudgeAnswer<T>> {
  let last: JudgeAnswer<T> = { value: undefined, answer: '' };
  for (let attempt = 0; attempt < attempts; attempt++) {
    try {
      const answer = await model.answer(question, { seed: seedOf(attempt), attempt }, signal);
      const value = parse(withoutThoughts(answer));
      if (value !== undefined) return { value, answer };
      last = { value: undefined, answer };
    } catch (error) {
      if (!concernsOneQuestion(error)) throw error;
      last = { value: undefined, error };
    }
  }
  return last;
}

/** Shows the first few notices about unreadable answers: more of them would say nothing new. */
export function firstNotices(notice: (message: string) => void): (message: string) => void {
  let notices = 0;
  return (message) => {
    if (notices++ < 3) notice(message);
  };
}

/**
 * Connects to the language model of a judge.
 * @param where the configuration key of the judge, for error messages.
 * @param notice shows the user that the program is waiting for the model.
 * @throws ConfigError if the settings have neither `address` nor `url`, or both; PmpoError if the model cannot be reached.
 */
export async function openJudgeModel(
  settings: JudgeModelSettings,
  where: string,
  notice: (message: string) => void,
): Promise<JudgeModel> {
  const { address: given, url, model, tls, token, chat, maxTokens, temperature, ...limits } = settings;
  if ((given === undefined) === (url === undefined)) {
    throw new ConfigError({
      where,
      what: given === undefined ? 'it has neither an address nor a url' : 'it has both an address and a url',
      remedy: 'Give address (gRPC) or url (HTTP)',
    });
  }
  const temperatureOf = ({ attempt }: AnswerOptions) => (temperature === 0 && attempt > 0 ? 1 : temperature);
  if (url !== undefined) {
    if (tls !== false) {
      throw new ConfigError({
        where: `${where}.tls`,
        what: 'applies to gRPC only; an HTTP endpoint uses TLS if its url begins with https',
        remedy: 'Omit it',
      });
    }
    if (model === undefined)
      throw new ConfigError({
        where: `${where}.model`,
        what: 'is missing',
        remedy: 'Give the name of the model at the endpoint',
      });
    const endpoint = new ChatEndpoint({ url, model, token, ...limits, configKey: where }, { notice });
    return {
      answer: (question, options, signal) =>
        endpoint.complete(question, {
          maxTokens,
          temperature: temperatureOf(options),
          seed: options.seed,
          signal,
        }),
      close: () => endpoint.close(),
    };
  }
  const client = await VllmClient.connect({ address: given!, tls, token, ...limits, configKey: where });
  const { tokenizer } = client;
  const asChat = chat && tokenizer.hasChatTemplate;
  return {
    async answer(question, options, signal) {
      const prompt = asChat
        ? tokenizer.encodeChat([{ role: 'user', content: question }])
        : tokenizer.encode(question);
      const [completion] = await client.sample({
        prompt,
        completions: 1,
        maxTokens,
        temperature: temperatureOf(options),
        seed: options.seed,
        logProbs: false,
        signal,
      });
      return completion!.text;
    },
    close: () => client.close(),
  };
}
