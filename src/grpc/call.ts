import type * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, PmpoError } from '../core/errors.js';
import { type Channel, refusal } from './channel.js';
import { RefusedCallError } from './errors.js';
import type { Peer } from './peer.js';
import { statusCode } from './status.js';

export interface CallOptions {
  /** How long the call may take, answer included; the server is told. */
  readonly deadlineSeconds: number;
  /** Aborted: the call is cancelled, which the server sees. */
  readonly signal?: AbortSignal;
}

/** The call was ended by its own caller. */
export class StoppedError extends PmpoError {}

/** A call took longer than it may. */
export class DeadlineError extends PmpoError {}

/** Puts a failed call into words. */
export type CallErrorWords = typeof callError;

/** One method of a service, by the last part of its path. */
type Method = grpc.MethodDefinition<object, object>;
const nameOf = (method: Method) => method.path.slice(method.path.lastIndexOf('/') + 1);

/** Statuses by other names of a connection that broke, as grpc-js and servers that shut down give them. */
const brokenConnection =
  /RST_STREAM|ECONNRESET|EPIPE|socket hang up|connection (dropped|reset|lost)|shutting down/i;

/** What a call that failed says, in the one form of all errors: ConnectionLostError where another attempt may succeed. */
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
  const words = details || message;
  switch (code) {
    case statusCode('DEADLINE_EXCEEDED'):
      return new DeadlineError({
        where,
        what: `no answer to ${name} within ${deadlineSeconds} s`,
        remedy: `Is the server overloaded? Raise ${peer.configKey}.deadlineSeconds, or ask for less at once`,
      });
    case statusCode('RESOURCE_EXHAUSTED'):
      return new ConnectionLostError({ where, what: `the server has too much to do: ${words}` });
    case statusCode('UNAVAILABLE'):
    case statusCode('CANCELLED'):
      break;
    case statusCode('INTERNAL'):
    case statusCode('UNKNOWN'):
      if (brokenConnection.test(words)) break;
      return new RefusedCallError(address, name, code, words);
    default:
      return new RefusedCallError(address, name, code, words);
  }
  return new ConnectionLostError({
    where,
    what: `the connection was lost during ${name}: ${words}`,
    remedy: 'Is the server still running there?',
  });
}

function optionsOf({ deadlineSeconds }: CallOptions): grpc.CallOptions {
  return { deadline: Date.now() + deadlineSeconds * 1000 };
}

/**
 * One request, one answer.
 * @throws PmpoError as `words` say.
 */
export async function callUnary<Response extends object>(
  { address, client, metadata }: Channel,
  method: Method,
  request: object,
  peer: Peer,
  options: CallOptions,
  words: CallErrorWords = callError,
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
          else reject(words(address, nameOf(method), error, peer, options));
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
 * One request, a stream of answers. Nobody iterating on ends the call, and so does the signal.
 * @throws PmpoError as `callError` says.
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
    // An error that comes of cancelling is nobody's any more.
    call.on('error', () => {});
    call.cancel();
  }
}
