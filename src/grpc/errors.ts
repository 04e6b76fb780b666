import { PmpoError } from '../core/errors.js';
import { statusNames } from './status.js';

/** The server cannot be trusted, or does not trust this client. Another attempt would fail too. */
export class SecurityError extends PmpoError {}

/** A server has refused one call. */
export class RefusedCallError extends PmpoError {
  /** gRPC's status code. */
  readonly code: number;
  /** The server's message. */
  readonly serverMessage: string;

  constructor(address: string, call: string, code: number, serverMessage: string, remedy?: string) {
    super({
      where: address,
      what: `the server refused ${call}: ${statusNames[code] ?? `code ${code}`}: ${serverMessage}`,
      remedy,
    });
    this.code = code;
    this.serverMessage = serverMessage;
  }
}
