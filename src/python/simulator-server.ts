import { type PluginServer, type PluginServerOptions, startPluginServer } from './plugin-server.js';

/** The simulator servers in Python: plugins/simulator-server. */
export const pythonServers = ['dm-control', 'gymnasium'] as const;
export type PythonServerKind = (typeof pythonServers)[number];

export interface PythonServerOptions extends PluginServerOptions {
  readonly kind: PythonServerKind;
}

/** Starts a server of DM Control's or Gymnasium's simulators. @throws PmpoError as `startPluginServer`. */
export function startPythonServer({ kind, ...options }: PythonServerOptions): Promise<PluginServer> {
  return startPluginServer(
    {
      name: `the ${kind} server`,
      folder: 'simulator-server',
      requirements: `${kind}.txt`,
      module: ['pmpo_simulator_server', kind],
      complaint: 'pmpo-simulator-server: ',
      addressKey: 'environment.address',
    },
    options,
  );
}
