import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PmpoError } from '../core/errors.js';
import { type PythonProgram, startPythonProgram } from './program.js';
import { ensureVirtualEnvironment, pythonFolder } from './virtual-environment.js';

/** The servers written in Python that come with this package, in plugins/. */

export interface PluginServerOptions {
  readonly host?: string;
  /** 0: any free port. */
  readonly port: number;
  /** Further arguments of the Python program. */
  readonly args?: readonly string[];
  /** The user's own requirements files, whose packages are added to the Python environment. */
  readonly additions?: readonly string[];
  /** Receives a line for a person when a Python environment is being made. */
  readonly say: (line: string) => void;
  /** Receives each line that the program logs while it runs. */
  readonly log?: (line: string) => void;
  /** Stops the start, including the making of the Python environment. */
  readonly signal?: AbortSignal;
}

export interface PluginServer extends Pick<PythonProgram, 'ended' | 'close'> {
  /** host:port */
  readonly address: string;
}

interface Plugin {
  /** The server's name in messages, such as `the gymnasium server`. */
  readonly name: string;
  /** Its folder in plugins/. */
  readonly folder: string;
  /** Its list of requirements in that folder. */
  readonly requirements: string;
  /** Further lists in that folder, whose packages are added. */
  readonly extras?: readonly string[];
  /** Whether pip installs the dependencies of the listed packages; see VirtualEnvironmentOptions. */
  readonly withDependencies?: boolean;
  /** The Python module to run, and its first arguments. */
  readonly module: readonly [name: string, ...args: string[]];
  /** The prefix of the line in which the program says why it ends. */
  readonly complaint: string;
  /** The key of the configuration to set if the server runs on another machine. */
  readonly addressKey: string;
}

/** The path of a folder of plugins/. */
export function pluginFolder(name: string): string {
  return fileURLToPath(new URL(`../../plugins/${name}`, import.meta.url));
}

/** A plugin is found on PYTHONPATH rather than installed, so that an installed environment depends only on its requirements. */
function pluginEnvironment(folder: string): NodeJS.ProcessEnv {
  const { PYTHONPATH } = process.env;
  const path = PYTHONPATH ? `${folder}${delimiter}${PYTHONPATH}` : folder;
  // PYTHONSAFEPATH: a file numpy.py in the working directory must not be imported instead of numpy.
  return { ...process.env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1', PYTHONSAFEPATH: '1' };
}

/**
 * Starts a server of plugins/: makes its Python environment if necessary, starts the program and waits until it listens.
 * @param times see PythonProgramOptions.
 * @param python an interpreter to use; by default one is made with the tested versions.
 * @throws PmpoError if there is no Python, pip fails, or the program ends before it listens, in the program's own words.
 */
export async function startPluginServer(
  plugin: Plugin,
  { host = '127.0.0.1', port, args = [], additions = [], say, log, signal }: PluginServerOptions,
  times: { readonly startSeconds?: number; readonly endSeconds?: number } = {},
  python?: string,
): Promise<PluginServer> {
  const { name, requirements, extras = [], withDependencies, module, complaint, addressKey } = plugin;
  if (process.platform === 'win32') {
    throw new PmpoError({
      where: name,
      what: 'it needs Linux or macOS',
      remedy: `Start it in WSL or on another machine, and set ${addressKey} to its address`,
    });
  }
  const folder = pluginFolder(plugin.folder);
  const listed = (file: string) => join(folder, 'requirements', file);
  const interpreter =
    python ??
    (await ensureVirtualEnvironment({
      requirements: listed(requirements),
      additions: [...extras.map(listed), ...additions],
      folder: pythonFolder(),
      withDependencies,
      say,
      signal,
    }));
  const { ready, ended, close } = await startPythonProgram({
    name,
    python: interpreter,
    args: ['-m', ...module, '--host', host, '--port', String(port), '--until-stdin-closes', ...args],
    env: pluginEnvironment(folder),
    readyLine: /^Serving .* on (\S+:\d+)/m,
    complaint,
    ...times,
    log,
    signal,
  });
  return { address: ready, ended, close };
}
