import { delayBefore, type ReconnectSettings, type Sleep, sleepFor } from '../core/backoff.js';
import type { ChatMessage } from '../core/chat.js';
import { ConnectionLostError, PmpoError, StoppedError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { SecurityError } from '../grpc/errors.js';
import { isLocal, readToken, type TokenSource } from '../grpc/security.js';
import { ServerPool } from '../grpc/server-pool.js';

/** The address of a chat API, the model to use there, and the limits on requests. */
export interface ChatEndpointOptions {
  /** Base URL of the API: `https://judge.example/v1`. */
  readonly url: string;
  /** The model's name at the endpoint. */
  readonly model: string;
  /** The bearer token. */
  readonly token?: TokenSource;
  /** Maximum duration of one request; default: 120. */
  readonly deadlineSeconds?: number;
  /** Maximum number of requests in flight; the others wait. Default: 8. */
  readonly inFlight?: number;
  /** How requests are retried while the endpoint is busy, failing or unreachable; default: 6 attempts, 1 s doubled up to 30 s. */
  readonly reconnect?: Partial<ReconnectSettings>;
  /** The configuration key of these settings, for error messages; default: `judge`. */
  readonly configKey?: string;
}

/** Side effects of the client, which tests replace. */
export interface ChatEndpointEffects {
  readonly fetch?: typeof fetch;
  readonly sleep?: Sleep;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Shows the user that the client has begun to retry. */
  readonly notice?: (message: string) => void;
}

/** How one answer is generated; the endpoint chooses what is omitted. */
export interface ChatSettings {
  /** Maximum length of the answer, in tokens. */
  readonly maxTokens?: number;
  /** 0 takes the most likely token at each step. */
  readonly temperature?: number;
  readonly seed?: number;
  /** Aborting it stops the request. */
  readonly signal?: AbortSignal;
}

export const chatEndpointDefaults = {
  deadlineSeconds: 120,
  inFlight: 8,
  reconnect: { attempts: 6, initialDelaySeconds: 1, maxDelaySeconds: 30 },
} as const;

/** A server that asks for a longer delay than this counts as unavailable. */
const longestRetryAfterMs = 300_000;

const retryableStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);

interface ChatResponse {
  readonly choices?: readonly { readonly message?: { readonly content?: unknown } }[];
  readonly error?: { readonly message?: unknown } | string;
  readonly detail?: unknown;
}

/**
 * A chat model behind an OpenAI-compatible HTTP endpoint (`POST …/chat/completions`), for example a judge: text in, text out.
 * Requests are retried while the endpoint is busy or failing, after the delay that it asks for (Retry-After).
 */
export class ChatEndpoint {
  readonly #options: ChatEndpointOptions;
  readonly #target: string;
  readonly #effects: Required<ChatEndpointEffects>;
  readonly #deadlineSeconds: number;
  readonly #reconnect: ReconnectSettings;
  readonly #configKey: string;
  readonly #pool: ServerPool<undefined>;
  /** Whether the user has been told of the retries since the last answer. */
  #hasNotified = false;

