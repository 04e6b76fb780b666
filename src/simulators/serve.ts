import { type EnvironmentServer, serveEnvironments } from '../dm-env-rpc/server/serve-environments.js';
import { createSimulator } from './registry.js';

/** Where to serve simulators. */
export interface ServeSimulatorsOptions {
  /** The interface to listen on; 127.0.0.1 by default. */
  readonly host?: string;
  /** 0, the default, for a free port. */
  readonly port?: number;
  /** Receives one line for each world that is created or closed. */
  readonly log?: (line: string) => void;
}

/**
 * Serves all registered simulators over dm_env_rpc. The settings of CreateWorld are `simulator`, a name (default:
 * `cartpole_swingup`), and those of that simulator.
 *
 * @throws PmpoError if the server cannot listen on the address.
 */
export function serveSimulators({
  host = '127.0.0.1',
  port = 0,
  log,
}: ServeSimulatorsOptions = {}): Promise<EnvironmentServer> {
  return serveEnvironments({ createEnvironment: createSimulator, host, port, log });
}
