import type * as grpc from '@grpc/grpc-js';
import type { PmpoError } from '../core/errors.js';
import { ConnectionLostError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import type { Trainer } from '../generated/trainer.js';
import { callUnary } from '../grpc/call.js';
import { type Channel, refusal } from '../grpc/channel.js';
import { RefusedCallError } from '../grpc/errors.js';
import type { Peer } from '../grpc/peer.js';
import { statusCode } from '../grpc/status.js';
import { trainerService } from './services.js';

/** The methods that take one request and give one response. */
export type TrainerMethod = Exclude<keyof Trainer, 'Hold'>;

/** Calls to a trainer, each with a deadline, and with errors as PmpoError. */
export class TrainerConnection {
  readonly address: string;
  readonly #channel: Channel;
  readonly #peer: Peer;
  #holdStream?: grpc.ClientReadableStream<unknown>;
  /** Why this client no longer holds the trainer. */
  #lost?: PmpoError;

  constructor(channel: Channel, peer: Peer) {
    this.address = channel.address;
    this.#channel = channel;
    this.#peer = peer;
  }

  /**
   * Reserves the trainer for this client until it closes. After a lost connection all calls fail.
   * @throws PmpoError if another client holds the trainer.
   */
  hold(holder: string, deadlineSeconds: number): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = trainerService().Hold!;
    const { client, metadata } = this.#channel;
    return new Promise((resolve, reject) => {
      const stream = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { holder },
        metadata,
      );
      this.#holdStream = stream;
      let isLate = false;
      // Not a gRPC deadline, because the call stays open for as long as the trainer is held.
      const timer = setTimeout(() => {
        isLate = true;
        stream.cancel();
      }, deadlineSeconds * 1000);
      stream.on('data', () => {
        clearTimeout(timer);
        resolve();
      });
      stream.on('error', (error: grpc.ServiceError) => {
        clearTimeout(timer);
        this.#lost = isLate
          ? this.#deadlineError('Hold', deadlineSeconds)
          : this.#errorOf('Hold', error, deadlineSeconds);
        reject(this.#lost);
      });
    });
  }

  call<M extends TrainerMethod>(
    method: M,
    request: Trainer[M]['request'],
    deadlineSeconds: number,
  ): Promise<Trainer[M]['response']> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    return callUnary(
      this.#channel,
      trainerService()[method],
      request,
      this.#peer,
      { deadlineSeconds },
      (_, __, error) => this.#errorOf(method, error, deadlineSeconds),
    );
  }

  #errorOf(
    method: TrainerMethod | 'Hold',
    error: Pick<grpc.ServiceError, 'code' | 'details' | 'message'>,
    deadlineSeconds: number,
  ): PmpoError {
    const { code, details } = error;
    const where = this.address;
    const known = refusal(where, error, this.#peer);
    if (known !== undefined) return known;
    if (code === statusCode('DEADLINE_EXCEEDED')) return this.#deadlineError(method, deadlineSeconds);
    // RESOURCE_EXHAUSTED means a trainer out of memory, except that gRPC for Node also reports it with these words when the server
    // closed the connection because of too many or unanswered pings.
    const hungUp = code === statusCode('RESOURCE_EXHAUSTED') && details.startsWith('Bandwidth exhausted');
    if (hungUp || code === statusCode('UNAVAILABLE') || code === statusCode('CANCELLED')) {
      return new ConnectionLostError({
        where,
        what: `the connection was lost during ${method}: ${foreignText(details)}`,
        remedy: 'Check that the trainer is still running. After a restart, resume from the last checkpoint',
      });
    }
    return new RefusedCallError(where, method, code, details);
  }

  /** The error of a call that was not answered in time. */
  #deadlineError(method: TrainerMethod | 'Hold', deadlineSeconds: number): PmpoError {
    const isImmediate = method === 'GetInfo' || method === 'Hold';
    return new ConnectionLostError({
      where: this.address,
      what: `no answer to ${method} within ${deadlineSeconds} s`,
      remedy: isImmediate
        ? "A trainer answers this even while it computes: see the trainer's log, and restart it if it hangs"
        : `Raise ${this.#peer.configKey}.deadlineSeconds, or send fewer or shorter sequences`,
    });
  }

  close(): void {
    // Canceling makes the stream emit an error, which is expected.
    this.#holdStream?.removeAllListeners('error').on('error', () => {});
    this.#holdStream?.cancel();
    this.#channel.client.close();
  }
}
