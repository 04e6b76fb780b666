import { vi } from 'vitest';
import { DmEnvRpcConnection } from '../../src/dm-env-rpc/client/connection.js';
import { type EnvironmentServer, serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import type { Environment } from '../../src/environments/environment.js';

export interface BatchServer extends EnvironmentServer {
  /** The number of worlds that have been created. */
  readonly worlds: () => number;
}

/** A server whose environments `create` makes: environment i of each world of `size`. */
export async function serveBatches(
  create: (i: number) => Environment,
  { size = 1, port = 0 } = {},
): Promise<BatchServer> {
  let [made, worlds] = [0, 0];
  const server = await serveEnvironments({
    port,
    createEnvironment: async () => create(made++ % size),
    log: (line) => {
      if (line.includes(' made ')) worlds += 1;
    },
  });
  return { ...server, worlds: () => worlds };
}

/** Records the commands (0 step, 1 reset, 2 wait) of each message for a batch. Restore all mocks afterwards. */
export function recordCommands(): number[][] {
  const sent: number[][] = [];
  const step = DmEnvRpcConnection.prototype.step;
  vi.spyOn(DmEnvRpcConnection.prototype, 'step').mockImplementation(function (
    this: DmEnvRpcConnection,
    ...args
  ) {
    const commands = Object.values(args[0].actions ?? {}).find(({ int32s }) => int32s)?.int32s;
    if (commands) sent.push([...(commands.array as Int32Array)]);
    return step.apply(this, args);
  } as typeof step);
  return sent;
}
