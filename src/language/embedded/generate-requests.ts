import { PmpoError } from '../../core/errors.js';
import { foldIn, type RandomKey, randomKey } from '../../core/random-keys.js';
import type { GenerateRequest, SamplingParams } from '../../generated/vllm.js';
import type { Tokenizer } from '../tokenizer.js';
import type { Generation } from './generation.js';
import { isGreedy, type Penalties } from './sampling.js';

/** Reads Generate requests for the scheduler. The same requests are refused as by vLLM. */

/** The properties of the served model that requests are checked against. */
export interface Served {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly endTokens: readonly number[];
  readonly tokenizer: Tokenizer;
}

const maxLogProbs = 20;
const maxCompletions = 16_384;

function refuse(what: string, remedy?: string): never {
  throw new PmpoError({ what, remedy });
}

function readPrompt(request: GenerateRequest, served: Served): Int32Array {
  const { vocabularySize: V, contextLength: C, tokenizer } = served;
  const prompt =
    request.tokenized === undefined
      ? tokenizer.encode(request.text ?? '')
      : Int32Array.from(request.tokenized.inputIds ?? []);
  if (request.tokenized === undefined && request.text === undefined) {
    refuse('the request has no input', 'Give tokenized.input_ids or text');
  }
  if (prompt.length === 0) refuse('the prompt is empty', 'Give at least one token');
  if (prompt.length >= C) {
    refuse(
      `the prompt has ${prompt.length} tokens, which leaves no room in the context length of ${C}`,
      `Give at most ${C - 1}`,
    );
  }
  const wrong = prompt.findIndex((token) => token < 0 || token >= V);
  if (wrong >= 0) refuse(`token ${wrong} of the prompt is ${prompt[wrong]}`, `Tokens are 0 to ${V - 1}`);
  return prompt;
}

function readLogProbs(name: string, value: number | undefined): number | undefined {
  if (value === undefined || (value >= 0 && value <= maxLogProbs)) return value;
  return refuse(`${name} is ${value}`, `Give 0 to ${maxLogProbs}`);
}

function readPenalties(sampling: SamplingParams): Penalties {
  const { frequencyPenalty = 0, presencePenalty = 0, repetitionPenalty = 0 } = sampling;
  for (const [name, value] of [
    ['frequency_penalty', frequencyPenalty],
    ['presence_penalty', presencePenalty],
  ] as const) {
    if (!(Math.abs(value) <= 2)) refuse(`${name} is ${value}`, 'Give a number from -2 to 2');
  }
  if (!(repetitionPenalty >= 0 && repetitionPenalty < Infinity)) {
    refuse(`repetition_penalty is ${repetitionPenalty}`, 'Give a number above 0; 1 means no penalty');
  }
  return { frequencyPenalty, presencePenalty, repetitionPenalty: repetitionPenalty || 1 };
}

/**
 * @param fallbackKey the random key of completions if the request has no seed
 * @throws PmpoError that says what is wrong with the request.
 */
export function readGenerate(request: GenerateRequest, served: Served, fallbackKey: RandomKey): Generation {
  const sampling: SamplingParams = request.samplingParams ?? {};
  const prompt = readPrompt(request, served);
  const { temperature = 1, topP = 0, topK = 0, minP = 0, minTokens = 0 } = sampling;
  const maxTokens = sampling.maxTokens ?? served.contextLength - prompt.length;
  const completions = sampling.n || 1;
  if (completions > maxCompletions) refuse(`n is ${completions}`, `Give at most ${maxCompletions}`);
  if (maxTokens < 1) refuse('max_tokens is 0', 'Give 1 or more');
  if (minTokens > maxTokens)
    refuse(`min_tokens is ${minTokens}, which is more than max_tokens, ${maxTokens}`);
  if (!(temperature >= 0 && temperature < Infinity))
    refuse(`temperature is ${temperature}`, 'Give 0 or more');
  if (!(topP >= 0 && topP <= 1)) refuse(`top_p is ${topP}`, 'Give a number above 0 and at most 1');
  if (!(minP >= 0 && minP <= 1)) refuse(`min_p is ${minP}`, 'Give a number from 0 to 1');
  const choice = { temperature, topP: topP === 0 ? 1 : topP, topK, minP };
  if (isGreedy(choice) && completions > 1) {
    refuse(
      `n is ${completions} with temperature ${temperature}: all completions would be the same`,
      'Give n = 1 or a higher temperature',
    );
  }
  const stopTexts = sampling.stop ?? [];
  if (stopTexts.includes('')) refuse('a stop text is empty', 'Leave it out');
  const ends = sampling.ignoreEos === true ? [] : served.endTokens;
  const stopTokens = new Set([...ends, ...(sampling.stopTokenIds ?? [])]);
  const topLogProbs = readLogProbs('logprobs', sampling.logprobs);
  const promptLogProbs = readLogProbs('prompt_logprobs', sampling.promptLogprobs);
  return {
    ...choice,
    ...readPenalties(sampling),
    prompt,
    completions,
    maxTokens,
    minTokens,
    stopTexts,
    stopTokens,
    key: sampling.seed === undefined ? fallbackKey : foldIn(randomKey(0), sampling.seed),
    topLogProbs: topLogProbs ?? 0,
    ...(promptLogProbs === undefined ? {} : { promptLogProbs }),
  };
}
