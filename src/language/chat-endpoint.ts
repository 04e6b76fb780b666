import { delayBefore, type ReconnectSettings, type Sleep, sleepFor } from '../core/backoff.js';
import type { ChatMessage } from '../core/chat.js';
import { ConnectionLostError, PmpoError } from '../core/errors.js';
import { StoppedError } from '../grpc/call.js';
import { SecurityError } from '../grpc/errors.js';
import { isLocal, readToken, type TokenSource } from '../grpc/security.js';
import { ServerPool } from '../grpc/server-pool.js';

export interface ChatEndpointOptions {
  /** Where the interface begins: `https://judge.example/v1`. */
  readonly url: string;
  /** The model's name there. */
  readonly model: string;
  readonly token?: TokenSource;
  /** How long one request may take. */
  readonly deadlineSeconds?: number;
  /** Most requests under way; the others wait their turn. */
  readonly inFlight?: number;
  /** What happens when the endpoint is busy, broken or not there. */
  readonly reconnect?: Partial<ReconnectSettings>;
  /** Where these settings stand in the configuration, for messages; default: `judge`. */
  readonly configKey?: string;
}

/** What the world outside is reached by, for tests to stand in for. */
export interface ChatEndpointEffects {
  readonly fetch?: typeof fetch;
  readonly sleep?: Sleep;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Told when requests begin to be made again. */
  readonly notice?: (message: string) => void;
}

export interface ChatSettings {
  readonly maxTokens?: number;
  /** 0 takes the likeliest token at each step. */
  readonly temperature?: number;
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

export const chatEndpointDefaults = {
  deadlineSeconds: 120,
  inFlight: 8,
  reconnect: { attempts: 6, initialDelaySeconds: 1, maxDelaySeconds: 30 },
} as const;

/** A server that asks for more patience than this is taken for one that does not answer. */
const longestRetryAfterMs = 300_000;

const busyOrBroken = new Set([408, 425, 429, 500, 502, 503, 504]);

interface ChatResponse {
  readonly choices?: readonly { readonly message?: { readonly content?: unknown } }[];
  readonly error?: { readonly message?: unknown } | string;
  readonly detail?: unknown;
}

/**
 * A chat model behind an HTTP endpoint of OpenAI's form (`POST …/chat/completions`), as a judge: a text in, a text out. What is busy
 * or broken is asked again, after as long as it says (Retry-After).
 */
export class ChatEndpoint {
  readonly #options: ChatEndpointOptions;
  readonly #target: string;
  readonly #effects: Required<ChatEndpointEffects>;
  readonly #deadlineSeconds: number;
  readonly #reconnect: ReconnectSettings;
  readonly #configKey: string;
  readonly #pool: ServerPool<undefined>;
  /** Whether that it does not answer has been told, since it last did. */
  #isWaitedFor = false;

