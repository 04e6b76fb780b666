import { ConnectionLostError, PmpoError } from '../core/errors.js';
import type {
  GenerateComplete,
  GetModelInfoResponse,
  InputLogProbs,
  OutputLogProbs,
} from '../generated/vllm.js';
import type { Completion, FinishReason, ModelInfo } from './language-model.js';
import type { Tokenizer } from './tokenizer.js';

/** Responses of a vLLM server, validated so that missing values and NaN never reach a learner. */

/** Rounding in single precision may make a log-prob slightly positive. */
const rounding = 1e-3;

function checkLogProbs(values: Float32Array, what: string, where: string): void {
  const at = values.findIndex((value) => !(value > -Infinity && value <= rounding));
  if (at < 0) return;
  throw new PmpoError({
    where,
    what: `the log-prob of token ${at} of ${what} is ${values[at]}`,
    remedy:
      'Check whether the weights contain NaN, or overflow in the precision in which the model is served',
  });
}

/** The log-probs of sampled tokens, [T], checked to belong to `tokens`. */
export function outputLogProbs(
  message: OutputLogProbs | undefined,
  tokens: Int32Array,
  what: string,
  where: string,
): Float32Array {
  const { tokenLogprobs = [], tokenIds = [] } = message ?? {};
  if (tokenLogprobs.length !== tokens.length) {
    throw new PmpoError({
      where,
      what: `${what} has ${tokens.length} tokens, but ${tokenLogprobs.length} log-probs`,
      remedy: 'The server must report the log-probs of sampled tokens (vLLM: logprobs)',
    });
  }
  if (tokenIds.some((id, t) => id !== tokens[t])) {
    throw new PmpoError({ where, what: `the log-probs of ${what} belong to other tokens` });
  }
  const values = Float32Array.from(tokenLogprobs);
  checkLogProbs(values, what, where);
  return values;
}

/** The log-probs of the last T tokens of a prompt, [T]. */
export function inputLogProbs(
  message: InputLogProbs | undefined,
  prompt: Int32Array,
  completion: Int32Array,
  where: string,
): Float32Array {
  const { tokenLogprobs = [], tokenIds = [] } = message ?? {};
  const length = prompt.length + completion.length;
  if (tokenLogprobs.length !== length) {
    throw new PmpoError({
      where,
      what: `the server scored ${tokenLogprobs.length} of ${length} tokens`,
      remedy: 'The server must report the log-probs of prompts (vLLM: prompt_logprobs)',
    });
  }
  if (completion.some((id, t) => tokenIds.length > 0 && tokenIds[prompt.length + t] !== id)) {
    throw new PmpoError({ where, what: 'the server scored other tokens than the ones it was sent' });
  }
  const scored = tokenLogprobs.slice(prompt.length);
  const values = Float32Array.from(scored, ({ value }) => value ?? Number.NaN);
  checkLogProbs(values, 'the completion to score', where);
  return values;
}

/**
 * How a completion ended.
 * @throws ConnectionLostError if the server aborted it: the request should be repeated, because the completion is only a fragment;
 *   PmpoError for any other reason than `stop` and `length`.
 */
export function finishReasonOf(
  { finishReason }: GenerateComplete,
  what: string,
  where: string,
): FinishReason {
  if (finishReason === 'stop' || finishReason === 'length') return finishReason;
  if (finishReason === 'abort') {
    throw new ConnectionLostError({ where, what: `the server aborted ${what} before its end` });
  }
  throw new PmpoError({
    where,
    what: `${what} ended with ${finishReason ? `'${finishReason}'` : 'no finish reason'}`,
    remedy: "See the server's log",
  });
}

/** Sampled tokens, [T], checked to be in the model's vocabulary. */
export function outputTokens(
  ids: readonly number[],
  { vocabularySize }: ModelInfo,
  what: string,
  where: string,
): Int32Array {
  const wrong = ids.find((id) => id >= vocabularySize);
  if (wrong === undefined) return Int32Array.from(ids);
  throw new PmpoError({
    where,
    what: `${what} has the token ${wrong}, but the model has only ${vocabularySize} tokens`,
  });
}

/** The index of the completion that a message belongs to. @throws PmpoError if it is not below N. */
export function indexOf(
  { index = 0 }: { readonly index?: number },
  completions: number,
  where: string,
): number {
  if (index < completions) return index;
  throw new PmpoError({
    where,
    what: `the server sent completion ${index}, but only ${completions} were requested`,
  });
}

/** The text of tokens, cut before the stop text if one ended them. */
function textBefore(stopText: string | undefined, tokens: Int32Array, tokenizer: Tokenizer): string {
  const text = tokenizer.decode(tokens);
  if (!stopText) return text;
  // The last token completed the stop text; an earlier occurrence (possible with minTokens) does not count.
  const before = tokenizer.decode(tokens.subarray(0, -1)).length;
  const end = text.indexOf(stopText, Math.max(0, before - stopText.length + 1));
  return end < 0 ? text : text.slice(0, end);
}

/** A completion from a `complete` message. */
export function completionOf(
  message: GenerateComplete,
  {
    logProbs,
    info,
    tokenizer,
    where,
  }: {
    readonly logProbs: boolean;
    readonly info: ModelInfo;
    readonly tokenizer: Tokenizer;
    readonly where: string;
  },
): Completion {
  const what = `completion ${message.index ?? 0}`;
  const finishReason = finishReasonOf(message, what, where);
  const tokens = outputTokens(message.outputIds ?? [], info, what, where);
  if (tokens.length === 0) {
    throw new PmpoError({
      where,
      what: `${what} is empty`,
      remedy: 'A completion has at least its end token',
    });
  }
  return {
    tokens,
    text: textBefore(message.matchedStopStr, tokens, tokenizer),
    ...(logProbs ? { logProbs: outputLogProbs(message.outputLogprobs, tokens, what, where) } : {}),
    finishReason,
  };
}

/**
 * The description of a server's model.
 * @throws PmpoError if the model does not complete texts, or its vocabulary size or context length is missing.
 */
export function modelInfoOf(message: GetModelInfoResponse, where: string): ModelInfo {
  const { servedModelName, modelPath, isGeneration, vocabSize = 0, maxContextLength = 0 } = message;
  const name = servedModelName || modelPath || 'the model';
  if (!isGeneration) {
    throw new PmpoError({
      where,
      what: `${name} does not complete texts: the server serves it for embeddings`,
      remedy: 'Give the address of a server of a causal language model',
    });
  }
  if (vocabSize < 1 || maxContextLength < 2) {
    throw new PmpoError({
      where,
      what: `the server reports ${vocabSize} tokens and a context of ${maxContextLength} for ${name}`,
      remedy: 'Try a newer version of the server',
    });
  }
  return {
    name,
    vocabularySize: vocabSize,
    contextLength: maxContextLength,
    endTokens: message.eosTokenIds ?? [],
    // The protocol cannot distinguish 0 from an unset value.
    ...(message.bosTokenId ? { beginToken: message.bosTokenId } : {}),
  };
}
