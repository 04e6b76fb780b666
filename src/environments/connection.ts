import * as grpc from '@grpc/grpc-js';
import { PmpoError } from '../errors.js';
import { connectionDefaults } from './connection-defaults.js';
import { diagnose } from './diagnose.js';
import { ConnectionLostError, DmEnvRpcError, statusCode } from './errors.js';
import { type ChannelSecurity, loadSecurity, SecurityError, type SecuritySettings } from './security.js';
import {
  decodeResponse,
  encodeRequest,
  rawEnvironmentService,
  type WireRequest,
  type WireResponse,
} from './wire.js';

type Stream = grpc.ClientDuplexStream<Uint8Array, Uint8Array>;
type RequestName = keyof WireRequest & keyof WireResponse;

export interface ConnectionOptions extends SecuritySettings {
  /** host:port */
  readonly address: string;
  /** How long one call may take. */
  readonly deadlineSeconds: number;
  /** Time between two signs of life on a connection that is silent. */
  readonly keepaliveSeconds?: number;
  /** Larger messages, either way, are an error. */
  readonly maxMessageMegabytes?: number;
  /** Aborted while connecting: nobody waits for the connection any more. */
  readonly signal?: AbortSignal;
}

/** A closer look at a connection that failed may take this long. */
const diagnosisMs = 3000;

interface Waiting {
  readonly name: RequestName;
  readonly receive: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const EnvironmentClient = grpc.makeGenericClientConstructor(rawEnvironmentService, 'Environment');

/** What each request is called in messages. */
const words: Record<RequestName, string> = {
  createWorld: 'CreateWorld',
  joinWorld: 'JoinWorld',
  step: 'Step',
  reset: 'Reset',
  resetWorld: 'ResetWorld',
  leaveWorld: 'LeaveWorld',
  destroyWorld: 'DestroyWorld',
  extension: 'an extension request',
};

/**
 * One stream to a dm_env_rpc server, on a connection of its own: requests go out at once, and answers come back in their
 * order. When the stream breaks, or a call passes its deadline (after which answers could no longer be told apart), the
 * connection is lost for good: everything waiting, and everything after, fails with ConnectionLostError.
 */
export class DmEnvRpcConnection {
  readonly address: string;
  readonly #client: grpc.Client;
  readonly #stream: Stream;
  readonly #deadline: number;
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lost: PmpoError | undefined;
  #closed = false;

  private constructor(
    client: grpc.Client,
    { address, deadlineSeconds }: ConnectionOptions,
    { metadata }: ChannelSecurity,
  ) {
    this.address = address;
    this.#client = client;
    this.#deadline = deadlineSeconds * 1000;
    this.#stream = (client as unknown as { Process(metadata: grpc.Metadata): Stream }).Process(metadata);
    this.#stream.on('data', (response: Uint8Array) => this.#receive(response));
    this.#stream.on('error', (error: grpc.ServiceError) => {
      this.#fail(
        refusal(address, error) ??
          this.#loss(`the connection was lost: ${error.details || error.message}`, error),
      );
    });
    this.#stream.on('end', () => this.#fail(this.#loss('the server ended the stream')));
  }

  /**
   * Connects.
   * @throws ConnectionLostError when nobody listens there within the deadline; PmpoError when trying again cannot help:
   *   certificates or tokens that are wrong, and servers that speak something else.
   */
  static async open(options: ConnectionOptions): Promise<DmEnvRpcConnection> {
    const { address, keepaliveSeconds, maxMessageMegabytes } = { ...connectionDefaults, ...options };
    const security = await loadSecurity(options, address);
    const largest = maxMessageMegabytes * 2 ** 20;
    const client = new EnvironmentClient(address, security.credentials, {
      // Streams that share an HTTP/2 connection wait for each other.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': largest,
      'grpc.max_send_message_length': largest,
      'grpc.keepalive_time_ms': keepaliveSeconds * 1000,
      'grpc.keepalive_timeout_ms': options.deadlineSeconds * 1000,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      ...security.options,
    });
    try {
      await connected(client, options, security);
    } catch (error) {
      client.close();
      throw error;
    }
    return new DmEnvRpcConnection(client, options, security);
  }

  /**
   * Sends one request and waits for its answer.
   * @throws DmEnvRpcError for an error that the server answers with, ConnectionLostError when no answer comes.
   */
  send<K extends RequestName>(
    name: K,
    payload: NonNullable<WireRequest[K]>,
  ): Promise<NonNullable<WireResponse[K]>> {
    return this.#exchange(name, encodeRequest({ [name]: payload }), (bytes) => this.#answer(name, bytes));
  }

  /**
   * The same for a step, whose answer `read` may read in a way of its own; where it returns undefined, it is read as
   * `send` does.
   */
  step<T>(
    payload: NonNullable<WireRequest['step']>,
    read: (bytes: Uint8Array) => T | undefined,
  ): Promise<T | NonNullable<WireResponse['step']>> {
    return this.#exchange(
      'step',
      encodeRequest({ step: payload }),
      (bytes) => read(bytes) ?? this.#answer('step', bytes),
    );
  }

  #exchange<T>(name: RequestName, request: Uint8Array, answer: (bytes: Uint8Array) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) {
        reject(this.#lost);
        return;
      }
      const receive = (bytes: Uint8Array) => {
        try {
          resolve(answer(bytes));
        } catch (error) {
          reject(error);
        }
      };
      this.#waiting.push({ name, receive, reject });
      if (this.#waiting.length === 1) this.#watch();
      this.#stream.write(request);
    });
  }

  /** What a response says to a request. */
  #answer<K extends RequestName>(name: K, bytes: Uint8Array): NonNullable<WireResponse[K]> {
    let response: WireResponse;
    try {
      response = decodeResponse(bytes);
    } catch (cause) {
      throw this.#fail(notDmEnvRpc(this.address, (cause as Error).message));
    }
    const answer = response[name];
    if (answer !== undefined && answer !== null) return answer as NonNullable<WireResponse[K]>;
    if (response.error) {
      const { code = 2, message = '' } = response.error;
      throw new DmEnvRpcError(this.address, words[name], code, message);
    }
    const kinds = Object.keys(response).join(', ') || 'nothing';
    throw this.#fail(this.#loss(`the answer to ${words[name]} is of another kind: ${kinds}`));
  }

  #watch(): void {
    clearTimeout(this.#timer);
    const oldest = this.#waiting[0];
    if (oldest === undefined) return;
    this.#timer = setTimeout(() => {
      this.#fail(this.#loss(`no answer to ${words[oldest.name]} within ${this.#deadline / 1000} s`));
    }, this.#deadline);
  }

  #receive(response: Uint8Array): void {
    const oldest = this.#waiting.shift();
    this.#watch();
    oldest?.receive(response);
  }

  #loss(what: string, cause?: unknown): ConnectionLostError {
    const remedy = this.#closed ? undefined : 'Is the server still running there?';
    return new ConnectionLostError({ where: this.address, what, remedy, cause });
  }

  /** The connection is over, for this reason or an earlier one. */
  #fail(error: PmpoError): PmpoError {
    if (this.#lost !== undefined) return this.#lost;
    this.#lost = error;
    clearTimeout(this.#timer);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#stream.cancel();
    this.#client.close();
    return error;
  }

  /** Ends the stream. Whatever is waiting fails. */
  close(): void {
    this.#closed = true;
    this.#fail(this.#loss('the connection was closed'));
  }
}

