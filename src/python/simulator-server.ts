import { type PluginServer, type PluginServerOptions, startPluginServer } from './plugin-server.js';

/** The simulator servers in Python: plugins/simulator-server. */
export const pythonServers = ['dm-control', 'gymnasium'] as const;
export type PythonServerKind = (typeof pythonServers)[number];

/** The packages that can be added to each kind of server by name: lists in plugins/simulator-server/requirements. */
export const extrasOf = { 'dm-control': [], gymnasium: ['box2d'] } as const satisfies Record<
  PythonServerKind,
  readonly string[]
>;
export type Extra = (typeof extrasOf)[PythonServerKind][number];

export interface PythonServerOptions extends PluginServerOptions {
  readonly kind: PythonServerKind;
  readonly extras?: readonly Extra[];
}

/** Starts a server of DM Control's or Gymnasium's simulators. @throws PmpoError as `startPluginServer`. */
export function startPythonServer({
  kind,
  extras = [],
  ...options
}: PythonServerOptions): Promise<PluginServer> {
  return startPluginServer(
    {
      name: `the ${kind} server`,
      folder: 'simulator-server',
      requirements: `${kind}.txt`,
      // The order of the words on the command line must not matter to the environment's name.
      extras: [...new Set(extras)].sort().map((extra) => `${extra}.txt`),
      module: ['pmpo_simulator_server', kind],
      complaint: 'pmpo-simulator-server: ',
      addressKey: 'environment.address',
    },
    options,
  );
}
