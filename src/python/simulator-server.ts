import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PmpoError } from '../errors.js';
import { startPythonProgram } from './program.js';
import { ensureVirtualEnvironment, pythonFolder } from './virtual-environment.js';

/** The simulator servers that come as a Python program: plugins/simulator-server. */
export const pythonServers = ['dm-control', 'gymnasium'] as const;
export type PythonServerKind = (typeof pythonServers)[number];

const pluginFolder = fileURLToPath(new URL('../../plugins/simulator-server', import.meta.url));

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

/** The plugin itself is not installed but found on the path: what is installed changes only with its requirements. */
function environmentVariables(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const path = env.PYTHONPATH ? `${pluginFolder}${delimiter}${env.PYTHONPATH}` : pluginFolder;
  // Safe path: a numpy.py in the folder that a user happens to be in is not imported in place of numpy.
  return { ...env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1', PYTHONSAFEPATH: '1' };
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
    requirements: join(pluginFolder, 'requirements', `${kind}.txt`),
    folder: pythonFolder(),
    say,
    signal,
  });
  const place = ['--host', host, '--port', String(port), '--until-stdin-closes'];
  const { ready, ended, close } = await startPythonProgram({
    name: `the ${kind} server`,
    python,
    args: ['-m', 'pmpo_simulator_server', kind, ...place, ...args],
    env: environmentVariables(),
    readyLine: /^Serving .* on (\S+:\d+)/m,
    complaint: 'pmpo-simulator-server: ',
    log,
    signal,
  });
  return { address: ready, ended, close };
}
