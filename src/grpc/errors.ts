import { PmpoError } from '../core/errors.js';
import { statusNames } from './status.js';

/** A server that cannot be trusted, or that does not trust us. Trying again would not help. */
export class SecurityError extends PmpoError {}

/** A server's own refusal of one call. */
export class RefusedCallError extends PmpoError {
  /** gRPC's status code. */
  readonly code: number;
  /** The server's words. */
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
