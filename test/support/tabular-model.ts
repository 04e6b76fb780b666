import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fillUniform, foldIn, randomKey } from '../../src/core/random-keys.js';
import type { Completion, LanguageModel, SampleRequest } from '../../src/language/language-model.js';
import type {
  ScoreParts,
  SequenceCoefficients,
  SequenceScore,
  TokenSequence,
  TrainableModel,
} from '../../src/language/trainable-model.js';

/**
 * A minimal language model for tests of learners: the token at position t is drawn from softmax(logits[t]), whatever the tokens
 * before it, so that gradients are known in closed form. Token 0 ends a completion; tokens 1, 2, 3, … are the letters a, b, c, ….
 */

type Logits = Float64Array[];

const letters = (tokens: ArrayLike<number>) =>
  Array.from(tokens, (token) => (token === 0 ? '' : String.fromCharCode(96 + token))).join('');

function logSoftmax(logits: Float64Array): Float64Array {
  const top = Math.max(...logits);
  const norm = top + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0));
  return logits.map((x) => x - norm);
}

function divergence(p: Float64Array, q: Float64Array): number {
  return p.reduce((sum, x, i) => sum + Math.exp(x) * (x - q[i]!), 0);
}

export class TabularModel implements TrainableModel {
  readonly sampler: LanguageModel;
  /** The names of all calls, in order. */
  readonly calls: string[] = [];
  /** Called at each request for completions with the number of requests so far. */
  onSample: (count: number) => void = () => {};
  policy: Logits;
  reference: Logits;
  #published: Logits;
  #gradient: Logits;
  #steps = 0;

  constructor({ positions, vocabulary }: { positions: number; vocabulary: number }) {
    const zeros = () => Array.from({ length: positions }, () => new Float64Array(vocabulary));
    [this.policy, this.reference, this.#published, this.#gradient] = [zeros(), zeros(), zeros(), zeros()];
    this.sampler = {
      info: { name: 'tabular', vocabularySize: vocabulary, contextLength: positions + 1, endTokens: [0] },
      tokenizer: {
        vocabularySize: vocabulary,
        vocabularyHash: 'none',
        specialTokens: [],
        hasChatTemplate: false,
        encode: (text) => Int32Array.from(text, (letter) => letter.charCodeAt(0) - 96),
        decode: letters,
        encodeChat: () => {
          throw new Error('not needed');
        },
      },
      sample: (request) => this.#sample(request),
      stream: () => {
        throw new Error('not needed');
      },
      score: async () => {
        throw new Error('not needed');
      },
      close: async () => {},
    };
  }

  get info() {
    const [positions, vocabulary] = [this.policy.length, this.policy[0]!.length];
    return {
      name: 'tabular',
      vocabularySize: vocabulary,
      contextLength: positions + 1,
      vocabularyHash: 'none',
      trainableParameters: positions * vocabulary,
      steps: this.#steps,
    };
  }

  async #sample({ completions, seed = 0, maxTokens, signal }: SampleRequest): Promise<Completion[]> {
    this.calls.push('sample');
    this.onSample(this.calls.filter((call) => call === 'sample').length);
    if (signal?.aborted) throw new Error('the request was stopped');
    const weights = this.#published.map(logSoftmax);
    const drawn: Completion[] = [];
    for (let n = 0; n < completions; n++) {
      const uniform = fillUniform(foldIn(randomKey(seed), n), new Float32Array(maxTokens));
      const [tokens, logProbs]: [number[], number[]] = [[], []];
      for (let t = 0; t < maxTokens && tokens.at(-1) !== 0; t++) {
        let [token, mass] = [0, Math.exp(weights[t]![0]!)];
        while (uniform[t]! > mass && token < weights[t]!.length - 1) mass += Math.exp(weights[t]![++token]!);
        tokens.push(token);
        logProbs.push(weights[t]![token]!);
      }
      drawn.push({
        tokens: Int32Array.from(tokens),
        text: letters(tokens),
        logProbs: Float32Array.from(logProbs),
        finishReason: tokens.at(-1) === 0 ? 'stop' : 'length',
      });
    }
    return drawn;
  }