function notDmEnvRpc(where: string, cause: string): PmpoError {
  return new PmpoError({
    where,
    what: `what the server sends is not dm_env_rpc v1: ${cause}`,
    remedy: 'Give the address of a dm_env_rpc server',
  });
}

/** A status with which a stream ends and that another attempt would meet again; undefined for any other. */
function refusal(address: string, { code, details }: grpc.ServiceError): PmpoError | undefined {
  const where = address;
  switch (code) {
    case statusCode('UNAUTHENTICATED'):
      return new SecurityError({
        where,
        what: `the server wants to know who asks: ${details}`,
        remedy: 'Give the right token as environment.token: {file} or {environmentVariable}',
      });
    case statusCode('PERMISSION_DENIED'):
      return new SecurityError({ where, what: `the server does not allow this: ${details}` });
    case statusCode('UNIMPLEMENTED'):
      return new PmpoError({
        where,
        what: `the server does not speak dm_env_rpc v1 (${details})`,
        remedy: 'Give the address of a dm_env_rpc server',
      });
    case statusCode('RESOURCE_EXHAUSTED'):
      // The same status says that a server has too much to do, which passes.
      if (!/message.*(larger|size)/i.test(details)) return undefined;
      return new PmpoError({
        where,
        what: `a message is over the limit: ${details}`,
        remedy: 'Raise environment.maxMessageMegabytes, or ask for less with environment.observations',
      });
    default:
      return undefined;
  }
}

/**
 * Resolves when the connection stands. A refusal is an error at once: whether and when to try again is the caller's to
 * say; silence is one at the deadline. What is wrong for good is no ConnectionLostError.
 */
async function connected(
  client: grpc.Client,
  { address, deadlineSeconds, signal }: ConnectionOptions,
  { tls }: ChannelSecurity,
): Promise<void> {
  const channel = client.getChannel();
  const deadline = Date.now() + deadlineSeconds * 1000;
  const stop = new AbortController();
  const outcome = await new Promise<'ready' | 'refused' | 'late' | 'stopped'>((resolve) => {
    if (signal?.aborted) return resolve('stopped');
    signal?.addEventListener('abort', () => resolve('stopped'), { signal: stop.signal });
    const look = () => {
      const state = channel.getConnectivityState(true);
      if (state === grpc.connectivityState.READY) return resolve('ready');
      if (state === grpc.connectivityState.TRANSIENT_FAILURE) return resolve('refused');
      channel.watchConnectivityState(state, deadline, (late) =>
        late === undefined ? look() : resolve('late'),
      );
    };
    look();
  });
  stop.abort();
  if (outcome === 'ready') return;
  if (outcome === 'stopped')
    throw new ConnectionLostError({ where: address, what: 'stopped while connecting' });
  const found = await diagnose(address, tls, Math.min(diagnosisMs, deadlineSeconds * 1000));
  const where = address;
  if (found?.permanent) throw new SecurityError({ where, what: found.what, remedy: found.remedy });
  const waited = outcome === 'late' ? ` (waited ${deadlineSeconds} s)` : '';
  throw new ConnectionLostError({
    where,
    what: `${found?.what ?? 'nobody answers there'}${waited || (found === undefined ? ' (the connection was refused)' : '')}`,
    remedy: found?.remedy ?? 'Start the server, or correct environment.address',
  });
}
