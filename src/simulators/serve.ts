import { type EnvironmentServer, serveEnvironments } from '../dm-env-rpc/server/serve-environments.js';
import { createSimulator } from './registry.js';

export interface ServeSimulatorsOptions {
  /** The interface to listen on; 127.0.0.1 by default. */
  readonly host?: string;
  /** 0, the default, for a free one. */
  readonly port?: number;
  readonly log?: (line: string) => void;
}

/**
 * Hosts every registered simulator as a dm_env_rpc server. CreateWorld takes `simulator`, the name (by default the
 * swing-up of a cartpole), and beside it the settings of that simulator.
 *
 * @throws PmpoError when the address cannot be listened on.
 */
export function serveSimulators({
  host = '127.0.0.1',
  port = 0,
  log,
}: ServeSimulatorsOptions = {}): Promise<EnvironmentServer> {
  return serveEnvironments({ createEnvironment: createSimulator, host, port, log });
}
