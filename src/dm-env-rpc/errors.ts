import { RefusedCallError } from '../grpc/errors.js';

/** A simulator server's own refusal, in a response that is otherwise in order: the stream goes on. */
export class DmEnvRpcError extends RefusedCallError {}
