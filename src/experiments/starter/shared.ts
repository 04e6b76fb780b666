import { dirname, relative } from 'node:path';
import { stringify } from 'yaml';
import { ConfigError, PmpoError } from '../../core/errors.js';
import { suggestion } from '../../core/nearest.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { simulators } from '../../simulators/registry.js';
import type { PublicModules } from '../../system/user-module.js';
import {
  type ConnectOptions,
  connectEnvironments,
  type EnvironmentConfig,
  reachSimulators,
} from '../environments.js';

/** What all first configurations share: the subject's simulator, and values as YAML. */

/** A simulator: one on the server at `address`, or an embedded one if there is no address. */
export interface SimulatorSubject {
  readonly address?: string;
  readonly simulator?: string;
}

/** The options of the functions that write a first configuration. */
export interface StarterOptions extends ConnectOptions {
  /** The path at which the configuration will be written. */
  readonly file: string;
  readonly modules?: PublicModules;
}

/** A value as YAML on one line, quoted where it must be. */
export const inline = (value: unknown): string =>
  stringify(value, { collectionStyle: 'flow', flowCollectionPadding: true, lineWidth: 0 }).trim();

/** A path as the configuration names it. */
export const pathFrom = (file: string, path: string): string => relative(dirname(file), path) || '.';

/** @throws ConfigError if an embedded simulator is named that this program does not have. */
export function requireKnown({ address, simulator }: SimulatorSubject): void {
  const known = simulators.names();
  if (address !== undefined || simulator === undefined || known.includes(simulator)) return;
  throw new ConfigError({
    where: '--simulator',
    what: `unknown embedded simulator '${simulator}'`,
    remedy: `${suggestion(simulator, known)}\`npx pmpo simulators\` lists them. For one on a server give --address too`,
  });
}

/** The error of a server that needs the name of a simulator, in the terms of `pmpo init`; any other error as it is. */
function asksForSimulator(error: unknown): unknown {
  if (!(error instanceof PmpoError) || !error.message.includes("setting 'simulator'")) return error;
  const { where, what } = error.details;
  return new ConfigError({
    where,
    what,
    remedy: 'Name a simulator of the server with --simulator NAME',
    cause: error,
  });
}

/**
 * Connects to one environment of a configuration while `use` works with it.
 * @throws PmpoError if the server does not answer or refuses, in the terms of `pmpo init`.
 */
export async function withEnvironment<T>(
  config: EnvironmentConfig,
  { simulator }: SimulatorSubject,
  options: ConnectOptions,
  use: (environment: VectorEnvironment) => T,
): Promise<T> {
  const server = await reachSimulators(config, options);
  try {
    const connected = await connectEnvironments(config, server.addresses, 'evaluation', 1, options).catch(
      (error: unknown) => {
        throw simulator === undefined ? asksForSimulator(error) : error;
      },
    );
    try {
      return use(connected);
    } finally {
      await connected.close();
    }
  } finally {
    await server.close();
  }
}
