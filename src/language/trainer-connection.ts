import type * as grpc from '@grpc/grpc-js';
import type { PmpoError } from '../core/errors.js';
import { ConnectionLostError } from '../core/errors.js';
import type { Trainer } from '../generated/trainer.js';
import { callUnary } from '../grpc/call.js';
import { type Channel, refusal } from '../grpc/channel.js';
import { RefusedCallError } from '../grpc/errors.js';
import type { Peer } from '../grpc/peer.js';
import { statusCode } from '../grpc/status.js';
import { trainerService } from './services.js';

/** The methods that take one request and give one response. */
export type TrainerMethod = Exclude<keyof Trainer, 'Hold'>;

/** Calls of a trainer, with a deadline each, and their errors in the one form. */
export class TrainerConnection {
  readonly address: string;
  readonly #channel: Channel;
  readonly #peer: Peer;
  #held?: grpc.ClientReadableStream<unknown>;
  /** Why the trainer is no longer this client's. */
  #lost?: PmpoError;

  constructor(channel: Channel, peer: Peer) {
    this.address = channel.address;
    this.#channel = channel;
    this.#peer = peer;
  }

  /**
   * Makes the trainer this client's until it closes. If the connection is lost, so is the trainer: calls fail from then on.
   * @throws PmpoError when it is somebody else's.
   */
  hold(holder: string, deadlineSeconds: number): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = trainerService.Hold!;
    const { client, metadata } = this.#channel;
    return new Promise((resolve, reject) => {
      const stream = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { holder },
        metadata,
      );
      this.#held = stream;
      let isLate = false;
      // No deadline of gRPC's: the call stays open for as long as the trainer is held.
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
          ? this.#silent('Hold', deadlineSeconds)
          : this.#words('Hold', error, deadlineSeconds);
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
      trainerService[method],
      request,
      this.#peer,
      { deadlineSeconds },
      (_, __, error) => this.#words(method, error, deadlineSeconds),
    );
  }

  #words(
    method: TrainerMethod | 'Hold',
    error: Pick<grpc.ServiceError, 'code' | 'details' | 'message'>,
    deadlineSeconds: number,
  ): PmpoError {
    const { code, details } = error;
    const where = this.address;
    const known = refusal(where, error, this.#peer);
    if (known !== undefined) return known;
    if (code === statusCode('DEADLINE_EXCEEDED')) return this.#silent(method, deadlineSeconds);
    // RESOURCE_EXHAUSTED is a trainer out of memory, but for what gRPC for Node says when the server has hung up on a client
    // that did not answer its signs of life.
    const hungUp = code === statusCode('RESOURCE_EXHAUSTED') && details.startsWith('Bandwidth exhausted');
    if (hungUp || code === statusCode('UNAVAILABLE') || code === statusCode('CANCELLED')) {
      return new ConnectionLostError({
        where,
        what: `the connection was lost during ${method}: ${details}`,
        remedy:
          'Is the trainer still running there? Its state is that of its last checkpoint when it starts again',
      });
    }
    return new RefusedCallError(where, method, code, details);
  }

  /** What is said of a call that nobody has answered. */
  #silent(method: TrainerMethod | 'Hold', deadlineSeconds: number): PmpoError {
    const isImmediate = method === 'GetInfo' || method === 'Hold';
    return new ConnectionLostError({
      where: this.address,
      what: `no answer to ${method} within ${deadlineSeconds} s`,
      remedy: isImmediate
        ? 'A trainer answers this while it computes, too: see what it logs, and start it again if it does nothing'
        : `Raise ${this.#peer.configKey}.deadlineSeconds, or send fewer or shorter sequences`,
    });
  }

  close(): void {
    // What it says when it is cancelled is nothing new.
    this.#held?.removeAllListeners('error').on('error', () => {});
    this.#held?.cancel();
    this.#channel.client.close();
  }
}
