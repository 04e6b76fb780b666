import { PmpoError } from '../errors.js';

/** gRPC's status codes, by the names that people know them by. */
export const statusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const; // prettier-ignore
export type StatusName = (typeof statusNames)[number];

/** The number of a status. */
export function statusCode(name: StatusName): number {
  return statusNames.indexOf(name);
}

/** The stream to a simulator broke, or a call passed its deadline: what was under way there is lost. */
export class ConnectionLostError extends PmpoError {}

/** A server's own refusal, in a response that is otherwise in order: the stream goes on. */
export class DmEnvRpcError extends PmpoError {
  /** gRPC's status code. */
  readonly code: number;
  /** The server's words. */
  readonly serverMessage: string;

  constructor(address: string, request: string, code: number, serverMessage: string) {
    super({
      where: address,
      what: `the server refused ${request}: ${statusNames[code] ?? `code ${code}`}: ${serverMessage}`,
    });
    this.code = code;
    this.serverMessage = serverMessage;
  }
}
