import { PmpoError } from '../errors.js';

/** The stream to a simulator broke, or a call passed its deadline: what was under way there is lost. */
export class ConnectionLostError extends PmpoError {}