  async score(sequences: readonly TokenSequence[], what: ScoreParts): Promise<SequenceScore[]> {
    this.calls.push('score');
    const [policy, reference] = [this.policy.map(logSoftmax), this.reference.map(logSoftmax)];
    return sequences.map(({ completion }) => {
      const each = (value: (token: number, t: number) => number) =>
        Float32Array.from(completion, (token, t) => value(token, t));
      return {
        ...(what.policy ? { logProb: each((token, t) => policy[t]![token]!) } : {}),
        ...(what.reference ? { referenceLogProb: each((token, t) => reference[t]![token]!) } : {}),
        ...(what.kl ? { kl: each((_, t) => divergence(reference[t]!, policy[t]!)) } : {}),
        ...(what.reverseKl ? { reverseKl: each((_, t) => divergence(policy[t]!, reference[t]!)) } : {}),
      };
    });
  }

  async forwardBackward(
    sequences: readonly TokenSequence[],
    coefficients: readonly SequenceCoefficients[],
  ): Promise<SequenceScore[]> {
    // A coefficient that is given is computed, even if it is 0.
    this.calls.push(coefficients.some((of) => 'kl' in of) ? 'forwardBackward with KL' : 'forwardBackward');
    const [policy, reference] = [this.policy.map(logSoftmax), this.reference.map(logSoftmax)];
    sequences.forEach(({ completion }, s) => {
      completion.forEach((token, t) => {
        const at = (coefficient: number | Float32Array = 0) =>
          typeof coefficient === 'number' ? coefficient : coefficient[t]!;
        const logProb = at(coefficients[s].logProb);
        const kl = at(coefficients[s].kl);
        const reverseKl = at(coefficients[s].reverseKl);
        const row = this.#gradient[t]!;
        const reverse = divergence(policy[t]!, reference[t]!);
        for (let v = 0; v < row.length; v++) {
          const probability = Math.exp(policy[t]![v]!);
          row[v]! += logProb * ((v === token ? 1 : 0) - probability);
          row[v]! += kl * (probability - Math.exp(reference[t]![v]!));
          row[v]! += reverseKl * probability * (policy[t]![v]! - reference[t]![v]! - reverse);
        }
      });
    });
    return this.score(sequences, { policy: true });
  }

  /** Plain gradient descent, whose result a test can compute. */
  async optimStep({ learningRate }: { readonly learningRate: number }) {
    this.calls.push('optimStep');
    const gradientNorm = Math.hypot(...this.#gradient.flatMap((row) => [...row]));
    this.#gradient.forEach((row, t) => {
      row.forEach((value, v) => {
        this.policy[t]![v]! -= learningRate * value;
      });
      row.fill(0);
    });
    this.#steps += 1;
    return { gradientNorm };
  }

  async copyReference(): Promise<void> {
    this.calls.push('copyReference');
    this.reference = this.policy.map((row) => row.slice());
  }

  async publish(which: 'reference' | 'policy'): Promise<void> {
    this.calls.push(`publish ${which}`);
    this.#published = this[which].map((row) => row.slice());
  }

  async exportPolicy(): Promise<void> {}

  async save(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    const rows = (logits: Logits) => logits.map((row) => [...row]);
    const all = { policy: rows(this.policy), reference: rows(this.reference), steps: this.#steps };
    await writeFile(join(folder, 'tabular.json'), JSON.stringify(all));
  }

  async load(folder: string): Promise<void> {
    const all = JSON.parse(await readFile(join(folder, 'tabular.json'), 'utf8'));
    this.policy = all.policy.map((row: number[]) => Float64Array.from(row));
    this.reference = all.reference.map((row: number[]) => Float64Array.from(row));
    this.#steps = all.steps;
  }

  async reset(): Promise<void> {
    this.calls.push('reset');
    const zeros = () => this.policy.map((row) => new Float64Array(row.length));
    [this.policy, this.reference, this.#published, this.#gradient] = [zeros(), zeros(), zeros(), zeros()];
    this.#steps = 0;
  }

  async close(): Promise<void> {}
}
