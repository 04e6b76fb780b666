import { PmpoError, RequestFailedError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { statusCode, statusNames } from './status.js';

/** The server cannot be trusted, or does not trust this client. Another attempt would fail too. */
export class SecurityError extends PmpoError {}

/** A server has refused one call. */
export class RefusedCallError extends RequestFailedError {
  /** gRPC's status code. */
  readonly code: number;
  /** The server's message, on one line and cut. */
  readonly serverMessage: string;
  /** FAILED_PRECONDITION asks to mend something before any other attempt. */
  override readonly isFinal: boolean;

  constructor(address: string, call: string, code: number, serverMessage: string, remedy?: string) {
    const said = foreignText(serverMessage);
    super({
      where: address,
      what: `the server refused ${call}: ${statusNames[code] ?? `code ${code}`}: ${said}`,
      remedy,
    });
    this.code = code;
    this.isFinal = code === statusCode('FAILED_PRECONDITION');
    this.serverMessage = said;
  }
}