  /** @throws PmpoError for an address that is none; SecurityError when a token would go over the network in the clear. */
  constructor(options: ChatEndpointOptions, effects: ChatEndpointEffects = {}) {
    this.#options = options;
    this.#configKey = options.configKey ?? 'judge';
    const where = `${this.#configKey}.url`;
    const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
      throw new PmpoError({
        where,
        what: `${url === undefined ? `'${options.url}'` : url.host} is no address of an HTTP endpoint`,
        remedy: 'Give one like https://judge.example/v1, without a name or a password in it',
      });
    }
    if (options.token !== undefined && url.protocol === 'http:' && !isLocal(`${url.host}:`)) {
      throw new SecurityError({
        where: `${this.#configKey}.token`,
        what: `it would go to ${url.host} in the clear`,
        remedy: 'Use https',
      });
    }
    const base = url.href.replace(/\/+$/, '');
    this.#target = base.endsWith('/chat/completions') ? base : `${base}/chat/completions`;
    this.#effects = { fetch: globalThis.fetch, sleep: sleepFor, now: Date.now, notice: () => {}, ...effects };
    this.#deadlineSeconds = options.deadlineSeconds ?? chatEndpointDefaults.deadlineSeconds;
    this.#reconnect = { ...chatEndpointDefaults.reconnect, ...options.reconnect };
    this.#pool = new ServerPool<undefined>({
      addresses: [base],
      inFlight: options.inFlight ?? chatEndpointDefaults.inFlight,
      // What is to be tried again is decided here, with the endpoint's own word for when.
      reconnect: { attempts: 0, initialDelaySeconds: 0, maxDelaySeconds: 0 },
      peer: { configKey: this.#configKey, protocol: 'HTTP', server: 'an HTTP endpoint' },
      open: async () => undefined,
      close: () => {},
      probe: async () => {},
    });
  }

  /**
   * The model's answer to a chat, or to a prompt as its only message.
   * @throws ConnectionLostError when the endpoint stays busy or away; SecurityError when it does not take the token; PmpoError when it
   *   refuses, its answer is no text, or the deadline passes.
   */
  complete(chat: string | readonly ChatMessage[], settings: ChatSettings = {}): Promise<string> {
    const { maxTokens, temperature, seed, signal } = settings;
    const messages = typeof chat === 'string' ? [{ role: 'user', content: chat }] : chat;
    const { model } = this.#options;
    const body = JSON.stringify({ model, messages, max_tokens: maxTokens, temperature, seed });
    return this.#pool.run((_server, stop) => this.#ask(body, stop), signal);
  }

  async #ask(body: string, signal: AbortSignal): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const usual = delayBefore(attempt, this.#reconnect);
      let delay = usual;
      let [what, isThere] = ['', true];
      try {
        const response = await this.#post(body, signal);
        const text = await response.text();
        if (response.ok) {
          this.#isWaitedFor = false;
          return this.#answer(text);
        }
        what = `the endpoint answers ${response.status}${wordsOf(text)}`;
        if (!busyOrBroken.has(response.status)) throw this.#refused(response.status, what);
        delay = retryAfter(response.headers.get('retry-after'), this.#effects.now()) ?? usual;
      } catch (error) {
        if (error instanceof PmpoError) throw error;
        if (signal.aborted) throw new StoppedError({ where: this.#target, what: 'the request was stopped' });
        if ((error as Error).name === 'TimeoutError') {
          throw new PmpoError({
            where: this.#target,
            what: `no answer within ${this.#deadlineSeconds} s`,
            remedy: `Raise ${this.#configKey}.deadlineSeconds, or ask for fewer tokens`,
          });
        }
        const cause = (error as Error).cause;
        const words =
          cause instanceof Error && cause.message !== '' ? cause.message : (error as Error).message;
        isThere = false;
        what = `the endpoint cannot be reached: ${words}`;
        // Ports that no browser would ask either; no waiting changes that.
        if (words === 'bad port') {
          throw new PmpoError({
            where: this.#target,
            what,
            remedy: `Give another port in ${this.#configKey}.url`,
          });
        }
      }
      if (attempt >= this.#reconnect.attempts || delay > longestRetryAfterMs) {
        throw new ConnectionLostError({
          where: this.#target,
          what: `${what} (${attempt + 1} attempts)`,
          remedy: isThere
            ? `Ask less at once with ${this.#configKey}.inFlight, or raise ${this.#configKey}.reconnect.attempts`
            : `Is it running there? Correct ${this.#configKey}.url, or raise ${this.#configKey}.reconnect.attempts`,
        });
      }
      if (!this.#isWaitedFor) this.#effects.notice(`${this.#target}: ${what}. Asking again …`);
      this.#isWaitedFor = true;
      await this.#effects.sleep(delay, signal);
      if (signal.aborted) throw new StoppedError({ where: this.#target, what: 'the request was stopped' });
    }
  }

  async #post(body: string, signal: AbortSignal): Promise<Response> {
    const { token } = this.#options;
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (token !== undefined) {
      headers.authorization = `Bearer ${await readToken(token, `${this.#configKey}.token`)}`;
    }
    return this.#effects.fetch(this.#target, {
      method: 'POST',
      headers,
      body,
      // A token must not follow to where it was not meant for.
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(this.#deadlineSeconds * 1000)]),
    });
  }

  #refused(status: number, what: string): PmpoError {
    const where = this.#target;
    if (status === 401 || status === 403) {
      const remedy = `Give the right token as ${this.#configKey}.token: {file} or {environmentVariable}`;
      return new SecurityError({ where, what, remedy });
    }
    const remedy = status === 404 ? `Correct ${this.#configKey}.url or ${this.#configKey}.model` : undefined;
    return new PmpoError({ where, what, remedy });
  }

  #answer(text: string): string {
    const content = parsed(text)?.choices?.[0]?.message?.content;
    if (typeof content === 'string') return content;
    throw new PmpoError({
      where: this.#target,
      what: `the answer holds no text at choices[0].message.content: ${excerpt(text)}`,
      remedy: "It must be one of OpenAI's form",
    });
  }

  /** Ends everything that waits or is under way. */
  async close(): Promise<void> {
    this.#pool.close();
  }
}

function parsed(text: string): ChatResponse | undefined {
  try {
    return JSON.parse(text) as ChatResponse;
  } catch {
    return undefined;
  }
}

const excerpt = (text: string) => {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 200)} …` : line || 'nothing';
};

/** What an answer that is an error says. */
function wordsOf(text: string): string {
  const { error, detail } = parsed(text) ?? {};
  const message = typeof error === 'string' ? error : (error?.message ?? detail);
  if (typeof message === 'string') return `: ${excerpt(message)}`;
  return text.trim() === '' ? '' : `: ${excerpt(text)}`;
}

/** Milliseconds that a Retry-After header asks for: seconds, or a date. */
function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const delay = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(delay) ? Math.max(0, delay) : undefined;
}
