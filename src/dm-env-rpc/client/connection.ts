import type * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, OutOfStepError, PmpoError } from '../../core/errors.js';
import { foreignText } from '../../core/foreign-text.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { isBrokenConnection } from '../../grpc/call.js';
import { type Channel, type ChannelSettings, openChannel, refusal } from '../../grpc/channel.js';
import { connectionDefaults } from '../../grpc/connection-defaults.js';
import type { Peer } from '../../grpc/peer.js';
import { statusCode } from '../../grpc/status.js';
import { decodeResponse, encodeRequest, rawEnvironmentService } from '../codec/messages.js';
import { sceneMetadataKey } from '../codec/scene-properties.js';
import { DmEnvRpcError } from '../errors.js';
import { sendInTurns } from './send-in-turns.js';
import { ElsewhereError, spreadMetadataKey } from './spreading.js';

type Stream = grpc.ClientDuplexStream<Uint8Array, Uint8Array>;
type RequestName = keyof wire.EnvironmentRequest & keyof wire.EnvironmentResponse;

/** How to reach a server. */
export interface ConnectionOptions extends Omit<ChannelSettings, 'deadlineSeconds'> {
  /** The time that connecting may take, and each request; default: 30. */
  readonly deadlineSeconds?: number;
}

/** How to open a connection. */
export interface OpenOptions extends ConnectionOptions {
  /** Whether the server may refuse the stream so that its streams are spread over its processes; see spreading.ts. */
  readonly spread?: boolean;
}

const peer: Peer = {
  configKey: 'environment',
  protocol: 'dm_env_rpc v1',
  server: 'a dm_env_rpc server',
  smallerMessages: 'ask for less with environment.observations',
};

/** A request without its response. */
interface Pending {
  readonly name: RequestName;
  /** When it was written, in milliseconds from any starting point; undefined before. */
  sentAt: number | undefined;
  readonly receive: (response: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const isItRunning = 'Is the server still running there?';

type LossDetails = { readonly remedy?: string; readonly cause?: unknown };

/** How fast the slowest answer to a step is forgotten: by a factor for each later one. */
const forgetting = 0.99;
/**
 * A stream is in step if it stays silent for this many times its slowest answer, and these milliseconds, after a request. A server
 * that computes one answer after the other and is one ahead owes two at that moment, and each seems to take less than it does.
 */
const silence = { times: 3, more: 10 } as const;

/** Lets the event loop read what has arrived. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The name of each request in messages. */
const requestNames: Record<RequestName, string> = {
  createWorld: 'CreateWorld',
  joinWorld: 'JoinWorld',
  step: 'Step',
  reset: 'Reset',
  resetWorld: 'ResetWorld',
  leaveWorld: 'LeaveWorld',
  destroyWorld: 'DestroyWorld',
  extension: 'an extension request',
};

/** The open streams of this process to each address. */
const openStreams = new Map<string, Set<DmEnvRpcConnection>>();

/**
 * A stream to a dm_env_rpc server, on a separate HTTP/2 connection. Requests are sent as they are made, without waiting for
 * responses, which arrive in the same order. When the stream breaks or a request passes its deadline (after which a late response could be
 * taken for that of another request), the connection is lost for good: pending and later requests fail with ConnectionLostError. When a response
 * arrives that no request waits for, or that is of another kind than its request, they fail with OutOfStepError: a surplus response
 * may have been taken for that of a later request, and so on.
 */
export class DmEnvRpcConnection {
  readonly address: string;
  readonly #client: grpc.Client;
  readonly #stream: Stream;
  readonly #deadline: number;
  readonly #pending: Pending[] = [];
  /** Whether the stream may be refused so that another process of the server takes it. */
  readonly #mayBeElsewhere: boolean;
  #timer: NodeJS.Timeout | undefined;
  #lost: PmpoError | undefined;
  #isAnswered = false;
  #offersScenes = false;
  /** When the last request was sent, and the longest time that an answer to a step has taken lately; in milliseconds. */
  #lastSentAt = 0;
  #slowestStep = 0;
  #closed = false;

  private constructor({ address, client, metadata }: Channel, deadlineSeconds: number, spread: boolean) {
    this.address = address;
    this.#client = client;
    this.#deadline = deadlineSeconds * 1000;
    const { path, requestSerialize, responseDeserialize } = rawEnvironmentService.Process;
    this.#mayBeElsewhere = spread;
    if (spread) metadata.set(spreadMetadataKey, '1');
    this.#stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
    this.#stream.on('metadata', (answered: grpc.Metadata) => {
      this.#offersScenes = answered.get(sceneMetadataKey).length > 0;
    });
    this.#stream.on('data', (response: Uint8Array) => this.#receive(response));
    this.#stream.on('error', (error: grpc.ServiceError) => this.#endWith(error));
    this.#stream.on('end', () => this.#fail(this.#loss('the server ended the stream')));
    openStreams.set(address, (openStreams.get(address) ?? new Set()).add(this));
  }

