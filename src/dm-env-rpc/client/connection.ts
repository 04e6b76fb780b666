import type * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, PmpoError } from '../../core/errors.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { type Channel, type ChannelSettings, openChannel, refusal } from '../../grpc/channel.js';
import type { Peer } from '../../grpc/peer.js';
import { decodeResponse, encodeRequest, rawEnvironmentService } from '../codec/messages.js';
import { DmEnvRpcError } from '../errors.js';

type Stream = grpc.ClientDuplexStream<Uint8Array, Uint8Array>;
type RequestName = keyof wire.EnvironmentRequest & keyof wire.EnvironmentResponse;

export interface ConnectionOptions extends ChannelSettings {
  /** How long connecting may take, and one call. */
  readonly deadlineSeconds: number;
}

const peer: Peer = {
  configKey: 'environment',
  protocol: 'dm_env_rpc v1',
  server: 'a dm_env_rpc server',
  smallerMessages: 'ask for less with environment.observations',
};

interface Waiting {
  readonly name: RequestName;
  readonly receive: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

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

  private constructor({ address, client, metadata }: Channel, deadlineSeconds: number) {
    this.address = address;
    this.#client = client;
    this.#deadline = deadlineSeconds * 1000;
    const { path, requestSerialize, responseDeserialize } = rawEnvironmentService.Process;
    this.#stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
    this.#stream.on('data', (response: Uint8Array) => this.#receive(response));
    this.#stream.on('error', (error: grpc.ServiceError) => {
      this.#fail(
        refusal(address, error, peer) ??
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
    return new DmEnvRpcConnection(await openChannel(options, peer), options.deadlineSeconds);
  }

  /**
   * Sends one request and waits for its answer.
   * @throws DmEnvRpcError for an error that the server answers with, ConnectionLostError when no answer comes.
   */
  send<K extends RequestName>(
    name: K,
    payload: NonNullable<wire.EnvironmentRequest[K]>,
  ): Promise<NonNullable<wire.EnvironmentResponse[K]>> {
    return this.#exchange(name, encodeRequest({ [name]: payload }), (bytes) => this.#answer(name, bytes));
  }

  /**
   * The same for a step, whose answer `read` may read in a way of its own; where it returns undefined, it is read as
   * `send` does.
   */
  step<T>(
    payload: NonNullable<wire.EnvironmentRequest['step']>,
    read: (bytes: Uint8Array) => T | undefined,
  ): Promise<T | NonNullable<wire.EnvironmentResponse['step']>> {
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
  #answer<K extends RequestName>(name: K, bytes: Uint8Array): NonNullable<wire.EnvironmentResponse[K]> {
    let response: wire.EnvironmentResponse;
    try {
      response = decodeResponse(bytes);
    } catch (cause) {
      throw this.#fail(notDmEnvRpc(this.address, (cause as Error).message));
    }
    const answer = response[name];
    if (answer !== undefined && answer !== null) return answer as NonNullable<wire.EnvironmentResponse[K]>;
    if (response.error) {
      const { code = 2, message = '' } = response.error;
      throw new DmEnvRpcError(this.address, words[name], code, message);
    }
    const kinds = Object.keys(response).join(', ') || 'nothing';
    throw this.#fail(this.#loss(`the answer to ${words[name]} is of another kind: ${kinds}`));
  }

  /** True when the connection is over. */
  get isLost(): boolean {
    return this.#lost !== undefined;
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
    what: `what the server sends is not ${peer.protocol}: ${cause}`,
    remedy: `Give the address of ${peer.server}`,
  });
}