  /** @throws PmpoError if `url` is not an HTTP URL; SecurityError if a token would be sent over the network unencrypted. */
  constructor(options: ChatEndpointOptions, effects: ChatEndpointEffects = {}) {
    this.#options = options;
    this.#configKey = options.configKey ?? 'judge';
    const where = `${this.#configKey}.url`;
    const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
      throw new PmpoError({
        where,
        what: `${url === undefined ? `'${options.url}'` : url.host} is not the URL of an HTTP endpoint`,
        remedy: 'Give a URL such as https://judge.example/v1, without user name or password',
      });
    }
    if (options.token !== undefined && url.protocol === 'http:' && !isLocal(`${url.host}:`)) {
      throw new SecurityError({
        where: `${this.#configKey}.token`,
        what: `it would be sent to ${url.host} unencrypted`,
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
      // #send retries, because the endpoint says when (Retry-After).
      reconnect: { attempts: 0, initialDelaySeconds: 0, maxDelaySeconds: 0 },
      peer: { configKey: this.#configKey, protocol: 'HTTP', server: 'an HTTP endpoint' },
      open: async () => undefined,
      close: () => {},
      probe: async () => {},
    });
  }

  /**
   * The model's answer to a chat, or to a text as the only user message.
   * @throws ConnectionLostError if the endpoint stays busy or unreachable; SecurityError if it rejects the token; PmpoError if it
   *   refuses the request, its answer has no text, or the deadline passes.
   */
  complete(chat: string | readonly ChatMessage[], settings: ChatSettings = {}): Promise<string> {
    const { maxTokens, temperature, seed, signal } = settings;
    const messages = typeof chat === 'string' ? [{ role: 'user', content: chat }] : chat;
    const { model } = this.#options;
    const body = JSON.stringify({ model, messages, max_tokens: maxTokens, temperature, seed });
    return this.#pool.run((_server, stop) => this.#send(body, stop), signal);
  }

  async #send(body: string, signal: AbortSignal): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const defaultDelay = delayBefore(attempt, this.#reconnect);
      let delay = defaultDelay;
      let [what, isReachable] = ['', true];
      try {
        const response = await this.#post(body, signal);
        const text = await response.text();
        if (response.ok) {
          this.#hasNotified = false;
          return this.#textOf(text);
        }
        what = `the endpoint answers ${response.status}${serverMessage(text)}`;
        if (!retryableStatuses.has(response.status)) throw this.#refused(response.status, what);
        delay = retryAfter(response.headers.get('retry-after'), this.#effects.now()) ?? defaultDelay;
      } catch (error) {
        if (error instanceof PmpoError) throw error;
        if (signal.aborted) throw new StoppedError({ where: this.#target, what: 'the request was stopped' });
        if ((error as Error).name === 'TimeoutError') {
          throw new PmpoError({
            where: this.#target,
            what: `no answer within ${this.#deadlineSeconds} s`,
            remedy: `Raise ${this.#configKey}.deadlineSeconds, or lower maxTokens`,
          });
        }
        const cause = (error as Error).cause;
        const reason =
          cause instanceof Error && cause.message !== '' ? cause.message : (error as Error).message;
        isReachable = false;
        what = `the endpoint cannot be reached: ${reason}`;
        // fetch() never connects to these ports, so retrying would not help.
        if (reason === 'bad port') {
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
          remedy: isReachable
            ? `Lower ${this.#configKey}.inFlight, or raise ${this.#configKey}.reconnect.attempts`
            : `Check that it is running and that ${this.#configKey}.url is right, or raise ${this.#configKey}.reconnect.attempts`,
        });
      }
      if (!this.#hasNotified) this.#effects.notice(`${this.#target}: ${what}. Retrying …`);
      this.#hasNotified = true;
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
      // The token must not follow a redirect to another server.
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

  #textOf(text: string): string {
    const content = parsed(text)?.choices?.[0]?.message?.content;
    if (typeof content === 'string') return content;
    throw new PmpoError({
      where: this.#target,
      what: `the answer has no text at choices[0].message.content: ${excerpt(text)}`,
      remedy: 'The endpoint must be OpenAI-compatible',
    });
  }

  /** Stops all waiting and running requests. */
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
  const line = text.slice(0, 10_000).replace(/\s+/g, ' ').trim();
  return foreignText(line, 200) || 'nothing';
};

/** The message in the body of an error response. */
function serverMessage(text: string): string {
  const { error, detail } = parsed(text) ?? {};
  const message = typeof error === 'string' ? error : (error?.message ?? detail);
  if (typeof message === 'string') return `: ${excerpt(message)}`;
  return text.trim() === '' ? '' : `: ${excerpt(text)}`;
}

/** The delay of a Retry-After header (seconds or a date), in milliseconds. */
function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const delay = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isFinite(delay) ? Math.max(0, delay) : undefined;
}