  /**
   * Connects.
   * @throws ConnectionLostError if no server listens there within the deadline; PmpoError if another attempt cannot succeed:
   *   wrong certificates or tokens, or a server of another protocol. With `spread`, the first request may fail with ElsewhereError.
   */
  static async open(options: OpenOptions): Promise<DmEnvRpcConnection> {
    const { deadlineSeconds = connectionDefaults.simulatorDeadlineSeconds, spread = false } = options;
    const channel = await openChannel({ ...options, deadlineSeconds }, peer);
    return new DmEnvRpcConnection(channel, deadlineSeconds, spread);
  }

  /**
   * Sends a request and waits for its response.
   * @throws DmEnvRpcError if the server answers with an error, ConnectionLostError if no response arrives, OutOfStepError if the
   *   stream is out of step.
   */
  send<K extends RequestName>(
    name: K,
    payload: NonNullable<wire.EnvironmentRequest[K]>,
  ): Promise<NonNullable<wire.EnvironmentResponse[K]>> {
    return this.#exchange(name, encodeRequest({ [name]: payload }), (bytes) => this.#answer(name, bytes));
  }

  /** Like `send` for a step, except that `read` may decode the response; if it returns undefined, `send`'s decoder does. */
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
      const pending: Pending = { name, sentAt: undefined, receive, reject };
      this.#pending.push(pending);
      sendInTurns(() => {
        if (this.#lost !== undefined) return;
        pending.sentAt = performance.now();
        this.#lastSentAt = pending.sentAt;
        if (this.#pending[0] === pending) this.#watch();
        this.#stream.write(request);
      });
    });
  }

  /** Decodes the response to a request. */
  #answer<K extends RequestName>(name: K, bytes: Uint8Array): NonNullable<wire.EnvironmentResponse[K]> {
    let response: wire.EnvironmentResponse;
    try {
      response = decodeResponse(bytes);
    } catch (cause) {
      throw this.#fail(notDmEnvRpc(this.address, (cause as Error).message));
    }
    const own = response[name];
    if (own !== undefined && own !== null) return own as NonNullable<wire.EnvironmentResponse[K]>;
    if (response.error) {
      const { code = 2, message = '' } = response.error;
      throw new DmEnvRpcError(this.address, requestNames[name], code, message);
    }
    const kinds = Object.keys(response).join(', ') || 'nothing';
    throw this.#fail(this.#outOfStep(`the response to ${requestNames[name]} is of another kind: ${kinds}`));
  }

  #outOfStep(what: string): OutOfStepError {
    const remedy = 'Correct the server: it must send one response to each request, in order';
    return new OutOfStepError({ where: this.address, what, remedy });
  }

  /**
   * Waits until no response is pending and the stream has been silent for longer than an answer takes. A stream that a surplus response
   * has shifted still owes the response to its last request, which arrives meanwhile. Returns at once for a connection that was lost.
   * @throws OutOfStepError if the stream is out of step.
   */
  async requireInStep(): Promise<void> {
    while (this.#lost === undefined) {
      const silent = Math.min(this.#deadline, silence.times * this.#slowestStep + silence.more);
      const left = this.#lastSentAt + silent - performance.now();
      if (left <= 0 && this.#pending.length === 0) {
        await nextTurn();
        await nextTurn();
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, left)));
    }
    if (this.#lost instanceof OutOfStepError) throw this.#lost;
  }

  /** True when the connection is over. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Whether the server has the properties of scenes (codec/scene-properties.ts), once it has answered. */
  get offersScenes(): boolean {
    return this.#offersScenes;
  }

  /** Starts the deadline of the oldest pending request. */
  #watch(): void {
    clearTimeout(this.#timer);
    const oldest = this.#pending[0];
    if (oldest?.sentAt === undefined) return;
    this.#timer = setTimeout(() => this.#fail(this.#noAnswer(oldest.name)), this.#deadline);
  }

  /** The error of a request that passed its deadline, with the causes that are likely after what this stream has seen. */
  #noAnswer(name: RequestName): ConnectionLostError {
    const what = `no answer to ${requestNames[name]} within ${this.#deadline / 1000} s`;
    const all = [...(openStreams.get(this.address) ?? [])];
    const answered = all.filter((stream) => stream.#isAnswered).length;
    if (this.#isAnswered || answered === 0) {
      return this.#loss(what, {
        remedy: `${isItRunning} If it only needs longer for this, raise ${peer.configKey}.deadlineSeconds`,
      });
    }
    return this.#loss(
      `${what}. This program has ${all.length} streams open to this server, which has answered ${answered} of them`,
      {
        remedy: `A server with one thread for each stream needs as many threads as streams, evaluation included: give it more worker threads, lower ${peer.configKey}.numEnvs, or raise ${peer.configKey}.envsPerStream. If it only needs longer, raise ${peer.configKey}.deadlineSeconds`,
      },
    );
  }

  #receive(response: Uint8Array): void {
    // Messages that were on their way when the connection was given up.
    if (this.#lost !== undefined) return;
    const oldest = this.#pending[0];
    if (oldest?.sentAt === undefined) {
      this.#fail(this.#outOfStep(`the server sent a response that no request waits for${errorIn(response)}`));
      return;
    }
    this.#pending.shift();
    this.#isAnswered = true;
    if (oldest.name === 'step') {
      const taken = performance.now() - oldest.sentAt;
      this.#slowestStep = Math.max(taken, forgetting * this.#slowestStep);
    }
    this.#watch();
    // What has arrived together with it is read first, so that a surplus response is not taken for that of the next request.
    setImmediate(() => {
      if (this.#lost instanceof OutOfStepError) oldest.reject(this.#lost);
      else oldest.receive(response);
    });
  }

  /**
   * Ends the connection after a status of the stream. Some servers answer a request that they refuse with a status rather than with
   * an error: it is then the error of the oldest pending request.
   */
  #endWith(error: grpc.ServiceError): void {
    const { code } = error;
    const isElsewhere =
      code === statusCode('UNAVAILABLE') && error.metadata?.get(spreadMetadataKey).length > 0;
    if (this.#mayBeElsewhere && !this.#isAnswered && isElsewhere) {
      const what = 'this process of the server has more streams than another';
      this.#fail(new ElsewhereError({ where: this.address, what }));
      return;
    }
    const reason = foreignText(error.details || error.message);
    const oldest = this.#pending[0];
    // A server that has answered before speaks this protocol, and lacks only the request.
    const isUnknownRequest = code === statusCode('UNIMPLEMENTED') && this.#isAnswered;
    const permanent = isUnknownRequest ? undefined : refusal(this.address, error, peer);
    const isOverloaded =
      code === statusCode('RESOURCE_EXHAUSTED') || code === statusCode('DEADLINE_EXCEEDED');
    if (
      permanent === undefined &&
      !isOverloaded &&
      !isBrokenConnection(code, reason) &&
      oldest !== undefined
    ) {
      this.#pending.shift();
      oldest.reject(new DmEnvRpcError(this.address, requestNames[oldest.name], code, reason));
      this.#fail(this.#loss(`the server ended the stream when it refused ${requestNames[oldest.name]}`));
      return;
    }
    this.#fail(permanent ?? this.#loss(`the connection was lost: ${reason}`, { cause: error }));
  }

  #loss(what: string, { remedy = isItRunning, cause }: LossDetails = {}): ConnectionLostError {
    return new ConnectionLostError({
      where: this.address,
      what,
      remedy: this.#closed ? undefined : remedy,
      cause,
    });
  }

  /** Ends the connection, unless it has ended before. Returns the reason for its end. */
  #fail(error: PmpoError): PmpoError {
    if (this.#lost !== undefined) return this.#lost;
    this.#lost = error;
    openStreams.get(this.address)?.delete(this);
    clearTimeout(this.#timer);
    for (const { reject } of this.#pending.splice(0)) reject(error);
    this.#stream.cancel();
    this.#client.close();
    return error;
  }

  /** Ends the stream. Pending requests fail with ConnectionLostError. */
  close(): void {
    this.#closed = true;
    this.#fail(this.#loss('the connection was closed'));
  }
}

/** The error that a response holds, as the end of a message. */
function errorIn(response: Uint8Array): string {
  try {
    const { error } = decodeResponse(response);
    return error ? `: ${foreignText(error.message || `the error ${error.code}`)}` : '';
  } catch {
    return '';
  }
}

function notDmEnvRpc(where: string, cause: string): PmpoError {
  return new PmpoError({
    where,
    what: `the server's messages are not ${peer.protocol}: ${cause}`,
    remedy: `Give the address of ${peer.server}`,
  });
}
