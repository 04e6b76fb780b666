import { PmpoError } from '../../core/errors.js';
import { lengthBucket, rowBucket, tokensPerBatch } from './batches.js';
import type { Decoder, PromptResult } from './decoder.js';
import type { Generation, GenerationListener, ScoredToken } from './generation.js';
import { chooseToken, logNormalizer, penalized, tokenUniform, topLogProbs } from './sampling.js';

/**
 * Continuous batching: completions of all requests share the steps of the decoder. A completion enters a slot as soon as one is
 * free, in the order of the requests, and leaves it when it ends. Work that must not happen during a completion, such as
 * publishing weights, waits in the same queue.
 */

export interface SchedulerOptions {
  readonly decoder: Decoder;
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** Decodes tokens without special ones, to look for stop texts. */
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
  /** Whether the log-probs of the prompt have been reported. */
  promptDone: boolean;
  aborted: boolean;
}

interface Exclusive {
  readonly work: () => Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The maximum number of prompts processed at once. Prompts also wait if the batch would exceed `tokensPerBatch`. */
const promptsPerStep = 32;

/** The number of tokens in a batch of prompts, with the decoder's padding. */
const batchTokens = (prompts: number, longest: number, contextLength: number) =>
  rowBucket(prompts) * lengthBucket(longest, contextLength);

/** Runs requests for completions and exclusive work on a decoder. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #waiting: (Task | Exclusive)[] = [];
  readonly #active: (Task | undefined)[];
  readonly #noTokens: ReadonlySet<number> = new Set();
  #running = false;
  #closed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#active = Array(options.decoder.slots).fill(undefined);
  }

  /** The number of active and waiting completions. */
  get load(): number {
    return this.#active.filter((task) => task !== undefined).length + this.#waiting.length;
  }

  /**
   * Queues the completions of a request.
   * @returns a function that aborts them: the listener is not called any more.
   */
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

  /** Runs `work` after all completions requested before have ended, and before any requested later begins. */
  exclusive(work: () => Promise<void>): Promise<void> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject });
      this.#wake();
    });
  }

  /** Fails all active and waiting requests. */
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
    // Requests made in the same turn of the event loop begin together.
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
      // In the same turn as the last check of the queue, so that a later request starts a new run.
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

  /** Runs exclusive work at the front of the queue, then moves completions into free slots. */
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
      // Some of these requests are neither in a slot nor in the queue, so that nothing else would report the failure.
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
      if (!needsSlot(request.generation, contextLength)) continue;
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
      // Lets the event loop handle network messages before the next step.
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
    // Not earlier than needed, because the cost of attention grows with the capacity.
    await decoder.reserve(Math.max(...positions) + 1, false);
    const logits = await decoder.step(tokens, positions);
    for (const [slot, task] of this.#active.entries()) {
      if (task !== undefined) this.#extend(task, logits.subarray(slot * V, (slot + 1) * V), slot);
    }
  }

  /** Samples the next token of a completion, reports it, and ends the completion if it is finished. */
  #extend(task: Task, logits: Float32Array, slot = this.#active.indexOf(task)): void {
    const { request, index, tokens } = task;
    const { generation, listener } = request;
    if (request.aborted) return;
    const isEarly = tokens.length < generation.minTokens;
    const forbidden = isEarly ? generation.stopTokens : this.#noTokens;
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

/** Whether completions may be longer than one token, so that they need a slot. */
function needsSlot({ prompt, maxTokens }: Generation, contextLength: number): boolean {
  return maxTokens > 1 && prompt.length + 1 < contextLength;
}

function closedError(): PmpoError {
  return new PmpoError({ where: 'embedded model', what: 'it has been closed' });
}
