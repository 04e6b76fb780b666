import type { Ending, Generation, GenerationListener, ScoredToken } from './generation.js';

/** Writes the results of the scheduler as Generate's responses, in the form of vLLM's. */

interface TopLogProbs {
  readonly values: readonly number[];
  readonly tokenIds: readonly number[];
}

interface OutputLogProbs {
  readonly tokenLogprobs: readonly number[];
  readonly tokenIds: readonly number[];
  readonly topLogprobs: readonly TopLogProbs[];
}

interface InputLogProbs {
  readonly tokenLogprobs: readonly { readonly value?: number }[];
  readonly tokenIds: readonly number[];
  readonly topLogprobs: readonly TopLogProbs[];
}

interface Common {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly outputLogprobs?: OutputLogProbs;
  readonly inputLogprobs?: InputLogProbs;
  readonly index: number;
}

export interface GenerateAnswer {
  readonly chunk?: Common & { readonly tokenIds: readonly number[] };
  readonly complete?: Common & {
    readonly outputIds: readonly number[];
    readonly finishReason: 'stop' | 'length' | 'abort';
    readonly matchedTokenId?: number;
    readonly matchedStopStr?: string;
  };
}

/** At most k entries, as vLLM counts them: the token itself, then the most likely other tokens. */
function topOf({ token, logProb, top }: ScoredToken): TopLogProbs {
  if (top === undefined) return { values: [], tokenIds: [] };
  const others = top.tokens.map((id, i) => [id, top.values[i]!] as const).filter(([id]) => id !== token);
  const kept = [[token, logProb] as const, ...others].slice(0, top.tokens.length);
  return { tokenIds: kept.map(([id]) => id), values: kept.map(([, value]) => value) };
}

function outputLogProbs(tokens: readonly ScoredToken[]): OutputLogProbs {
  return {
    tokenLogprobs: tokens.map(({ logProb }) => logProb),
    tokenIds: tokens.map(({ token }) => token),
    topLogprobs: tokens.map(topOf),
  };
}

/** The log-probs of all prompt tokens; the first token has none. */
function inputLogProbs(first: number, scores: readonly ScoredToken[]): InputLogProbs {
  return {
    tokenLogprobs: [{}, ...scores.map(({ logProb }) => ({ value: logProb }))],
    tokenIds: [first, ...scores.map(({ token }) => token)],
    topLogprobs: [{ values: [], tokenIds: [] }, ...scores.map(topOf)],
  };
}

export interface AnswerOptions {
  readonly generation: Generation;
  readonly stream: boolean;
  /** Whether the request asks for the log-probs of the completions' tokens. */
  readonly logProbs: boolean;
  readonly write: (answer: GenerateAnswer) => void;
  /** Called after the last message. */
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

/** @returns the listener for the scheduler, and a function that ends all open completions with `abort`. */
export function generateAnswers(options: AnswerOptions): {
  readonly listener: GenerationListener;
  readonly abort: () => void;
} {
  const { generation, stream, logProbs, write, done, fail } = options;
  const { prompt, completions } = generation;
  const tokens: ScoredToken[][] = Array.from({ length: completions }, () => []);
  const open = new Set(tokens.keys());
  let input: InputLogProbs | undefined;

  const common = (index: number, reported: readonly ScoredToken[], withInput: boolean): Common => ({
    promptTokens: prompt.length,
    completionTokens: tokens[index]!.length,
    cachedTokens: 0,
    index,
    ...(logProbs ? { outputLogprobs: outputLogProbs(reported) } : {}),
    ...(input !== undefined && withInput ? { inputLogprobs: input } : {}),
  });
  const complete = (index: number, ending: Ending | { readonly reason: 'abort' }): void => {
    open.delete(index);
    const reported = stream ? tokens[index]!.slice(-1) : tokens[index]!;
    const { stopToken, stopText } = ending as Partial<Ending>;
    write({
      complete: {
        ...common(index, reported, true),
        outputIds: reported.map(({ token }) => token),
        finishReason: ending.reason,
        ...(stopToken === undefined ? {} : { matchedTokenId: stopToken }),
        ...(stopText === undefined ? {} : { matchedStopStr: stopText }),
      },
    });
    if (open.size === 0) done();
  };
  return {
    listener: {
      prompt: (scores) => {
        input = inputLogProbs(prompt[0]!, scores);
      },
      token: (index, token) => {
        tokens[index]!.push(token);
        if (!stream) return;
        const isFirst = tokens[index]!.length === 1;
        write({ chunk: { ...common(index, [token], isFirst), tokenIds: [token.token] } });
      },
      end: complete,
      fail,
    },
    abort: () => {
      for (const index of open) complete(index, { reason: 'abort' });
    },
  };
}
