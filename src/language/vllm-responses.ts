import { ConnectionLostError, PmpoError } from '../core/errors.js';
import type {
  GenerateComplete,
  GetModelInfoResponse,
  InputLogProbs,
  OutputLogProbs,
} from '../generated/vllm.js';
import type { Completion, FinishReason, ModelInfo } from './language-model.js';
import type { Tokenizer } from './tokenizer.js';

/** What a vLLM server answers, checked: what is missing or no number is an error here, and reaches no learner. */

/** A log-prob may be above 0 by what single precision makes of it. */
const rounding = 1e-3;

function checkLogProbs(values: Float32Array, what: string, where: string): void {
  const at = values.findIndex((value) => !(value > -Infinity && value <= rounding));
  if (at < 0) return;
  throw new PmpoError({
    where,
    what: `the log-prob of token ${at} of ${what} is ${values[at]}`,
    remedy: 'Do the weights of the model hold NaN, or are they too much for the precision it is served in?',
  });
}

/** Log-probs of sampled tokens, [T], for exactly these tokens. */
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
      what: `${what} has ${tokens.length} tokens and ${tokenLogprobs.length} log-probs`,
      remedy: 'The server must report the log-probs of sampled tokens (vLLM: logprobs)',
    });
  }
  if (tokenIds.some((id, t) => id !== tokens[t])) {
    throw new PmpoError({ where, what: `the log-probs of ${what} are of other tokens than its own` });
  }
  const values = Float32Array.from(tokenLogprobs);
  checkLogProbs(values, what, where);
  return values;
}

/** Log-probs of the last T tokens of a prompt, [T]. */
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
    throw new PmpoError({ where, what: 'the server scored other tokens than those it was given' });
  }
  const scored = tokenLogprobs.slice(prompt.length);
  const values = Float32Array.from(scored, ({ value }) => value ?? Number.NaN);
  checkLogProbs(values, 'the completion to score', where);
  return values;
}

/**
 * How a completion ended.
 * @throws ConnectionLostError where its server gave it up: what there is of it is a fragment, and another may finish it;
 *   PmpoError for any other ending.
 */
export function finishReasonOf(
  { finishReason }: GenerateComplete,
  what: string,
  where: string,
): FinishReason {
  if (finishReason === 'stop' || finishReason === 'length') return finishReason;
  if (finishReason === 'abort') {
    throw new ConnectionLostError({ where, what: `the server gave up ${what} before its end (abort)` });
  }
  throw new PmpoError({
    where,
    what: `${what} ended with ${finishReason ? `'${finishReason}'` : 'no reason'}`,
    remedy: "See the server's log",
  });
}

/** Sampled tokens, [T], each of them one that the model has. */
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
    what: `${what} has the token ${wrong}, and the model only ${vocabularySize}`,
  });
}

/** Which completion a message is of. @throws PmpoError where it is of none that was asked for. */
export function indexOf(
  { index = 0 }: { readonly index?: number },
  completions: number,
  where: string,
): number {
  if (index < completions) return index;
  throw new PmpoError({
    where,
    what: `the server sends completion ${index} where ${completions} were asked for`,
  });
}

/** The text of tokens up to the stop text that ended them, where one did. */
function textBefore(stopText: string | undefined, tokens: Int32Array, tokenizer: Tokenizer): string {
  const text = tokenizer.decode(tokens);
  if (!stopText) return text;
  // It ended with its last token, in which the stop text may come more than once.
  const before = tokenizer.decode(tokens.subarray(0, -1)).length;
  const end = text.indexOf(stopText, Math.max(0, before - stopText.length + 1));
  return end < 0 ? text : text.slice(0, end);
}

/** A whole completion. */
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
      remedy: 'A completion has one token at least: its end',
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
 * What a server says of its model.
 * @throws PmpoError when it is none that completes texts, or says too little.
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
      what: `the server says that ${name} has ${vocabSize} tokens and a context of ${maxContextLength}`,
      remedy: 'A newer version of the server may tell them',
    });
  }
  return {
    name,
    vocabularySize: vocabSize,
    contextLength: maxContextLength,
    endTokens: message.eosTokenIds ?? [],
    // The wire cannot tell 0 from none.
    ...(message.bosTokenId ? { beginToken: message.bosTokenId } : {}),
  };
}
