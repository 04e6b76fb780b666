import * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, DmEnvRpcError } from './errors.js';
import { environmentService, type WireRequest, type WireResponse } from './wire.js';

type Stream = grpc.ClientDuplexStream<WireRequest, WireResponse>;

export interface ConnectionOptions {
  /** host:port */
  readonly address: string;
  /** How long one call may take. */
  readonly deadlineSeconds: number;
}

interface Waiting {
  readonly name: keyof WireRequest;
  readonly resolve: (response: WireResponse) => void;
  readonly reject: (error: Error) => void;
}

const EnvironmentClient = grpc.makeGenericClientConstructor(environmentService, 'Environment');

/** What each request is called in messages. */
const words: Record<keyof WireRequest, string> = {
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
  #lost: ConnectionLostError | undefined;
  #closed = false;

  private constructor(client: grpc.Client, { address, deadlineSeconds }: ConnectionOptions) {
    this.address = address;
    this.#client = client;
    this.#deadline = deadlineSeconds * 1000;
    this.#stream = (client as unknown as { Process(): Stream }).Process();
    this.#stream.on('data', (response: WireResponse) => this.#receive(response));
    this.#stream.on('error', (error: grpc.ServiceError) => {
      this.#lose(`the connection was lost: ${error.details || error.message}`, error);
    });
    this.#stream.on('end', () => this.#lose('the server ended the stream'));
  }

  /**
   * Connects.
   * @throws ConnectionLostError when nobody listens there within the deadline.
   */
  static async open(options: ConnectionOptions): Promise<DmEnvRpcConnection> {
    const client = new EnvironmentClient(options.address, grpc.credentials.createInsecure(), {
      // Streams that share an HTTP/2 connection wait for each other.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
    });
    try {
      await connected(client, options);
    } catch (error) {
      client.close();
      throw error;
    }
    return new DmEnvRpcConnection(client, options);
  }

  /**
   * Sends one request and waits for its answer.
   * @throws DmEnvRpcError for an error that the server answers with, ConnectionLostError when no answer comes.
   */
  send<K extends keyof WireRequest & keyof WireResponse>(
    name: K,
    payload: NonNullable<WireRequest[K]>,
  ): Promise<NonNullable<WireResponse[K]>> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== undefined) {
        reject(this.#lost);
        return;
      }
      this.#waiting.push({
        name,
        reject,
        resolve: (response) => {
          const answer = response[name];
          if (answer !== undefined && answer !== null) resolve(answer as NonNullable<WireResponse[K]>);
          else if (response.error) {
            const { code = 2, message = '' } = response.error;
            reject(new DmEnvRpcError(this.address, words[name], code, message));
          } else
            reject(this.#lose(`the answer to ${words[name]} is of another kind: ${Object.keys(response)}`));
        },
      });
      if (this.#waiting.length === 1) this.#watch();
      this.#stream.write({ [name]: payload });
    });
  }

  #watch(): void {
    clearTimeout(this.#timer);
    const oldest = this.#waiting[0];
    if (oldest === undefined) return;
    this.#timer = setTimeout(() => {
      this.#lose(`no answer to ${words[oldest.name]} within ${this.#deadline / 1000} s`);
    }, this.#deadline);
  }

  #receive(response: WireResponse): void {
    const oldest = this.#waiting.shift();
    this.#watch();
    oldest?.resolve(response);
  }

  #lose(what: string, cause?: unknown): ConnectionLostError {
    if (this.#lost !== undefined) return this.#lost;
    this.#lost = new ConnectionLostError({
      where: this.address,
      what,
      remedy: this.#closed ? undefined : 'Is the server still running there?',
      cause,
    });
    clearTimeout(this.#timer);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost);
    this.#stream.cancel();
    this.#client.close();
    return this.#lost;
  }

  /** Ends the stream. Whatever is waiting fails. */
  close(): void {
    this.#closed = true;
    this.#lose('the connection was closed');
  }
}

/**
 * Resolves when the connection stands. A refusal is an error at once: whether and when to try again is the caller's to
 * say; silence is one at the deadline.
 */
function connected(client: grpc.Client, { address, deadlineSeconds }: ConnectionOptions): Promise<void> {
  const channel = client.getChannel();
  const deadline = Date.now() + deadlineSeconds * 1000;
  const failed = (why: string) =>
    new ConnectionLostError({
      where: address,
      what: `nobody answers there (${why})`,
      remedy: 'Start the server, or correct environment.address',
    });
  return new Promise((resolve, reject) => {
    const look = () => {
      const state = channel.getConnectivityState(true);
      if (state === grpc.connectivityState.READY) return resolve();
      if (state === grpc.connectivityState.TRANSIENT_FAILURE)
        return reject(failed('the connection was refused'));
      channel.watchConnectivityState(state, deadline, (late) => {
        if (late === undefined) look();
        else reject(failed(`waited ${deadlineSeconds} s`));
      });
    };
    look();
  });
}
