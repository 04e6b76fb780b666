import type * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, PmpoError, StoppedError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { type Channel, refusal } from './channel.js';
import { RefusedCallError } from './errors.js';
import type { Peer } from './peer.js';
import { statusCode } from './status.js';

/** Limits of a call. */
export interface CallOptions {
  /** The time that the call may take, including the response; it is sent to the server. */
  readonly deadlineSeconds: number;
  /** Cancels the call, here and on the server, when aborted. */
  readonly signal?: AbortSignal;
}

/** A call has passed its deadline. */
export class DeadlineError extends PmpoError {}

/** Makes the error of a failed call. */
export type MakeCallError = typeof callError;

type Method = grpc.MethodDefinition<object, object>;
const nameOf = (method: Method) => method.path.slice(method.path.lastIndexOf('/') + 1);

/** Messages of a broken connection to which grpc-js, or a server that shuts down, gives another status than UNAVAILABLE. */
const brokenConnection =
  /RST_STREAM|ECONNRESET|EPIPE|socket hang up|connection (dropped|reset|lost)|shutting down/i;

/** Whether a status means that the connection broke, rather than that the server refused a request. */
export function isBrokenConnection(code: number, reason: string): boolean {
  switch (code) {
    case statusCode('UNAVAILABLE'):
    case statusCode('CANCELLED'):
      return true;
    case statusCode('INTERNAL'):
    case statusCode('UNKNOWN'):
      return brokenConnection.test(reason);
    default:
      return false;
  }
}

/** The error of a failed call: a ConnectionLostError if another attempt may succeed. */
export function callError(
  address: string,
  name: string,
  error: Pick<grpc.ServiceError, 'code' | 'details' | 'message'>,
  peer: Peer,
  { deadlineSeconds, signal }: CallOptions,
): PmpoError {
  const { code, details, message } = error;
  const where = address;
  if (signal?.aborted) return new StoppedError({ where, what: `${name} was stopped` });
  const permanent = refusal(address, error, peer);
  if (permanent !== undefined) return permanent;
  const reason = foreignText(details || message);
  switch (code) {
    case statusCode('DEADLINE_EXCEEDED'):
      return new DeadlineError({
        where,
        what: `no answer to ${name} within ${deadlineSeconds} s`,
        remedy: `Is the server overloaded? Raise ${peer.configKey}.deadlineSeconds, or ask for less at once`,
      });
    case statusCode('RESOURCE_EXHAUSTED'):
      return new ConnectionLostError({ where, what: `the server is overloaded: ${reason}` });
    default:
      if (!isBrokenConnection(code, reason)) return new RefusedCallError(address, name, code, reason);
  }
  return new ConnectionLostError({
    where,
    what: `the connection was lost during ${name}: ${reason}`,
    remedy: 'Is the server still running there?',
  });
}

function optionsOf({ deadlineSeconds }: CallOptions): grpc.CallOptions {
  return { deadline: Date.now() + deadlineSeconds * 1000 };
}

/**
 * Makes a call with one request and one response.
 * @throws PmpoError from `makeError`.
 */
export async function callUnary<Response extends object>(
  { address, client, metadata }: Channel,
  method: Method,
  request: object,
  peer: Peer,
  options: CallOptions,
  makeError: MakeCallError = callError,
): Promise<Response> {
  const { signal } = options;
  const done = new AbortController();
  try {
    return await new Promise<Response>((resolve, reject) => {
      const call = client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize as (bytes: Buffer) => Response,
        request,
        metadata,
        optionsOf(options),
        (error, response) => {
          if (error === null) resolve(response as Response);
          else reject(makeError(address, nameOf(method), error, peer, options));
        },
      );
      signal?.addEventListener('abort', () => call.cancel(), { signal: done.signal });
      if (signal?.aborted) call.cancel();
    });
  } finally {
    done.abort();
  }
}

/**
 * Makes a call with one request and a stream of responses. The call ends when the caller stops iterating, or by the signal.
 * @throws PmpoError from `callError`.
 */
export async function* callStream<Response extends object>(
  { address, client, metadata }: Channel,
  method: Method,
  request: object,
  peer: Peer,
  options: CallOptions,
): AsyncGenerator<Response, void, undefined> {
  const { signal } = options;
  const call = client.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize as (bytes: Buffer) => Response,
    request,
    metadata,
    optionsOf(options),
  );
  const stop = () => call.cancel();
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  try {
    for await (const response of call) yield response as Response;
  } catch (error) {
    if (error instanceof Error && 'code' in error) {
      throw callError(address, nameOf(method), error as grpc.ServiceError, peer, options);
    }
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    // Ignores the error that canceling causes.
    call.on('error', () => {});
    call.cancel();
  }
}
