import type { Ending, Generation, GenerationListener, ScoredToken } from './generation.js';

/** From what the scheduler tells to Generate's answers, as vLLM words them. Letters: N completions. */

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

/** k entries at most: the token itself, then the likeliest others, as vLLM counts them. */
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

/** Of all prompt tokens: the first has no log-prob. */
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
  /** Whether log-probs of the completions' tokens were asked for. */
  readonly logProbs: boolean;
  readonly write: (answer: GenerateAnswer) => void;
  /** All is said. */
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

/** What the scheduler is to tell, and how to end what is open with `abort`. */
export function generateAnswers(options: AnswerOptions): {
  readonly listener: GenerationListener;
  readonly abort: () => void;
} {
  const { generation, stream, logProbs, write, done, fail } = options;
  const { prompt, completions } = generation;
  const tokens: ScoredToken[][] = Array.from({ length: completions }, () => []);
  const open = new Set(tokens.keys());
  let input: InputLogProbs | undefined;

  const common = (index: number, shown: readonly ScoredToken[], withInput: boolean): Common => ({
    promptTokens: prompt.length,
    completionTokens: tokens[index]!.length,
    cachedTokens: 0,
    index,
    ...(logProbs ? { outputLogprobs: outputLogProbs(shown) } : {}),
    ...(input !== undefined && withInput ? { inputLogprobs: input } : {}),
  });
  const complete = (index: number, ending: Ending | { readonly reason: 'abort' }): void => {
    open.delete(index);
    const shown = stream ? tokens[index]!.slice(-1) : tokens[index]!;
    const { stopToken, stopText } = ending as Partial<Ending>;
    write({
      complete: {
        ...common(index, shown, true),
        outputIds: shown.map(({ token }) => token),
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
