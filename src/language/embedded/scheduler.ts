import { PmpoError } from '../../core/errors.js';
import { lengthBucket, rowBucket, tokensPerBatch } from './batches.js';
import type { Decoder, PromptResult } from './decoder.js';
import type { Generation, GenerationListener, ScoredToken } from './generation.js';
import { chooseToken, logNormalizer, penalized, tokenUniform, topLogProbs } from './sampling.js';

/**
 * Continuous batching: completions of any requests share each step of the decoder, enter a slot as soon as one is free, in the
 * order asked for, and leave it when they end. Work that must not fall into a completion, such as new weights, waits in the
 * same line.
 */

export interface SchedulerOptions {
  readonly decoder: Decoder;
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** Texts of tokens, without special ones, for stop texts. */
  readonly decode: (tokens: readonly number[]) => string;
}

/** One completion. */
interface Task {
  readonly request: Request;
  readonly index: number;
  readonly tokens: number[];
}

interface Request {
  readonly generation: Generation;
  readonly listener: GenerationListener;
  /** Its prompt's log-probs were handed over. */
  promptDone: boolean;
  aborted: boolean;
}

interface Exclusive {
  readonly work: () => Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Prompts read at once; more wait for the next step, and so do those with which the batch would be larger than one of training. */
const promptsPerStep = 32;

/** Tokens of a batch of prompts as the decoder pads it. */
const batchTokens = (prompts: number, longest: number, contextLength: number) =>
  rowBucket(prompts) * lengthBucket(longest, contextLength);

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #waiting: (Task | Exclusive)[] = [];
  readonly #active: (Task | undefined)[];
  readonly #none: ReadonlySet<number> = new Set();
  #running = false;
  #closed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#active = Array(options.decoder.slots).fill(undefined);
  }

  /** Completions under way or waiting. */
  get load(): number {
    return this.#active.filter((task) => task !== undefined).length + this.#waiting.length;
  }

  /** Lines the completions up. @returns what gives them up: their listener hears nothing more. */
  submit(generation: Generation, listener: GenerationListener): () => void {
    const request: Request = { generation, listener, promptDone: false, aborted: false };
    if (this.#closed) {
      listener.fail(closedError());
      return () => {};
    }
    for (let index = 0; index < generation.completions; index++) {
      this.#waiting.push({ request, index, tokens: [] });
    }
    this.#wake();
    return () => {
      request.aborted = true;
    };
  }

  /** Runs `work` when all completions asked for before have ended, and before any asked for later begins. */
  exclusive(work: () => Promise<void>): Promise<void> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject });
      this.#wake();
    });
  }

  /** Fails what is under way or waiting. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#ended;
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    this.#ended = this.#run();
  }

  async #run(): Promise<void> {
    // Requests made in the same turn begin together.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (this.load > 0) {
        if (this.#closed) throw closedError();
        this.#dropAborted();
        await this.#admit();
        await this.#step();
      }
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      // In the same turn as the last look at what waits: whoever comes next finds it over.
      this.#running = false;
    }
  }

  #fail(error: Error): void {
    const waiting = this.#waiting.splice(0);
    const tasks = waiting.filter((item): item is Task => 'request' in item);
    const requests = new Set([...tasks, ...this.#active].map((task) => task?.request));
    this.#active.fill(undefined);
    for (const request of requests) if (request?.aborted === false) request.listener.fail(error);
    for (const item of waiting) if ('work' in item) item.reject(error);
  }

  #dropAborted(): void {
    for (const [slot, task] of this.#active.entries()) {
      if (task?.request.aborted === true) this.#active[slot] = undefined;
    }
    const kept = this.#waiting.filter((item) => 'work' in item || !item.request.aborted);
    this.#waiting.splice(0, this.#waiting.length, ...kept);
  }

  get #isIdle(): boolean {
    return this.#active.every((task) => task === undefined);
  }

  /** Exclusive work whose turn it is, then completions into free slots. */
  async #admit(): Promise<void> {
    while (this.#waiting.length > 0 && 'work' in this.#waiting[0]!) {
      if (!this.#isIdle) return;
      const { work, resolve, reject } = this.#waiting.shift() as Exclusive;
      await work().then(resolve, reject);
    }
    const free = [...this.#active.keys()].filter((slot) => this.#active[slot] === undefined);
    const admitted = new Map<Request, Task[]>();
    const { contextLength } = this.#options;
    let [count, longest] = [0, 0];
    while (count < free.length && this.#waiting.length > 0 && 'request' in this.#waiting[0]!) {
      const task = this.#waiting[0] as Task;
      if (!admitted.has(task.request)) {
        const { length } = task.request.generation.prompt;
        const isTooMuch =
          batchTokens(admitted.size + 1, Math.max(longest, length), contextLength) > tokensPerBatch;
        if (admitted.size > 0 && (admitted.size === promptsPerStep || isTooMuch)) break;
        longest = Math.max(longest, length);
      }
      admitted.set(task.request, [...(admitted.get(task.request) ?? []), task]);
      this.#waiting.shift();
      count++;
    }
    if (count === 0) return;
    try {
      await this.#begin(admitted, free);
    } catch (error) {
      // Some of these are in no slot and wait for nothing: nobody else would tell them.
      for (const request of admitted.keys()) {
        if (!request.aborted) request.listener.fail(error as Error);
        request.aborted = true;
      }
      throw error;
    }
  }

  async #begin(admitted: ReadonlyMap<Request, readonly Task[]>, free: readonly number[]): Promise<void> {
    const { decoder, contextLength } = this.#options;
    const requests = [...admitted.keys()];
    const lengths = requests.map(({ generation }) => generation.prompt.length);
    await decoder.reserve(Math.max(...lengths), this.#isIdle);
    const targets: (readonly [number, number])[] = [];
    for (const [prompt, request] of requests.entries()) {
      if (!goesOn(request.generation, contextLength)) continue;
      for (const task of admitted.get(request)!) {
        const slot = free[targets.length]!;
        this.#active[slot] = task;
        targets.push([slot, prompt]);
      }
    }
    const asked = requests.map(({ generation }) => generation.promptLogProbs ?? -1);
    const scores = asked.some((k) => k > 0) ? 'all' : asked.some((k) => k === 0) ? 'chosen' : 'none';
    const results = await decoder.prefill(
      requests.map(({ generation }) => generation.prompt),
      targets,
      scores,
    );
    for (const [i, request] of requests.entries()) {
      this.#report(request, results[i]!);
      for (const task of admitted.get(request)!) this.#extend(task, results[i]!.logits);
    }
  }

  #report(request: Request, { logProbs, promptLogits }: PromptResult): void {
    const { prompt, promptLogProbs: k } = request.generation;
    if (k === undefined || request.promptDone || request.aborted) return;
    request.promptDone = true;
    const V = this.#options.vocabularySize;
    const scores = Array.from(logProbs!, (logProb, i): ScoredToken => {
      const token = prompt[i + 1]!;
      if (k === 0) return { token, logProb };
      const row = promptLogits!.subarray(i * V, (i + 1) * V);
      return { token, logProb, top: topLogProbs(row, logNormalizer(row), k) };
    });
    request.listener.prompt?.(scores);
  }

  async #step(): Promise<void> {
    if (this.#isIdle) {
      // Between steps, so that what came in over the network is seen.
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    const { decoder, vocabularySize: V } = this.#options;
    const [tokens, positions] = [new Int32Array(decoder.slots), new Int32Array(decoder.slots)];
    for (const [slot, task] of this.#active.entries()) {
      if (task === undefined) continue;
      tokens[slot] = task.tokens.at(-1)!;
      positions[slot] = task.request.generation.prompt.length + task.tokens.length - 1;
    }
    // No sooner than it is needed: attention costs as much as there is room.
    await decoder.reserve(Math.max(...positions) + 1, false);
    const logits = await decoder.step(tokens, positions);
    for (const [slot, task] of this.#active.entries()) {
      if (task !== undefined) this.#extend(task, logits.subarray(slot * V, (slot + 1) * V), slot);
    }
  }

  /** Draws a completion's next token, tells of it, and ends the completion when it is over. */
  #extend(task: Task, logits: Float32Array, slot = this.#active.indexOf(task)): void {
    const { request, index, tokens } = task;
    const { generation, listener } = request;
    if (request.aborted) return;
    const isEarly = tokens.length < generation.minTokens;
    const forbidden = isEarly ? generation.stopTokens : this.#none;
    const uniform = tokenUniform(generation.key, index, tokens.length);
    const normalizer = logNormalizer(logits);
    if (!Number.isFinite(normalizer)) {
      request.aborted = true;
      listener.fail(
        new PmpoError({
          where: `completion ${index}, token ${tokens.length}`,
          what: 'the model gave logits that are not finite',
          remedy: 'Its weights have diverged: publish others',
        }),
      );
      return;
    }
    const shown = penalized(logits, generation, generation.prompt, tokens);
    const token = chooseToken(shown, generation, uniform, forbidden);
    tokens.push(token);
    listener.token(index, {
      token,
      logProb: logits[token]! - normalizer,
      ...(generation.topLogProbs > 0 ? { top: topLogProbs(logits, normalizer, generation.topLogProbs) } : {}),
    });
    const ending = this.#ending(generation, tokens);
    if (ending === undefined) return;
    if (slot >= 0) this.#active[slot] = undefined;
    listener.end(index, ending);
  }

  #ending(generation: Generation, tokens: readonly number[]) {
    const { prompt, maxTokens, minTokens, stopTokens, stopTexts } = generation;
    const token = tokens.at(-1)!;
    if (tokens.length > minTokens && stopTokens.has(token))
      return { reason: 'stop', stopToken: token } as const;
    if (stopTexts.length > 0 && tokens.length > minTokens) {
      const text = this.#options.decode(tokens);
      const stopText = stopTexts.find((stop) => text.includes(stop));
      if (stopText !== undefined) return { reason: 'stop', stopText } as const;
    }
    const isFull = prompt.length + tokens.length >= this.#options.contextLength;
    return tokens.length >= maxTokens || isFull ? ({ reason: 'length' } as const) : undefined;
  }
}

/** Whether a completion may be longer than one token, so that it needs a slot. */
function goesOn({ prompt, maxTokens }: Generation, contextLength: number): boolean {
  return maxTokens > 1 && prompt.length + 1 < contextLength;
}

function closedError(): PmpoError {
  return new PmpoError({ where: 'embedded model', what: 'it was closed' });
}
