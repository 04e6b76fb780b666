import { RefusedCallError } from '../grpc/errors.js';

/** An error that a dm_env_rpc server answers a request with. The stream stays open. */
export class DmEnvRpcError extends RefusedCallError {}
