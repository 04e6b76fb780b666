import { PmpoError } from '../core/errors.js';
import type { GenerateRequest } from '../generated/vllm.js';
import type { ModelInfo, SampleRequest } from './language-model.js';

/** Requests to a vLLM server, validated before they are sent. */

function problem(what: string, remedy?: string): PmpoError {
  return new PmpoError({ where: 'sampling', what, remedy });
}

function checkTokens(what: string, tokens: Int32Array, { vocabularySize, name }: ModelInfo): void {
  const at = tokens.findIndex((token) => token < 0 || token >= vocabularySize);
  if (at < 0) return;
  throw new PmpoError({
    where: name,
    what: `token ${at} of the ${what} is ${tokens[at]}, but the model has only ${vocabularySize} tokens`,
    remedy: "Encode texts with the model's own tokenizer",
  });
}

function checkPrompt(prompt: Int32Array, info: ModelInfo): void {
  if (prompt.length === 0) {
    throw problem(
      'the prompt is empty',
      'It must have at least one token, for example the one that begins a text',
    );
  }
  if (prompt.length >= info.contextLength) {
    throw new PmpoError({
      where: info.name,
      what: `a prompt of ${prompt.length} tokens leaves no room in a context of ${info.contextLength}`,
      remedy: 'Shorten it, or serve the model with a longer context',
    });
  }
  checkTokens('prompt', prompt, info);
}

/** @throws PmpoError for invalid or contradictory settings. */
function checkSettings(request: SampleRequest): void {
  const { maxTokens, minTokens = 0, temperature = 1, topP = 1, topK = 0, completions, seed = 0 } = request;
  const count = (name: string, value: number, least: number) => {
    if (Number.isInteger(value) && value >= least) return;
    throw problem(`${name} is ${value}`, `It must be an integer of at least ${least}`);
  };
  count('completions', completions, 1);
  count('maxTokens', maxTokens, 1);
  count('minTokens', minTokens, 0);
  count('topK', topK, 0);
  count('seed', seed, 0);
  if (minTokens > maxTokens) throw problem(`minTokens is ${minTokens}, but maxTokens is ${maxTokens}`);
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw problem(`temperature is ${temperature}`, 'It must be at least 0');
  }
  if (!(topP > 0 && topP <= 1)) throw problem(`topP is ${topP}`, 'It must be greater than 0 and at most 1');
  const { minP = 0, presencePenalty = 0, frequencyPenalty = 0, repetitionPenalty = 1 } = request;
  if (!(minP >= 0 && minP <= 1)) throw problem(`minP is ${minP}`, 'It must be between 0 and 1');
  for (const [name, value] of Object.entries({ presencePenalty, frequencyPenalty })) {
    if (!(Math.abs(value) <= 2)) throw problem(`${name} is ${value}`, 'It must be between -2 and 2');
  }
  if (!(repetitionPenalty > 0 && repetitionPenalty < Infinity)) {
    throw problem(
      `repetitionPenalty is ${repetitionPenalty}`,
      'It must be greater than 0; 1 means no penalty',
    );
  }
  if (temperature === 0 && completions > 1) {
    throw problem(
      `${completions} completions at temperature 0 would be equal`,
      'Request one, or set a temperature',
    );
  }
  if (request.stop?.includes('')) throw problem('a stop text is empty');
}

/**
 * The Generate message for N completions.
 * @throws PmpoError for invalid settings, and for a prompt that does not fit the model.
 */
export function generateRequest(request: SampleRequest, info: ModelInfo, stream: boolean): GenerateRequest {
  const { prompt, completions, seed, logProbs = true, maxTokens, minTokens, temperature, topP } = request;
  const { topK, minP, presencePenalty, frequencyPenalty, repetitionPenalty } = request;
  const { stop, stopTokens, ignoreEnd } = request;
  checkSettings(request);
  checkPrompt(prompt, info);
  const unknown = stopTokens?.find((token) => !(token >= 0 && token < info.vocabularySize));
  if (unknown !== undefined) {
    throw problem(`the stop token is ${unknown}, but the model has only ${info.vocabularySize} tokens`);
  }
  return {
    tokenized: { inputIds: Array.from(prompt) },
    stream,
    samplingParams: {
      n: completions,
      maxTokens,
      minTokens,
      temperature: temperature ?? 1,
      topP: topP ?? 1,
      topK,
      minP,
      presencePenalty,
      frequencyPenalty,
      repetitionPenalty,
      stop,
      stopTokenIds: stopTokens,
      // The server searches stop texts in the text without special tokens, which is also Completion.text.
      skipSpecialTokens: true,
      ignoreEos: ignoreEnd,
      // The protocol has a signed 32-bit integer, in which −1 means no seed.
      seed: seed === undefined ? undefined : seed % 2 ** 31,
      logprobs: logProbs ? 0 : undefined,
    },
  };
}

/**
 * The Generate message for the log-probs of a given completion, which is sent as the end of a prompt: vLLM returns the log-probs of
 * prompts, too. The server has to sample one more token, which is ignored.
 * @throws PmpoError if prompt and completion do not fit the model.
 */
export function scoreRequest(prompt: Int32Array, completion: Int32Array, info: ModelInfo): GenerateRequest {
  checkPrompt(prompt, info);
  const { name, contextLength } = info;
  if (completion.length === 0) throw new PmpoError({ where: name, what: 'the completion to score is empty' });
  checkTokens('completion', completion, info);
  const length = prompt.length + completion.length;
  if (length >= contextLength) {
    throw new PmpoError({
      where: name,
      what: `a prompt of ${prompt.length} tokens and a completion of ${completion.length} cannot be scored in a context of ${contextLength}`,
      remedy: `Together they may have ${contextLength - 1} tokens, because the server samples one more`,
    });
  }
  return {
    tokenized: { inputIds: [...prompt, ...completion] },
    stream: false,
    samplingParams: { n: 1, maxTokens: 1, temperature: 0, promptLogprobs: 0 },
  };
}
