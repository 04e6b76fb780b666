import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { pluginEnvironment, pluginFolder } from './plugin.js';
import { startPythonProgram } from './program.js';
import { ensureVirtualEnvironment, pythonFolder } from './virtual-environment.js';

/** The simulator servers that come as a Python program: plugins/simulator-server. */
export const pythonServers = ['dm-control', 'gymnasium'] as const;
export type PythonServerKind = (typeof pythonServers)[number];

const folder = pluginFolder('simulator-server');

export interface PythonServerOptions {
  readonly kind: PythonServerKind;
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
  /** Further arguments of the Python program. */
  readonly args?: readonly string[];
  /** Told in plain lines what is being made, when something is. */
  readonly say: (line: string) => void;
  /** Told each line that the program logs while it runs. */
  readonly log?: (line: string) => void;
  /** Ends it before it listens, the making of its Python environment included. */
  readonly signal?: AbortSignal;
}

export interface PythonServer {
  /** host:port */
  readonly address: string;
  /** Resolves when it has ended: undefined when it was closed, an error when it ended by itself. */
  readonly ended: Promise<PmpoError | undefined>;
  /** Stops it, its worlds included, and waits until it has ended. */
  close(): Promise<void>;
}

/**
 * Starts a server of DM Control's or Gymnasium's simulators: makes its Python environment if need be, starts the program
 * and waits until it listens.
 *
 * @throws PmpoError when there is no Python, pip fails, or the program ends before it listens, in its own words.
 */
export async function startPythonServer(options: PythonServerOptions): Promise<PythonServer> {
  const { kind, host = '127.0.0.1', port, args = [], say, log, signal } = options;
  if (process.platform === 'win32') {
    throw new PmpoError({
      where: `the ${kind} server`,
      what: 'it needs Linux or macOS',
      remedy: 'Start it in WSL or on another machine, and set environment.address to where it is',
    });
  }
  const python = await ensureVirtualEnvironment({
    requirements: join(folder, 'requirements', `${kind}.txt`),
    folder: pythonFolder(),
    say,
    signal,
  });
  const place = ['--host', host, '--port', String(port), '--until-stdin-closes'];
  const { ready, ended, close } = await startPythonProgram({
    name: `the ${kind} server`,
    python,
    args: ['-m', 'pmpo_simulator_server', kind, ...place, ...args],
    env: pluginEnvironment(folder),
    readyLine: /^Serving .* on (\S+:\d+)/m,
    complaint: 'pmpo-simulator-server: ',
    log,
    signal,
  });
  return { address: ready, ended, close };
}
